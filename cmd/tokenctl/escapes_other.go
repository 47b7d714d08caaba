//go:build !windows

package main

import "io"

// obeysEscapes tells whether a terminal takes control sequences: all do here.
func obeysEscapes(io.Writer) bool { return true }
