// Package providers knows the issuers: how to ask each of them for a token,
// what its answers mean, and what you have to hand in for it.
//
// One token-endpoint client (endpoint.go, answer.go, refusal.go) makes the
// round trip of RFC 6749 §5 for all of them. A credential goes over TLS to the
// configured URL and nowhere else. Messages show nothing of an answer but its
// fields of RFC 6749, without what was sent.
//
// # How to add a provider
//
// docs/adding-a-provider.md goes through one that compiles. In short:
//
//  1. One file with the kind: a settings struct and its methods open and
//     prepare. The struct's tags (see fields.go) name and describe the settings
//     and secrets for `tokenctl add`, the profile's file and the documentation.
//     If the provider speaks RFC 6749 or RFC 7523, open returns a minter, as
//     aspose.go and clms.go do; if not, it returns a type of its own that
//     implements token.Minter, token.Signer (datarock.go) or token.Verifier
//     (ioxio.go).
//  2. One line in Kinds.
//  3. testdata/<kind>.toml, the documented example. The tests read it too.
//  4. Its issuer in package providertest, as strict as the real one, and its
//     line in the suite of kinds_test.go, which puts every kind through the
//     same answers.
//
// open gets no secret and no network, so that a configuration can be checked
// anywhere. Env.Secret reads the secrets for each token. prepare decides what
// of the handed-in files is kept, and refuses what cannot work, in words that
// say what was handed in instead.
package providers
