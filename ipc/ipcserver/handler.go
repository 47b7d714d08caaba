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
	"os"
	"runtime"
	"runtime/debug"
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
	leases  quota // endpoints that are lent
	// ending ends when the server is to.
	ending context.Context
}

func newHandler(b Backend, o Options) *handler {
	h := &handler{Options: o, backend: b, leases: quota{n: maxLeases}, ending: context.Background()}
	h.log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	h.times = cmp.Or(o.times, usualTimes)
	h.routes = h.table()
	return h
}

// userOf returns whose places a caller takes.
func (h *handler) userOf(c *conn) int {
	ctx := context.WithValue(context.Background(), connKey{}, c)
	switch {
	case c.err == nil && (c.peer.UID == 0 || c.peer.UID == os.Geteuid()):
		return trusted
	case c.err != nil || h.allow(c.peer) != nil || h.backend.Admit(ctx, "", false) != nil:
		return strangers
	}
	return c.peer.UID
}

// A call is a request and its answer.
type call struct {
	*http.Request
	h      *handler
	w      http.ResponseWriter
	name   string // of the profile, in the path
	body   []byte
	trace  *token.Trace     // of a get, if wanted
	event  token.AuditEntry // for the audit log, if it has a Do
	status int              // of the answer, if it is not the usual one
	begun  bool             // the answer has
}

// ServeHTTP counts, audits and answers a request, in this order: what a caller has
// got is in the audit log.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{Request: r, h: h, w: w}
	if r.ContentLength != 0 {
		// For every request: net/http reads the bodies that we do not.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(h.times.body))
	}
	if h.ending.Err() != nil {
		w.Header().Set("Connection", "close")
	}
	do, kind, body, err := h.serve(c)
	h.audit(r.Context(), c.event, err)
	e, result := h.wire(c, err), "ok"
	if e != nil {
		result = string(e.Code)
	}
	if h.Count != nil {
		h.Count(do, result)
	}
	switch {
	case e != nil && c.begun:
		panic(http.ErrAbortHandler) // has the connection closed: what has left is not a whole answer
	case e != nil:
		c.refuse(e)
	case !c.begun:
		c.send(cmp.Or(c.status, http.StatusOK), kind, body)
	}
}

// serve returns the answer to a request, and what that was for the metrics. It makes
// an error of a panic.
func (h *handler) serve(c *call) (do, kind string, body []byte, err error) {
	defer func() {
		if v := recover(); v != nil {
			h.logPanic(v)
			err = token.ErrInternal
		}
	}()
	if err := h.admit(c); err != nil {
		c.w.Header().Set("Connection", "close")
		return "connect", "", nil, err
	}
	t, err := h.find(c)
	if err != nil {
		return "other", "", nil, err
	}
	do = t.do
	answer, err := h.serveRoute(c, t)
	if err == nil {
		kind, body, err = encode(answer)
	}
	return do, kind, body, err
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

// audit reports a grant, or with err a refusal. Without a Do e is neither.
func (h *handler) audit(ctx context.Context, e token.AuditEntry, err error) {
	if h.Audit == nil || e.Do == "" {
		return
	}
	peer, program, _ := Caller(ctx)
	e.User = token.User{UID: peer.UID, PID: peer.PID, Program: program}
	if err != nil {
		wire, _ := wireError(err)
		e.Code = wire.Code
	}
	h.Audit(e)
}

// admit refuses callers who may not use this daemon, and web pages: a browser
// cannot open a Unix socket, but there may be a proxy before it.
func (h *handler) admit(c *call) error {
	who, ok := c.Context().Value(connKey{}).(*conn)
	if !ok {
		return errors.New("a request without a connection")
	}
	err := cmp.Or(who.err, h.allow(who.peer))
	switch origins := c.Header["Origin"]; {
	case err == nil && origins == nil:
		return nil
	case err == nil && len(origins) > 1:
		_, err = single(c.Header, "Origin")
		return err
	case err == nil:
		err = errors.New("tokend does not answer web pages")
	}
	c.event.Do = "connect"
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
	c.status = http.StatusMethodNotAllowed
	return nil, invalid("method", "this path has no method %.16q", c.Method)
}

func (h *handler) serveRoute(c *call, t *route) (answer any, err error) {
	if c.URL.RawQuery != "" && t.rules&takesQuery == 0 {
		return nil, invalid("query", "this path takes no query parameters")
	}
	if t.named() {
		if c.name, err = url.PathUnescape(c.name); err != nil {
			return nil, invalid("name", "the name in the path is not escaped correctly")
		}
		if err := token.CheckName(c.name); err != nil {
			return nil, err
		}
	}
	if c.ContentLength != 0 {
		of := c.name
		if t.rules&manages != 0 {
			of = ""
		}
		if err := h.backend.Admit(c.Context(), of, t.rules&(manages|administers) != 0); err != nil {
			c.event = token.AuditEntry{Do: t.do, Profile: c.name}
			return nil, err
		}
	}
	if err := h.readBody(c); err != nil {
		return nil, err
	}
	if again, key, _ := strings.Cut(c.Header.Get(ipc.AskerHeader), " "); key != "" && len(key) <= maxAskerKey {
		if n, err := strconv.Atoi(again); err == nil {
			c.Request = c.WithContext(token.WithAsker(c.Context(), token.Asker{Key: key, Again: n}))
		}
	}
	if t.rules&audits != 0 {
		c.event = token.AuditEntry{Do: t.do, Profile: c.name}
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
