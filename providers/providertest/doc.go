// Package providertest plays the issuers that tokend knows, over TLS on
// loopback, as strictly as the real ones: what they refuse it refuses, with
// their texts. It is for tests and for tokend's demo, and is a plain library.
//
// A Server holds one issuer of each sort. Each makes credentials as its portal
// would, counts what it issues, guards a small API with its tokens, and can be
// given a Fault in place of its answers.
package providertest
