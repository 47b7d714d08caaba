// Package soak runs tokend, its issuers and its callers together for a while,
// and meanwhile kills, cuts, fills and locks what they live on, in an order
// that a seed decides. It counts what must not happen: an expired token or
// another profile's, an answer lost while a valid token existed, a secret where
// it should not be.
//
//	packaging/soak.sh 10m [SEED]
//
// It is a test, and a plain "go test ./..." runs it for some seconds.
// Everything is on this machine: the issuers and the proxy listen on loopback.
package soak
