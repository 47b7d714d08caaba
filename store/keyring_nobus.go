//go:build !(linux || freebsd || netbsd || openbsd || dragonfly)

package store

// Bus returns nothing: this system's keyring is not on a bus.
func Bus() (string, error) { return "", nil }
