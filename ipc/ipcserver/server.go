// Package ipcserver answers programs of this machine: HTTP/1.1 over tokend's
// socket (docs/protocol.md). It knows who is calling and lets in whom it
// should; what is then done is the Backend's business.
package ipcserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"tokend/ipc"
	"tokend/providers/token"
)

// A Backend does what callers ask for. Its methods are those of ipc.Client and
// return when their context ends. An error's text goes to the caller if it is
// or wraps a token.Code; of any other the caller learns only that there was
// one.
type Backend interface {
	Get(ctx context.Context, name string, q token.Query) (token.Grant, error)
	Invalidate(ctx context.Context, name string, t token.Secret) error
	Exchange(ctx context.Context, name, registry string) (token.Secret, error)
	Sign(ctx context.Context, name string, r token.Request) (token.Signed, error)
	Verify(ctx context.Context, name string, raw token.Secret, remote bool) (token.Verdict, error)
	Profile(ctx context.Context, name string) (token.ProfileStatus, error)
	Status(ctx context.Context) (token.Status, error)
	Providers(ctx context.Context) ([]token.Provider, error)
	Add(ctx context.Context, a token.CreateProfile) (token.Created, error)
	Rotate(ctx context.Context, a token.CreateProfile) (token.Created, error)
	Remove(ctx context.Context, name string) error
	Reload(ctx context.Context) error
	Watch(ctx context.Context, profiles []string) (token.Events, error)
	Doctor(ctx context.Context) (token.Report, error)
	Keystore(ctx context.Context) (token.KeystoreStatus, error)
	Unlock(ctx context.Context) error
	Migrate(ctx context.Context, to token.KeystoreChoice) (token.Migrated, error)
}

// Options change what a server does; the zero value is ready for use.
type Options struct {
	// Allow says why a caller may not use this daemon, nil if it may. It is
	// asked for every request. Default: OwnUser.
	Allow func(ipc.Peer) error
	// Audit is told of every grant and refusal. Default: nobody is.
	Audit func(Event)
	// Counts counts the requests. Default: nobody does.
	Counts *Counts
	// Metrics returns what answers GET /metrics for the caller in ctx. Default:
	// there is no such path.
	Metrics func(ctx context.Context) (http.Handler, error)
	// Log gets refused callers and faults, never a secret. Default: none.
	Log *slog.Logger
}

// AnyUser allows every user that the kernel can name. The Backend decides what
// each may do.
func AnyUser(ipc.Peer) error { return nil }

// OwnUser allows the user that the daemon runs as, and nobody else.
func OwnUser(p ipc.Peer) error {
	if p.UID != os.Getuid() {
		return &token.Error{Code: token.ErrDenied, Message: fmt.Sprintf("uid %d may not use the tokend of uid %d", p.UID, os.Getuid())}
	}
	return nil
}

const (
	// maxConns is how many connections are served; more wait to be accepted.
	maxConns = 1024
	// maxConnsOfUser is how many of them one user may have, beside root and the
	// user that the server runs as; what goes beyond is closed at once.
	maxConnsOfUser = maxConns / 8
	// maxHead bounds a request's line and header. net/http adds 4 KiB.
	maxHead = 12 << 10
	// headTimeout is how long a new connection may take to say what it wants,
	// bodyTimeout how long a body may take to arrive, writeTimeout how long an
	// answer may take to leave.
	headTimeout  = 5 * time.Second
	bodyTimeout  = 10 * time.Second
	writeTimeout = 10 * time.Second
	// idleTimeout is how long a connection is kept between two requests.
	idleTimeout = 2 * time.Minute
	// lastWord is how long a new caller may still take to say what it wants once
	// the server is to end, and how long answers to the last requests may take to
	// leave once their contexts have ended.
	lastWord = time.Second / 2
	// grace is how long requests may go on once the server is to end.
	grace = 5 * time.Second
)

// Serve answers on l until ctx ends, and closes l. Then it loses no request that
// was let in: requests under way have a few seconds to finish before their
// contexts end too, and none is running any more when Serve returns. It returns
// nil if it ended because of ctx.
func Serve(ctx context.Context, l net.Listener, b Backend, o Options) error {
	requests, cancelRequests := context.WithCancel(context.WithoutCancel(ctx))
	defer cancelRequests()
	h := newHandler(b, o)
	conns := limit(l, maxConns, maxConnsOfUser)
	srv := newServer(requests, h)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(conns) }()

	var err error
	select {
	case err = <-served: // the listener failed
		close(h.ending)
		cancelRequests()
	case <-ctx.Done():
		close(h.ending)
		_ = conns.Close()
		<-served // whoever was let in is among the connections now
		defer time.AfterFunc(grace, cancelRequests).Stop()
	}
	defer time.AfterFunc(grace+lastWord, conns.closeAll).Stop()
	conns.drain(lastWord)
	return errors.Join(err, srv.Shutdown(context.WithoutCancel(ctx)))
}

func newServer(requests context.Context, h *handler) *http.Server {
	return &http.Server{
		Handler:                      h,
		ReadHeaderTimeout:            headTimeout,
		IdleTimeout:                  idleTimeout,
		MaxHeaderBytes:               maxHead,
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(h.log.Handler(), slog.LevelWarn),
		BaseContext:                  func(net.Listener) context.Context { return requests },
		ConnContext:                  remember,
		ConnState:                    func(c net.Conn, state http.ConnState) { c.(*limitedConn).state.Store(int32(state)) },
	}
}

// A caller is who made a connection, or why that cannot be told.
type caller struct {
	peer ipc.Peer
	err  error
	// program is what its process calls itself.
	program func() string
}

type callerKey struct{}

// identify looks once, when a connection is made, who made it.
func identify(c net.Conn) caller {
	peer, err := ipc.PeerOf(c)
	if err == nil {
		peer.Groups, err = ipc.GroupsOf(c)
	}
	return caller{peer, err, sync.OnceValue(func() string { return programOf(peer.PID) })}
}

// remember puts the caller who made a connection into the context of its requests.
func remember(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, callerKey{}, &c.(*limitedConn).caller)
}

// Caller tells a Backend who asks, given the context of one of its methods;
// false if nobody does who came over a socket.
func Caller(ctx context.Context) (ipc.Peer, bool) {
	c, ok := ctx.Value(callerKey{}).(*caller)
	if !ok {
		return ipc.Peer{}, false
	}
	if c.err != nil { // it was refused long before; should that fail, it is nobody
		return ipc.Peer{UID: -1}, true
	}
	return c.peer, true
}

// Program gives what the caller's process calls itself, an unverified label;
// nil if nobody asks who came over a socket.
func Program(ctx context.Context) func() string {
	c, ok := ctx.Value(callerKey{}).(*caller)
	if !ok {
		return nil
	}
	return c.program
}
