//go:build unix

package daemon

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// readIn reads a file of a directory, and waits for no FIFO. os.ReadFile makes
// eleven calls to the system, which take most of the time where there are
// thousands of files; these are four.
func readIn(dir *os.File, name string) (text []byte, err error) {
	failed := func(op string, err error) error {
		return &os.PathError{Op: op, Path: filepath.Join(dir.Name(), name), Err: err}
	}
	fd, err := uninterrupted(func() (int, error) {
		return unix.Openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	})
	if err != nil {
		return nil, failed("open", err)
	}
	defer unix.Close(fd)
	var part [4096]byte
	for {
		n, err := uninterrupted(func() (int, error) { return unix.Read(fd, part[:]) })
		switch {
		case err != nil:
			return nil, failed("read", err)
		case n == 0:
			return text, nil
		}
		text = append(text, part[:n]...)
	}
}

// uninterrupted makes a call again that a signal has cut short (signal(7)).
func uninterrupted(call func() (int, error)) (n int, err error) {
	for {
		if n, err = call(); err != unix.EINTR {
			return n, err
		}
	}
}
