//go:build unix

package ipc

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A unixConn is a connection to the daemon that blocks in the kernel. The
// package net would have the runtime poll it, which a program that asks once
// and ends pays for and does not need.
type unixConn struct{ *os.File }

// queueFull is how long to wait before trying again to enter a full queue.
const queueFull = 10 * time.Millisecond

func dial(ctx context.Context, socket string) (connection, error) {
	if err := CheckPath(socket); err != nil {
		return nil, err
	}
	for {
		fd, err := connect(socket)
		switch {
		case err == nil:
			return unixConn{os.NewFile(uintptr(fd), socket)}, nil
		case !errors.Is(err, unix.EAGAIN):
			return nil, os.NewSyscallError("connect", err)
		}
		// A connection that would have to queue blocks elsewhere; Linux says
		// EAGAIN to a non-blocking one.
		select {
		case <-time.After(queueFull):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// NewSocket makes a socket that children do not inherit.
func NewSocket() (fd int, err error) {
	// macOS has no SOCK_CLOEXEC; the lock keeps children from being started
	// between the two calls.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	return fd, err
}

// connect makes a blocking connection without waiting for it.
func connect(socket string) (fd int, err error) {
	if fd, err = NewSocket(); err != nil {
		return 0, err
	}
	if err = unix.SetNonblock(fd, true); err == nil {
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: socket})
	}
	if err == nil {
		err = unix.SetNonblock(fd, false)
	}
	if err != nil {
		_ = unix.Close(fd)
		return 0, err
	}
	return fd, nil
}

func (c unixConn) interrupt() {
	_ = Control(c.File, func(fd int) error { return unix.Shutdown(fd, unix.SHUT_RDWR) })
}

// Control calls f with the descriptor of a connection, which is valid until f
// returns.
func Control(c syscall.Conn, f func(fd int) error) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = f(int(fd)) }); err != nil {
		return err
	}
	return failed
}
