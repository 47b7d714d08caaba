//go:build !goexperiment.runtimesecret

// Package erase keeps key material from staying in memory after its use.
package erase

// Enabled tells whether this build erases anything: it does if it was made with
// GOEXPERIMENT=runtimesecret, for Linux on amd64 or arm64.
const Enabled = false

// Do calls f. Where Enabled, what f and all that it calls leave in registers
// and on the stack is erased before Do returns, and what they allocated as soon
// as the garbage collector finds it unused. Goroutines that f starts are not
// covered.
func Do(f func()) { f() }
