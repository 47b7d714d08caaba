// Package providers knows the issuers: how to ask each of them for a token,
// what its answers mean, and what you have to hand in for it.
//
// One token-endpoint client (endpoint.go, answer.go) makes the
// round trip of RFC 6749 §5 for all of them. A credential goes over TLS to the
// configured URL and nowhere else. Messages show nothing of an answer but its
// fields of RFC 6749, without what was sent.
//
// # How to add a provider
//
// docs/adding-a-provider.md goes through one that compiles.
//
// open gets no secret and no network, so that a configuration can be checked
// anywhere. Env.Secret reads the secrets for each token. prepare decides what
// of the handed-in files is kept, and refuses what cannot work, in words that
// say what was handed in instead.
package providers
