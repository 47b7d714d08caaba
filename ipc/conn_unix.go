//go:build unix

package ipc

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A unixConn is a connection to the daemon that blocks in the kernel. The
// package net would have the runtime poll it, which a program that asks once
// and ends pays for and does not need.
type unixConn struct {
	fd     int
	mu     sync.Mutex // held for interrupt, lest it hit what fd means after Close
	closed bool
}

// queueFull is how long to wait before trying again to enter a full queue.
const queueFull = 10 * time.Millisecond

func dial(ctx context.Context, socket string) (connection, error) {
	if err := checkPath(socket); err != nil {
		return nil, err
	}
	for {
		fd, err := connect(socket)
		switch {
		case err == nil:
			return &unixConn{fd: fd}, nil
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

// connect makes a blocking connection without waiting for it.
func connect(socket string) (fd int, err error) {
	syscall.ForkLock.RLock()
	fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
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

func (c *unixConn) Read(p []byte) (int, error) {
	for {
		switch n, err := syscall.Read(c.fd, p); {
		case err == syscall.EINTR:
		case err != nil:
			return 0, os.NewSyscallError("read", err)
		case n == 0 && len(p) > 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

func (c *unixConn) Write(p []byte) (written int, err error) {
	for written < len(p) {
		n, err := syscall.Write(c.fd, p[written:])
		if err != nil && err != syscall.EINTR {
			return written, os.NewSyscallError("write", err)
		}
		written += max(n, 0)
	}
	return written, nil
}

func (c *unixConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return os.ErrClosed
	}
	c.closed = true
	return os.NewSyscallError("close", unix.Close(c.fd))
}

func (c *unixConn) interrupt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		_ = unix.Shutdown(c.fd, unix.SHUT_RDWR)
	}
}
