package ipcserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"tokend/ipc"
	"tokend/providers/token"
)

// maxAskerKey bounds the key of an Asker, which is a process and a URL.
const maxAskerKey = 2 << 10

type handler struct {
	Options
	backend Backend
	log     *slog.Logger
	routes  []route
	leases  *quota // endpoints that are lent
	conns   *quota
	// ending ends when the server is to.
	ending context.Context
}

func newHandler(b Backend, o Options) *handler {
	if o.Allow == nil {
		o.Allow = OwnUser
	}
	h := &handler{Options: o, backend: b, ending: context.Background()}
	h.leases, h.conns = h.quota(maxLeases), h.quota(maxConns)
	if o.Audit != nil {
		h.backend = &audited{b, o.Audit}
	}
	h.log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	h.times = cmp.Or(o.times, usualTimes)
	h.routes = h.table()
	return h
}

func (h *handler) quota(n int) *quota {
	b := h.backend // not audited: this is no request
	known := func(c *caller) bool {
		return c.err == nil && h.Allow(c.peer) == nil && b.Admit(context.WithValue(context.Background(), callerKey{}, c), "connect", "", false) == nil
	}
	return &quota{n: n, known: known, taken: map[int]int{}}
}

// A call is a request and its answer.
type call struct {
	*http.Request
	w     http.ResponseWriter
	name  string // of the profile, in the path
	body  []byte
	trace *token.Trace // of a get, if wanted
	begun bool         // the answer has
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{Request: r, w: w}
	if r.ContentLength != 0 {
		// For every request: net/http reads the bodies that we do not.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(h.times.body))
	}
	if h.ending.Err() != nil {
		w.Header().Set("Connection", "close")
	}
	err := h.serve(c)
	switch {
	case err == nil:
	case c.begun:
		if r.Context().Err() == nil { // else the caller is gone, or the server is to end
			h.log.Error("an answer broke off", "error", err.Error())
		}
		panic(http.ErrAbortHandler) // has the connection closed: what has left is not a whole answer
	default:
		h.refuse(c, err)
	}
}

// logPanic logs where a panic came from. Its value may hold anything; only the
// runtime's own are known to be harmless.
func (h *handler) logPanic(v any) {
	what := fmt.Sprintf("%T", v)
	if err, ok := v.(runtime.Error); ok {
		what = err.Error()
	}
	h.log.Error("panic while answering", "panic", what, "stack", string(debug.Stack()))
}

// serve makes an error of a panic, and counts the request.
func (h *handler) serve(c *call) (err error) {
	do := "connect"
	defer func() {
		if v := recover(); v != nil {
			h.logPanic(v)
			err = token.ErrInternal
		}
		h.counted(do, err)
	}()
	if err := h.admit(c); err != nil {
		c.w.Header().Set("Connection", "close")
		return err
	}
	do = "other"
	t, err := h.find(c)
	if err != nil {
		return err
	}
	do = t.op
	return h.serveRoute(c, t)
}

func (h *handler) counted(do string, err error) {
	switch {
	case h.Count == nil:
	case err == nil:
		h.Count(do, "ok")
	default:
		e, _ := wireError(err)
		h.Count(do, string(e.Code))
	}
}

// admit refuses callers who may not use this daemon, and web pages: a browser
// cannot open a Unix socket, but there may be a proxy before it.
func (h *handler) admit(c *call) error {
	who, ok := c.Context().Value(callerKey{}).(*caller)
	if !ok {
		return errors.New("a request without a connection")
	}
	err := who.err
	if err == nil {
		err = h.Allow(who.peer)
	}
	_, isPage := c.Header["Origin"]
	if _, twice := single(c.Header, "Origin"); err == nil && twice != nil {
		return twice
	}
	if err == nil && isPage {
		err = errors.New("tokend does not answer web pages")
	}
	if err == nil {
		return nil
	}
	if h.Audit != nil {
		h.Audit(Event{Caller: who.peer, Program: who.program(), Do: "connect", Code: token.ErrDenied})
	}
	h.log.Warn("caller refused", "uid", who.peer.UID, "pid", who.peer.PID, "reason", err.Error())
	return &token.Error{Code: token.ErrDenied, Message: err.Error(), Cause: err}
}

// find finds a request's route, and the name in its path, still escaped.
func (h *handler) find(c *call) (*route, error) {
	path := c.URL.EscapedPath()
	var allowed []string
	for i := range h.routes {
		t := &h.routes[i]
		name, ok := t.match(path)
		switch {
		case ok && t.method == c.Method:
			c.name = name
			return t, nil
		case ok:
			allowed = append(allowed, t.method)
		}
	}
	if allowed == nil {
		return nil, &token.Error{Code: token.ErrNotFound, Message: "no such path in tokend's protocol"}
	}
	c.w.Header().Set("Allow", strings.Join(allowed, ", "))
	return nil, invalid(methodField, "this path has no method %.16q", c.Method)
}

// methodField marks an error that HTTP has a status of its own for.
const methodField = "method"

func (h *handler) serveRoute(c *call, t *route) (err error) {
	if c.URL.RawQuery != "" && !t.query {
		return invalid("query", "this path takes no query parameters")
	}
	if t.named() {
		if c.name, err = url.PathUnescape(c.name); err != nil {
			return invalid("name", "the name in the path is not escaped correctly")
		}
		if err := token.CheckName(c.name); err != nil {
			return err
		}
	}
	if c.ContentLength != 0 {
		if err := h.backend.Admit(c.Context(), t.op, c.name, slices.Contains(managing, t.op)); err != nil {
			return err
		}
	}
	if err := h.readBody(c); err != nil {
		return err
	}
	if again, key, _ := strings.Cut(c.Header.Get(ipc.AskerHeader), " "); key != "" && len(key) <= maxAskerKey {
		if n, err := strconv.Atoi(again); err == nil {
			c.Request = c.WithContext(token.WithAsker(c.Context(), token.Asker{Key: key, Again: n}))
		}
	}
	return t.serve(c)
}

// readBody reads the body, which has to arrive in time, even if the route
// ignores it: only then can the next request follow.
func (h *handler) readBody(c *call) (err error) {
	if c.ContentLength == 0 {
		return nil
	}
	c.body, err = io.ReadAll(http.MaxBytesReader(c.w, c.Body, ipc.MaxBody))
	var large *http.MaxBytesError
	switch {
	case err == nil:
		// net/http goes on reading, to see whether the caller leaves; the
		// deadline would look like that.
		_ = http.NewResponseController(c.w).SetReadDeadline(time.Time{})
		return nil
	case errors.As(err, &large):
		return invalid("", "the body has more than %d bytes", ipc.MaxBody)
	}
	c.w.Header().Set("Connection", "close")
	return &token.Error{Code: token.ErrInvalid, Message: "the body did not arrive whole, or not in time", Cause: err}
}
