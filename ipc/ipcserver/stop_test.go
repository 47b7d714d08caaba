//go:build linux

package ipcserver

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	. "tokend/providers/fixturetest"
	"tokend/providers/token"
)

const plainRequest = "GET /v1/token/clms HTTP/1.1\r\nHost: tokend\r\n\r\n"

// At the end a caller who waits between two requests is let go, and one who was
// let in but has not spoken is answered, for the last time. One who comes then is
// held, not refused.
func TestAStopAnswersWhoWasLetIn(t *testing.T) {
	s := start(t, newMemory(), Options{})
	kept, silent := s.dial(t), s.dial(t)
	_, _ = io.WriteString(kept, plainRequest)
	_, _ = hear(t, kept)
	s.promptly(t) // by now silent was let in
	stopped := make(chan error, 1)
	go func() { stopped <- s.stop() }()
	if rest, err := io.ReadAll(kept); len(rest) > 0 || err != nil {
		t.Errorf("heard %q, %v", rest, err)
	}
	late := s.dial(t)
	_, _ = io.WriteString(late, plainRequest)
	_, _ = io.WriteString(silent, plainRequest)
	if answer, body := hear(t, silent); answer.StatusCode != http.StatusOK || !answer.Close {
		t.Errorf("%s %s, close %t", answer.Status, body, answer.Close)
	}
	Must(t, <-stopped)
	if heard, _ := io.ReadAll(late); len(heard) > 0 {
		t.Errorf("a late caller heard %q", heard)
	}
}

// Restarts lose no call as long as another process holds the socket, over new
// connections and over kept ones, beside a caller who says nothing.
func TestRestartsLoseNoCall(t *testing.T) {
	socket, serve := heldSocket(t)
	var callers sync.WaitGroup
	last := make(chan struct{}) // closed when the callers may stop
	var calls, reconnects atomic.Int32
	for _, request := range []string{plainRequest, plainRequest, plainRequest, statusRequest, statusRequest, ""} {
		for _, kept := range []bool{false, true} {
			callers.Go(func() {
				for !isClosed(last) {
					conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
					if err != nil {
						t.Error(err)
						return
					}
					reconnects.Add(1)
					if request == "" {
						_ = conn.CloseWrite()
						_, _ = io.ReadAll(conn)
					} else {
						calls.Add(callsOver(t, conn, request, kept, last))
					}
					_ = conn.Close()
				}
			})
		}
	}
	for n := range int32(50) {
		ctx, stop := context.WithCancel(t.Context())
		serve(ctx, &restless{memory: newMemory(), calls: 20 + n, stop: stop})
	}
	close(last)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); serve(ctx, newMemory()) }()
	callers.Wait()
	stop()
	<-ended
	t.Logf("%d calls over %d connections", calls.Load(), reconnects.Load())
}

// callsOver asks over conn as long as that is kept. What could be sent must be answered.
func callsOver(t *testing.T, conn net.Conn, request string, kept bool, last chan struct{}) (calls int32) {
	hears := bufio.NewReader(conn)
	for {
		if _, err := io.WriteString(conn, request); calls > 0 && errors.Is(err, syscall.EPIPE) {
			return calls // nothing was sent
		} else if err != nil {
			t.Errorf("call %d: %v", calls, err)
			return calls
		}
		answer, err := http.ReadResponse(hears, nil)
		if err != nil {
			t.Errorf("call %d: %v", calls, err)
			return calls
		}
		if body, err := io.ReadAll(answer.Body); err != nil || answer.StatusCode != http.StatusOK {
			t.Errorf("call %d: %s %s, %v", calls, answer.Status, body, err)
		}
		if calls++; answer.Close || !kept || isClosed(last) {
			return calls
		}
	}
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// heldSocket is a socket that stays open, as systemd holds it, while servers on
// it come and go.
func heldSocket(t *testing.T) (socket string, serve func(context.Context, Backend)) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "s")
	inner, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	Must(t, err)
	inner.SetUnlinkOnClose(false)
	held, err := inner.File()
	Must(t, err)
	t.Cleanup(func() { _ = held.Close() })
	_ = inner.Close()
	return socket, func(ctx context.Context, b Backend) {
		l, err := net.FileListener(held)
		if err != nil {
			t.Error(err)
			return
		}
		l.(*net.UnixListener).SetUnlinkOnClose(false)
		if err := Serve(ctx, l, b, Options{}); err != nil {
			t.Errorf("Serve: %v", err)
		}
	}
}

// A restless backend stops the server during one of its calls.
type restless struct {
	*memory
	calls int32
	n     atomic.Int32
	stop  func()
}

func (r *restless) Get(ctx context.Context, name string, q token.Query) (token.Grant, error) {
	if r.n.Add(1) > r.calls {
		r.stop()
	}
	return r.memory.Get(ctx, name, q)
}

// A request under way may finish, though it takes longer than the last word.
func TestAGrantUnderWayMayFinish(t *testing.T) {
	t.Parallel()
	begun := make(chan struct{})
	s := start(t, newMemory(), Options{times: shortTimes, Audit: func(token.AuditEntry) { close(begun); time.Sleep(2 * shortTimes.lastWord) }})
	conn := s.dial(t)
	_, _ = io.WriteString(conn, plainRequest)
	<-begun
	stopped := make(chan error, 1)
	go func() { stopped <- s.stop() }()
	if answer, body := hear(t, conn); answer.StatusCode != http.StatusOK {
		t.Errorf("%s %s", answer.Status, body)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// Whatever a caller does or leaves undone, the server ends within its usualTimes.grace
// period.
func TestNoCallerHoldsUpTheEnd(t *testing.T) {
	t.Parallel()
	large := newMemory()
	tok := large.tokens["clms"]
	tok.Secret = token.NewSecret(strings.Repeat("x", 1<<20)) // does not fit into the socket's buffer
	large.tokens["clms"] = tok
	for name, raw := range map[string]string{
		"does not read":              plainRequest,
		"body of a GET":              "GET /v1/token/clms HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n",
		"body of a refusal":          "GET /v1/status HTTP/1.1\r\nHost: x\r\nOrigin: y\r\nContent-Length: 10\r\n\r\n",
		"body of a path that is not": "GET /v2 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
		"body that is read":          "POST /v1/profiles HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{",
		"half a header":              "GET /v1/sta",
		"events":                     "GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n",
		"nothing":                    "",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, large, Options{times: shortTimes})
			conn := s.dial(t)
			_, _ = io.WriteString(conn, raw)
			if _, err := s.client.Status(t.Context()); err != nil { // conn is accepted before
				t.Error(err)
			}
			began := time.Now()
			if err := s.stop(); err != nil {
				t.Error(err)
			}
			if took := time.Since(began); took > shortTimes.grace+shortTimes.lastWord+2*time.Second {
				t.Errorf("ending took %v", took)
			}
		})
	}
}
