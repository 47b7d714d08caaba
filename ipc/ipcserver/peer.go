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
	if err == nil {
		var more []int
		more, err = groupsOf(c)
		peer.Groups = append(peer.Groups, more...)
	}
	return caller{peer, err, sync.OnceValue(func() string { return programOf(peer.PID) })}
}

// remember puts the caller who made a connection into the context of its requests.
func remember(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, callerKey{}, &c.(*limitedConn).caller)
}

// Caller returns who asks, given the context of a Backend's method; false if the
// request did not come over a socket.
func Caller(ctx context.Context) (ipc.Peer, bool) {
	c, ok := ctx.Value(callerKey{}).(*caller)
	if !ok {
		return ipc.Peer{}, false
	}
	if c.err != nil { // it was refused long before; should that fail, it has no user
		return ipc.Peer{UID: -1}, true
	}
	return c.peer, true
}

// Program returns a function for what the caller's process calls itself, an
// unverified label; nil if the request did not come over a socket.
func Program(ctx context.Context) func() string {
	c, ok := ctx.Value(callerKey{}).(*caller)
	if !ok {
		return nil
	}
	return c.program
}
