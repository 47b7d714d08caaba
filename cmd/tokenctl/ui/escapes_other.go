//go:build !windows

package ui

import "io"

// obeysEscapes reports whether a terminal obeys escape sequences: all do here.
func obeysEscapes(io.Writer) bool { return true }
