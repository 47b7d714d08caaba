package ipcserver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"tokend/ipc"
	"tokend/providers/token"
	"tokend/providers/token/format"
)

type handler struct {
	backend Backend
	allow   func(ipc.Peer) error
	audit   func(Event)
	log     *slog.Logger
	routes  []route
	// leases holds a value per endpoint that is lent; ending is closed when
	// they are to end.
	leases chan struct{}
	ending chan struct{}
	// counts and measure may be nil.
	counts  *Counts
	measure func(context.Context) (http.Handler, error)
}

func newHandler(b Backend, o Options) *handler {
	if o.Audit != nil {
		b = &audited{b, o.Audit}
	}
	h := &handler{backend: b, allow: o.Allow, audit: o.Audit, log: o.Log, leases: make(chan struct{}, maxLeases), ending: make(chan struct{}),
		counts: o.Counts, measure: o.Metrics}
	if h.allow == nil {
		h.allow = OwnUser
	}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	h.routes = []route{
		{method: "GET", before: ipc.TokenPath, named: true, do: doing("get"), serve: h.getToken},
		{method: "GET", before: ipc.AnyTokenPath, do: doing("get"), serve: h.getToken},
		{method: "POST", before: ipc.InvalidatePath, do: doing("invalidate"), serve: h.invalidate},
		{method: "POST", before: ipc.ExchangePath, named: true, do: doing("exchange"), serve: h.exchange},
		{method: "POST", before: ipc.TokenPath, named: true, after: ipc.InvalidateSuffix, do: doing("invalidate"), serve: h.invalidate},
		{method: "POST", before: ipc.MSIPath, do: doing("azure-msi"), serve: h.lendMSI},
		{method: "GET", before: ipc.ProfilesPath, do: doing("list"), serve: h.profiles},
		{method: "POST", before: ipc.ProfilesPath, do: doing("add"), serve: h.add},
		{method: "GET", before: ipc.ProfilePath, named: true, do: doing("show"), serve: h.profile},
		{method: "DELETE", before: ipc.ProfilePath, named: true, do: doing("remove"), serve: h.remove},
		{method: "POST", before: ipc.ProfilePath, named: true, after: ipc.RotateSuffix, do: doing("rotate"), serve: h.rotate},
		{method: "GET", before: ipc.ProvidersPath, do: doing("providers"), serve: h.providers},
		{method: "GET", before: ipc.StatusPath, do: doing("status"), serve: h.status},
		{method: "POST", before: ipc.ReloadPath, do: doing("reload"), serve: h.reload},
		{method: "POST", before: ipc.SignPath, named: true, do: doing("sign"), serve: h.sign},
		{method: "POST", before: ipc.VerifyPath, named: true, do: doing("verify"), serve: h.verify},
		{method: "GET", before: ipc.AuthorizePath, named: true, do: doing("authorize"), serve: h.authorize},
		{method: "GET", before: ipc.EventsPath, do: doing("events"), serve: h.events},
		{method: "GET", before: ipc.MetricsPath, do: doing("metrics"), serve: h.metrics},
		{method: "GET", before: ipc.DoctorPath, do: doing("doctor"), serve: h.doctor},
		{method: "GET", before: ipc.KeystorePath, do: doing("keystore"), serve: h.keystore},
		{method: "POST", before: ipc.UnlockPath, do: doing("unlock"), serve: h.unlock},
		{method: "POST", before: ipc.MigratePath, do: doing("migrate"), serve: h.migrate},
	}
	return h
}

// A route is a method and a path: fixed, or with a profile's name between
// before and after. http.ServeMux is not used because it answers by itself,
// with redirects and in words of its own.
type route struct {
	method, before, after string
	named                 bool
	do                    int // an index of doings
	serve                 func(w http.ResponseWriter, r *http.Request, name string) error
}

// match tells whether the escaped path is the route's, and the name in it.
func (t *route) match(path string) (name string, ok bool) {
	if !t.named {
		return "", path == t.before
	}
	rest, ok := strings.CutPrefix(path, t.before)
	if !ok {
		return "", false
	}
	name, ok = strings.CutSuffix(rest, t.after)
	return name, ok && name != "" && !strings.Contains(name, "/")
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength != 0 {
		// For routes that read no body as well: net/http does behind them.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout))
	}
	select {
	case <-h.ending:
		w.Header().Set("Connection", "close")
	default:
	}
	err := h.serveSafely(w, r)
	switch {
	case err == nil:
	case begun(w):
		if r.Context().Err() == nil { // else the caller is gone, or the server is to end
			h.log.Error("an answer broke off", "error", err.Error())
		}
		panic(http.ErrAbortHandler) // has the connection closed: what has left is no whole answer
	default:
		h.refuse(w, r, err)
	}
}

// serveSafely makes an error of a panic.
func (h *handler) serveSafely(w http.ResponseWriter, r *http.Request) (err error) {
	defer func() {
		if v := recover(); v != nil {
			h.logPanic(v)
			err = token.ErrInternal
		}
	}()
	return h.serve(w, r)
}

func (h *handler) serve(w http.ResponseWriter, r *http.Request) error {
	if err := h.admit(r); err != nil {
		h.counts.add(doConnect, err)
		w.Header().Set("Connection", "close")
		return err
	}
	path := r.URL.EscapedPath()
	var allowed []string
	for i := range h.routes {
		t := &h.routes[i]
		name, ok := t.match(path)
		switch {
		case !ok:
		case t.method != r.Method:
			allowed = append(allowed, t.method)
		default:
			err := h.serveRoute(t, w, r, name)
			h.counts.add(t.do, err)
			return err
		}
	}
	h.counts.add(doOther, token.ErrNotFound)
	if allowed != nil {
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		return &token.Error{Code: token.ErrInvalid, Field: "method", Cause: errMethod,
			Message: fmt.Sprintf("%.16q is no method of this path", r.Method)}
	}
	return &token.Error{Code: token.ErrNotFound, Message: "no such path in tokend's protocol"}
}

func (h *handler) serveRoute(t *route, w http.ResponseWriter, r *http.Request, escaped string) error {
	// Only these routes take parameters, and read them themselves.
	takes := t.method == "GET" && (strings.HasPrefix(t.before, ipc.AnyTokenPath) || t.before == ipc.EventsPath)
	if r.URL.RawQuery != "" && !takes {
		return &token.Error{Code: token.ErrInvalid, Field: "query", Message: "this path takes no query parameters"}
	}
	name := escaped
	if t.named {
		var err error
		if name, err = url.PathUnescape(escaped); err != nil {
			return &token.Error{Code: token.ErrInvalid, Field: "name", Message: "the name in the path is not escaped correctly"}
		}
		if err := ipc.CheckName(name); err != nil {
			return err
		}
	}
	return t.serve(w, r, name)
}

// admit refuses callers who may not use this daemon, and web pages: a browser
// cannot open a Unix socket, but somebody may have put a proxy before it.
func (h *handler) admit(r *http.Request) error {
	c, ok := r.Context().Value(callerKey{}).(*caller)
	if !ok {
		return errors.New("a request without a connection")
	}
	err := c.err
	if err == nil {
		err = h.allow(c.peer)
	}
	if err == nil && r.Header.Get("Origin") != "" {
		err = errors.New("tokend does not answer web pages")
	}
	if err == nil {
		return nil
	}
	if h.audit != nil {
		h.audit(Event{Caller: c.peer, Program: c.program(), Do: "connect", Code: token.ErrDenied})
	}
	h.log.Warn("caller refused", "uid", c.peer.UID, "pid", c.peer.PID, "reason", err.Error())
	return &token.Error{Code: token.ErrDenied, Message: err.Error(), Cause: err}
}

func (h *handler) getToken(w http.ResponseWriter, r *http.Request, name string) error {
	q, err := ipc.DecodeQuery(r.URL.RawQuery)
	if err != nil {
		return err
	}
	if name == "" && q.URL == "" {
		return &token.Error{Code: token.ErrInvalid, Field: "url", Message: "either a profile or a url must be named"}
	}
	g, err := h.backend.Get(r.Context(), name, q)
	if err != nil && q.Trace != nil {
		return &tracedError{err, q.Trace}
	}
	if err != nil {
		return err
	}
	if g.Secret.IsZero() {
		return errors.New("the backend gave a token without text")
	}
	if wantsText(r) {
		send(w, http.StatusOK, textType, []byte(g.Secret.Reveal()))
		return nil
	}
	body := format.AppendJSON(nil, g, time.Now())
	if q.Trace != nil {
		steps, err := json.Marshal(list(q.Trace.Steps()))
		if err != nil {
			return err
		}
		body = slices.Concat(bytes.TrimSuffix(body, []byte("}")), []byte(`,"trace":`), steps, []byte("}"))
	}
	send(w, http.StatusOK, jsonType, body)
	return nil
}

// A tracedError comes with the steps that led to it.
type tracedError struct {
	error
	trace *token.Trace
}

func (e *tracedError) Unwrap() error { return e.error }

func (h *handler) exchange(w http.ResponseWriter, r *http.Request, name string) error {
	body, err := readBody(w, r)
	if err != nil {
		return err
	}
	registry, err := ipc.DecodeExchange(body)
	if err != nil {
		return err
	}
	refresh, err := h.backend.Exchange(r.Context(), name, registry)
	return sendJSON(w, http.StatusOK, ipc.Exchanged{RefreshToken: refresh.Reveal()}, err)
}

func (h *handler) invalidate(w http.ResponseWriter, r *http.Request, name string) error {
	body, err := readBody(w, r)
	if err != nil {
		return err
	}
	t, err := ipc.DecodeInvalidation(body)
	if err != nil {
		return err
	}
	if name == "" && t.IsZero() {
		return &token.Error{Code: token.ErrInvalid, Field: "access_token", Message: "either a profile or an access_token must be named"}
	}
	return done(w, h.backend.Invalidate(r.Context(), name, t))
}

func (h *handler) profiles(w http.ResponseWriter, r *http.Request, _ string) error {
	st, err := h.backend.Status(r.Context())
	return sendJSON(w, http.StatusOK, ipc.ProfileList{Profiles: list(st.Profiles)}, err)
}

func (h *handler) profile(w http.ResponseWriter, r *http.Request, name string) error {
	status, err := h.backend.Profile(r.Context(), name)
	return sendJSON(w, http.StatusOK, status, err)
}

func (h *handler) add(w http.ResponseWriter, r *http.Request, _ string) error {
	a, err := readAddition(w, r)
	if err != nil {
		return err
	}
	if err := ipc.CheckName(a.Name); err != nil {
		return err
	}
	if a.Step != "" {
		return &token.Error{Code: token.ErrInvalid, Field: "step", Message: "a new profile is made in one step"}
	}
	added, err := h.backend.Add(r.Context(), a)
	return sendJSON(w, http.StatusCreated, added, err)
}

func (h *handler) rotate(w http.ResponseWriter, r *http.Request, name string) error {
	a, err := readAddition(w, r)
	if err != nil {
		return err
	}
	if a.Name != "" && a.Name != name {
		return &token.Error{Code: token.ErrInvalid, Field: "name", Message: "the body's name is not the path's"}
	}
	a.Name = name
	added, err := h.backend.Rotate(r.Context(), a)
	return sendJSON(w, http.StatusOK, added, err)
}

func (h *handler) remove(w http.ResponseWriter, r *http.Request, name string) error {
	return done(w, h.backend.Remove(r.Context(), name))
}

func (h *handler) providers(w http.ResponseWriter, r *http.Request, _ string) error {
	all, err := h.backend.Providers(r.Context())
	return sendJSON(w, http.StatusOK, ipc.ProviderList{Providers: list(all)}, err)
}

func (h *handler) status(w http.ResponseWriter, r *http.Request, _ string) error {
	st, err := h.backend.Status(r.Context())
	st.Profiles = list(st.Profiles)
	return sendJSON(w, http.StatusOK, st, err)
}

func (h *handler) reload(w http.ResponseWriter, r *http.Request, _ string) error {
	return done(w, h.backend.Reload(r.Context()))
}

// list makes an empty list of none, which JSON would call null.
func list[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

func readAddition(w http.ResponseWriter, r *http.Request) (token.CreateProfile, error) {
	body, err := readBody(w, r)
	if err != nil {
		return token.CreateProfile{}, err
	}
	return ipc.DecodeAddition(body)
}

// readBody reads the whole body, which has to arrive in time.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	rc := http.NewResponseController(w)
	// Reading may make net/http write "100 Continue", under the deadline that
	// the connection's last answer left behind.
	_ = rc.SetWriteDeadline(time.Now().Add(bodyTimeout))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, ipc.MaxBody))
	var large *http.MaxBytesError
	switch {
	case err == nil:
		// net/http goes on reading, to see whether the caller leaves; the
		// deadline would look like that.
		_ = rc.SetReadDeadline(time.Time{})
		return body, nil
	case errors.As(err, &large):
		return nil, &token.Error{Code: token.ErrInvalid, Message: fmt.Sprintf("the body has more than %d bytes", ipc.MaxBody)}
	case errors.Is(err, os.ErrDeadlineExceeded):
		w.Header().Set("Connection", "close")
		return nil, &token.Error{Code: token.ErrInvalid, Message: fmt.Sprintf("the body did not arrive within %v", bodyTimeout)}
	}
	w.Header().Set("Connection", "close")
	return nil, &token.Error{Code: token.ErrInvalid, Message: "the body broke off", Cause: err}
}

const (
	jsonType = "application/json"
	textType = "text/plain; charset=utf-8"
)

// wantsText tells whether the caller asks for text/plain, and not for JSON
// before that.
func wantsText(r *http.Request) bool {
	for accept := range strings.SplitSeq(r.Header.Get("Accept"), ",") {
		kind, _, _ := strings.Cut(accept, ";")
		switch strings.ToLower(strings.TrimSpace(kind)) {
		case "text/plain":
			return true
		case jsonType:
			return false
		}
	}
	return false
}

// done answers a request that has no result to show.
func done(w http.ResponseWriter, err error) error {
	return sendJSON(w, http.StatusOK, struct{}{}, err)
}

func sendJSON(w http.ResponseWriter, status int, v any, err error) error {
	if err != nil {
		return err
	}
	var body bytes.Buffer
	if err := encoder(&body).Encode(v); err != nil {
		return err
	}
	send(w, status, jsonType, bytes.TrimSuffix(body.Bytes(), []byte("\n")))
	return nil
}

// encoder writes JSON that people can read: what is in it never gets into HTML.
func encoder(into io.Writer) *json.Encoder {
	e := json.NewEncoder(into)
	e.SetEscapeHTML(false)
	return e
}

func send(w http.ResponseWriter, status int, kind string, body []byte) {
	announce(w, kind)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_ = write(w, body) // the caller is gone, and nobody else asked
}

// write writes a body, or a part of one, which has to leave in time.
func write(w http.ResponseWriter, body []byte) error {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout))
	_, err := w.Write(body)
	return err
}

// announce says what kind of answer begins.
func announce(w http.ResponseWriter, kind string) {
	head := w.Header()
	head.Set("Content-Type", kind)
	head.Set("Cache-Control", "no-store")
}

// begun tells whether an answer was announced.
func begun(w http.ResponseWriter) bool { return w.Header().Get("Content-Type") != "" }

// errMethod is the cause of an error that HTTP has a status of its own for.
var errMethod = errors.New("method not allowed")

func (h *handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	e, known := wireError(err)
	switch {
	case known:
	case r.Context().Err() != nil:
		// Either the caller is gone and hears nothing, or we are about to be.
		e = &token.Error{Code: token.ErrUnavailable, Message: "tokend is stopping"}
	default:
		h.log.Error("request failed", "error", err.Error())
	}
	status := ipc.HTTPStatus(e.Code)
	switch {
	case errors.Is(err, errMethod):
		status = http.StatusMethodNotAllowed
	case status == http.StatusForbidden && isAuthorize(r):
		// To a proxy this status is a verdict on the token, and there is none.
		status = http.StatusInternalServerError
	}
	if wait := time.Until(e.RetryAt); status == http.StatusServiceUnavailable && wait > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(wait/time.Second)+1))
	}
	if wantsText(r) {
		send(w, status, textType, fmt.Appendf(nil, "%s: %s\n", string(e.Code), e.Message))
		return
	}
	refusal := ipc.Refusal{Error: e}
	if traced := (*tracedError)(nil); errors.As(err, &traced) {
		refusal.Trace = traced.trace.Steps()
	}
	body, err := json.Marshal(refusal)
	if err != nil { // a retry_at beyond the year 9999
		h.log.Error("refusal not encoded", "error", err.Error())
		body, _ = json.Marshal(ipc.Refusal{Error: &token.Error{Code: e.Code, Message: e.Message}})
	}
	send(w, status, jsonType, body)
}

// wireError is what the caller learns of err. known is false if err has no
// code: such an error was not written for callers.
func wireError(err error) (e *token.Error, known bool) {
	var full *token.Error
	var code token.Code
	switch {
	case errors.As(err, &full):
		e = new(*full)
	case errors.As(err, &code):
		e = &token.Error{Code: code}
	default:
		return &token.Error{Code: token.ErrInternal, Message: token.ErrInternal.Error()}, false
	}
	e.Message = oneLine(err.Error())
	e.RetryAt = e.RetryAt.UTC()
	return e, true
}

// oneLine joins the lines of joined errors.
func oneLine(s string) string { return strings.ReplaceAll(strings.TrimSpace(s), "\n", "; ") }

// logPanic logs where a panic came from. Its value may hold anything; only the
// runtime's own are known to be harmless.
func (h *handler) logPanic(v any) {
	what := fmt.Sprintf("%T", v)
	if err, ok := v.(runtime.Error); ok {
		what = err.Error()
	}
	h.log.Error("panic while answering", "panic", what, "stack", string(debug.Stack()))
}
