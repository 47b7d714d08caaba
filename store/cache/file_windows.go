package cache

import (
	"os"

	"golang.org/x/sys/windows"
)

const openFlags = 0

// errLockHeld is lock's error if another process holds the lock.
const errLockHeld = windows.ERROR_LOCK_VIOLATION

// lock takes bbolt's lock of a file, on its last possible byte, without waiting.
func lock(f *os.File) error {
	const flags = windows.LOCKFILE_FAIL_IMMEDIATELY | windows.LOCKFILE_EXCLUSIVE_LOCK
	return windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, lastByte())
}

func unlock(f *os.File) { _ = windows.UnlockFileEx(windows.Handle(f.Fd()), 0, 1, 0, lastByte()) }

func lastByte() *windows.Overlapped {
	return &windows.Overlapped{Offset: ^uint32(0), OffsetHigh: ^uint32(0)}
}
