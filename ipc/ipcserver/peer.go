package ipcserver

import (
	"bytes"
	"context"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"

	"tokend/ipc"
)

// A conn is a connection, and who made it.
type conn struct {
	net.Conn
	of   *limited
	peer ipc.Peer
	err  error // why the kernel does not say who it is
	user int   // whose places it takes
	// program is what the caller's process called itself when it connected.
	program string
	proven  atomic.Bool  // it stays when others come
	state   atomic.Int32 // an http.ConnState
	ended   sync.Once
}

type connKey struct{}

// Caller returns who asks, given the context of a Backend's method, and what the
// caller's process calls itself, an unverified label. It returns false if the
// request did not come over a socket.
func Caller(ctx context.Context) (peer ipc.Peer, program string, ok bool) {
	c, ok := ctx.Value(connKey{}).(*conn)
	if !ok {
		return ipc.Peer{}, "", false
	}
	return c.peer, c.program, true
}

// programOf is the name of a process, as it says itself; empty if there is none. It
// is a label: any process can call itself anything. Only Linux knows it cheaply.
//
// Each connection is asked about, so the file is read with three calls to the
// system and no more, where os.ReadFile makes nine.
func programOf(pid int) string {
	fd, err := syscall.Open("/proc/"+strconv.Itoa(pid)+"/comm", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer func() { _ = syscall.Close(fd) }()
	var name [64]byte // the kernel cuts it at 15 bytes
	n, _ := syscall.Read(fd, name[:])
	return string(bytes.TrimSpace(name[:max(n, 0)]))
}
