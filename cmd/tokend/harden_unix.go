//go:build linux || darwin

package main

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// hangup is the signal that asks for a reload.
const hangup = syscall.SIGHUP

// harden keeps what this process holds from other processes of the same user
// and from the disk, as far as it can: no core dumps, files for the owner
// alone. A measure that the system refuses is not worth refusing to run.
func harden() {
	syscall.Umask(0o077)
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	denyTracing()
}
