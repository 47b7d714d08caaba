//go:build unix

package cache

import (
	"os"

	"golang.org/x/sys/unix"
)

// openFlags follow no symbolic link and wait for no FIFO.
const openFlags = unix.O_NOFOLLOW | unix.O_NONBLOCK

// errLockHeld is lock's error if another process holds the lock.
const errLockHeld = unix.EWOULDBLOCK

// lock takes bbolt's lock of a file, without waiting.
func lock(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }
func unlock(f *os.File)     { _ = unix.Flock(int(f.Fd()), unix.LOCK_UN) }
