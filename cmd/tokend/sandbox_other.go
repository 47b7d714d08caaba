//go:build !linux

package main

// enter has nothing to do, and nothing to tell: other systems have no Landlock.
func (sandbox) enter() string { return "" }
