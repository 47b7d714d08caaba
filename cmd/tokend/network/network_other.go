//go:build !linux

// Package network notices when the machine's network changes.
package network

import "context"

// Watch never reports a change on this system.
func Watch(context.Context) <-chan struct{} { return nil }
