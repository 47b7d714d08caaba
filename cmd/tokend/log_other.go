//go:build !linux

package main

import "io"

// isJournal reports false: there is no systemd.
func isJournal(io.Writer) bool { return false }
