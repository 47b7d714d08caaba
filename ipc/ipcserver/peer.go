package ipcserver

import (
	"context"
	"net"
	"sync"

	"tokend/ipc"
)

// A caller is who made a connection, or why the kernel does not say.
type caller struct {
	peer ipc.Peer
	err  error
	// program returns what its process calls itself.
	program func() string
}

type callerKey struct{}

// identify asks once, when a connection is made, who made it.
func identify(c net.Conn) caller {
	peer, err := peerOf(c)
	return caller{peer, err, sync.OnceValue(func() string { return programOf(peer.PID) })}
}

// remember puts the caller who made a connection into the context of its requests.
func remember(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, callerKey{}, &c.(*limitedConn).caller)
}

// Caller returns who asks, given the context of a Backend's method, and a function
// for what the caller's process calls itself, an unverified label. It returns false
// if the request did not come over a socket.
func Caller(ctx context.Context) (peer ipc.Peer, program func() string, ok bool) {
	c, ok := ctx.Value(callerKey{}).(*caller)
	switch {
	case !ok:
		return ipc.Peer{}, nil, false
	case c.err != nil: // it was refused long before; should that fail, it has no user
		return ipc.Peer{UID: -1}, c.program, true
	}
	return c.peer, c.program, true
}
