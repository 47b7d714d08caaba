//go:build unix

package ipc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tokend/providers/token"
)

// A unixConn is a connection to the daemon that blocks in the kernel. The
// package net would have the runtime poll it, which a program that asks once
// and ends pays for and does not need.
type unixConn struct{ *os.File }

// dial connects. If the queue of those who wait to be accepted is full, it waits
// for a place in it, and no longer than for an answer.
func dial(socket string, wait time.Duration) (connection, error) {
	if err := CheckPath(socket); err != nil {
		return nil, err
	}
	fd, err := NewSocket()
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	c := unixConn{os.NewFile(uintptr(fd), socket)}
	c.timeout(wait)
	for err = unix.EINTR; errors.Is(err, unix.EINTR); {
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: socket})
	}
	if err != nil {
		return nil, errors.Join(os.NewSyscallError("connect", err), c.Close())
	}
	return c, nil
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

func (c unixConn) interrupt() {
	_ = Control(c.File, func(fd int) error { return unix.Shutdown(fd, unix.SHUT_RDWR) })
}

func (c unixConn) timeout(wait time.Duration) {
	limit := unix.NsecToTimeval(wait.Nanoseconds())
	_ = Control(c.File, func(fd int) error {
		return errors.Join(unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit),
			unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit))
	})
}

// Control calls f with the descriptor of a socket's connection, which is valid
// until f returns.
func Control(c any, f func(fd int) error) error {
	socket, ok := c.(syscall.Conn)
	if !ok {
		return fmt.Errorf("%T is not a socket", c)
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = f(int(fd)) })
	return cmp.Or(err, failed)
}

// maxPath is how long the path of a Unix socket may be, in bytes: 107 on
// Linux, 103 on macOS. The last byte of the field is for the final NUL.
const maxPath = len(unix.RawSockaddrUnix{}.Path) - 1

// PeerOf asks the kernel who is at the other end of a socket: for the server
// who connected, for the client who listens. It fails for users that the kernel
// cannot name here.
func PeerOf(c any) (peer Peer, err error) {
	err = Control(c, func(fd int) (err error) {
		peer, err = peerAt(fd)
		return err
	})
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		err = fmt.Errorf("finding out who serves the socket: %w", errno)
	}
	return peer, err
}

// ServerOf asks the kernel who serves a socket.
func ServerOf(ctx context.Context, socket string) (Peer, error) {
	conn, err := dial(socket, (&Client{}).patience(ctx))
	if err != nil {
		return Peer{}, err
	}
	defer func() { _ = conn.Close() }()
	return PeerOf(conn)
}

// serverUIDEnv names the environment variable with the uid of a tokend in another
// container.
const serverUIDEnv = "TOKEND_SERVER_UID"

// checkServer refuses a server that is neither root nor this user, nor the one that
// this user trusts: another user may have taken the place of the daemon, and would
// learn secrets.
func checkServer(conn connection, socket string) error {
	peer, err := PeerOf(conn)
	if err != nil {
		return err
	}
	if peer.UID != 0 && peer.UID != os.Geteuid() && strconv.Itoa(peer.UID) != os.Getenv(serverUIDEnv) {
		return &token.Error{Code: token.ErrDenied, Message: fmt.Sprintf(
			"%s is served by uid %d, who is neither root nor you (uid %d)", socket, peer.UID, os.Geteuid())}
	}
	return nil
}

// CheckPath says early and clearly what bind and connect would call an invalid
// argument. It also keeps out "@name", Linux's abstract sockets, which know no
// permissions.
func CheckPath(socket string) error {
	switch {
	case !filepath.IsAbs(socket):
		return invalid("socket", "the socket's path must be absolute: %q", socket)
	case len(socket) > maxPath:
		return invalid("socket", "the socket's path has %d bytes, the system allows %d: %s", len(socket), maxPath, socket)
	}
	return nil
}
