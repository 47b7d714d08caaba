// Package ipcserver answers programs of this machine: HTTP/1.1 over tokend's
// socket (docs/protocol.md). It makes the socket, knows who is calling, decides
// who is let in and decodes requests. A Backend serves them.
package ipcserver

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"tokend/ipc"
	"tokend/providers/token"
)

// A Backend serves the requests that were let in. Its methods are those of
// ipc.Client and return when their context ends. Callers see an error's text if
// it is or wraps a token.Code, and otherwise only "internal error". Lists are not nil.
type Backend interface {
	// Admit returns why an operation of the caller's is refused whatever the body
	// says: on a profile or on none (name is empty), or to administer the profile, or
	// without a name to manage all. Those who may use nothing share the connections of
	// one user.
	Admit(ctx context.Context, name string, manage bool) error
	Get(ctx context.Context, name string, q token.Query) (token.Grant, error)
	Invalidate(ctx context.Context, name string, t token.Secret) error
	Exchange(ctx context.Context, name, registry string) (token.Secret, error)
	Sign(ctx context.Context, name string, r token.Request) (token.Signed, error)
	Verify(ctx context.Context, name string, p token.Presented) (token.Verdict, error)
	Profile(ctx context.Context, name string) (token.ProfileStatus, error)
	Status(ctx context.Context) (token.Status, error)
	Providers(ctx context.Context) ([]token.Provider, error)
	Add(ctx context.Context, a token.CreateProfile) (token.Created, error)
	Rotate(ctx context.Context, a token.CreateProfile) (token.Created, error)
	ProfileText(ctx context.Context, name string) (token.ProfileText, error)
	Edit(ctx context.Context, a token.CreateProfile) (token.Created, error)
	Remove(ctx context.Context, name string) error
	Rename(ctx context.Context, name, to string) error
	Reload(ctx context.Context) error
	Watch(ctx context.Context, profiles []string) (token.Events, error)
	Doctor(ctx context.Context) (token.Report, error)
	Keystore(ctx context.Context) (token.KeystoreStatus, error)
	Unlock(ctx context.Context) error
	Migrate(ctx context.Context, to token.KeystoreChoice) (token.Migrated, error)
}

// Options change what a server does; the zero value is ready for use.
type Options struct {
	// AnyUser lets every user in that the kernel can name: the Backend decides what
	// each may do. Else only the user that the server runs as is let in.
	AnyUser bool
	// Audit hears of every grant and refusal; the entry has neither Time nor Outcome.
	Audit func(token.AuditEntry)
	// Count hears of every request: what was asked for and how it ended, "ok" or
	// an error's code. "connect" is a caller who is not let in, "other" a path or
	// method that does not exist.
	Count func(do, result string)
	// Metrics returns the handler of GET /metrics for the caller in ctx. Default:
	// the path does not exist.
	Metrics func(ctx context.Context) (http.Handler, error)
	// AuditLog returns the entries of the audit log that the caller in ctx may see.
	AuditLog func(ctx context.Context) (iter.Seq[token.AuditEntry], error)
	// Digests returns digests of a profile's secrets, if the caller in ctx may see them.
	Digests func(ctx context.Context, name string) (map[string]string, error)
	// Log gets refused callers and faults, never a secret. Default: none.
	Log *slog.Logger

	times times // default: usualTimes
}

// allow returns why a caller may not use this daemon, nil if it may.
func (o *Options) allow(p ipc.Peer) error {
	if own := os.Getuid(); !o.AnyUser && p.UID != own {
		return &token.Error{Code: token.ErrDenied, Message: fmt.Sprintf("uid %d may not use the tokend of uid %d", p.UID, own)}
	}
	return nil
}

const (
	// maxConns is how many connections are served; more wait to be accepted. What
	// goes beyond the share of a user is closed at once.
	maxConns = 1024
	// maxHead bounds a request's line and header. net/http adds 4 KiB.
	maxHead = 12 << 10
)

// times bound what callers may take.
type times struct {
	head  time.Duration // to say what they want, over a new connection
	body  time.Duration // for the body to arrive
	write time.Duration // for an answer to leave, or a part of one
	idle  time.Duration // between two requests
	// lastWord is for new callers to say what they want once the server is to
	// end, and for answers to leave once their contexts have ended.
	lastWord time.Duration
	grace    time.Duration // for requests to finish once the server is to end
}

var usualTimes = times{head: 5 * time.Second, body: 10 * time.Second, write: 15 * time.Second, idle: 2 * time.Minute,
	lastWord: time.Second / 2, grace: 5 * time.Second}

// Serve answers on l until ctx ends. Then it loses no request that was let in:
// requests under way have a few seconds to finish before their contexts end too, and
// none is running any more when Serve returns. Callers who come meanwhile wait until
// it closes l; where systemd holds the socket, for the next tokend. Serve returns nil
// if it ended because of ctx.
func Serve(ctx context.Context, l net.Listener, b Backend, o Options) error {
	requests, cancelRequests := context.WithCancel(context.WithoutCancel(ctx))
	defer cancelRequests()
	h := newHandler(b, o)
	h.ending = ctx
	conns := limit(l, maxConns, &quota{n: maxConns}, h.userOf)
	defer func() { _ = l.Close() }()
	srv := newServer(requests, h, h.times, connKey{})
	srv.ErrorLog = slog.NewLogLogger(h.log.Handler(), slog.LevelWarn)
	srv.ConnState = func(c net.Conn, state http.ConnState) { c.(*conn).state.Store(int32(state)) }
	served := make(chan error, 1)
	go func() { served <- srv.Serve(conns) }()

	var err error
	select {
	case err = <-served: // the listener failed
		cancelRequests()
	case <-ctx.Done():
		_ = conns.Close()
		<-served // everyone who was let in is among the connections now
		defer time.AfterFunc(h.times.grace, cancelRequests).Stop()
	}
	// Not srv.Close: Shutdown would no longer wait for handlers.
	defer time.AfterFunc(h.times.grace+h.times.lastWord, func() {
		for _, c := range conns.places.all() {
			_ = c.Close()
		}
	}).Stop()
	conns.drain(h.times.lastWord)
	return errors.Join(err, srv.Shutdown(context.WithoutCancel(ctx)))
}

// newServer returns a server whose requests have contexts from ctx, with their
// connection under key. It logs nothing: any program on loopback may send it anything.
func newServer(ctx context.Context, h http.Handler, t times, key any) *http.Server {
	return &http.Server{
		Handler:                      h,
		ReadHeaderTimeout:            t.head,
		IdleTimeout:                  t.idle,
		WriteTimeout:                 t.write, // of what net/http answers by itself
		MaxHeaderBytes:               maxHead,
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
		BaseContext:                  func(net.Listener) context.Context { return ctx },
		ConnContext:                  func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, key, c) },
	}
}
