//go:build unix

package confine

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// Harden protects what this process holds from other processes of the same user
// and from the disk, as far as the system lets it: no core dumps, and files for
// the owner alone.
func Harden() {
	syscall.Umask(0o077)
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	DenyTracing()
}
