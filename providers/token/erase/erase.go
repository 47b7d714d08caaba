//go:build !goexperiment.runtimesecret

// Package erase keeps key material from staying in memory after its use.
package erase

// Enabled reports whether this build erases anything. It does if it was built
// with GOEXPERIMENT=runtimesecret for Linux on amd64 or arm64.
const Enabled = false

// Do calls f. If Enabled, it erases what f and all that it calls leave in
// registers and on the stack before it returns, and what they allocated as soon
// as the garbage collector finds it unused. It does not cover goroutines that f
// starts.
func Do(f func() error) error { return f() }
