//go:build !linux

package main

import "io"

// isJournal: there is no systemd here.
func isJournal(io.Writer) bool { return false }
