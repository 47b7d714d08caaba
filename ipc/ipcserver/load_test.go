//go:build linux

package ipcserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tokend/ipc"
	. "tokend/providers/fixturetest"
	"tokend/providers/token"
)

const statusRequest = "GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n"

// shortTimes are for tests that wait for them.
var shortTimes = times{head: 400 * time.Millisecond, body: 600 * time.Millisecond, write: 600 * time.Millisecond, idle: time.Minute,
	lastWord: 100 * time.Millisecond, grace: 500 * time.Millisecond}

// prompt is how soon others must be answered while a caller misbehaves.
const prompt = 50 * time.Millisecond

// promptly checks that an ordinary caller is served. One slow answer may be
// this machine's doing, all of several are not.
func (s *running) promptly(t *testing.T) {
	t.Helper()
	var took time.Duration
	for range 5 {
		began := time.Now()
		if _, err := s.client.Get(t.Context(), "clms", token.Query{}); err != nil {
			t.Errorf("another caller: %v", err)
			return
		}
		if took = time.Since(began); took < prompt {
			return
		}
	}
	t.Errorf("another caller was answered after %v only", took)
}

// closed checks that the server ends the connection, not sooner or much later
// than it should.
func closed(t *testing.T, conn net.Conn, began time.Time, after time.Duration) {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(after + 10*time.Second))
	_, err := io.ReadAll(conn)
	if took := time.Since(began); err != nil && strings.Contains(err.Error(), "timeout") || took < after || took > after+5*time.Second {
		t.Errorf("closed after %v (%v), want %v", took, err, after)
	}
}

func TestAThousandIdleConnections(t *testing.T) {
	s := start(t, newMemory(), Options{})
	for i := range 1000 {
		conn := s.dial(t)
		if i%2 == 0 {
			continue // never says a word
		}
		_, _ = io.WriteString(conn, statusRequest)
		if answer, _ := hear(t, conn); answer.StatusCode != 200 {
			t.Fatalf("connection %d: %s", i, answer.Status)
		}
	}
	s.promptly(t)
	began := time.Now()
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("ending took %v", took)
	}
}

func TestConnectionsBeyondTheLimitWait(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	inner, err := Listen(socket)
	Must(t, err)
	l := limit(inner, 2, &quota{n: 2}, nil)
	accepted := make(chan net.Conn)
	ended := make(chan error, 1)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				ended <- err
				return
			}
			accepted <- conn
		}
	}()
	for range 4 {
		conn, err := net.Dial("unix", socket)
		Must(t, err)
		defer func() { _ = conn.Close() }()
	}
	first, second := <-accepted, <-accepted
	select {
	case <-accepted:
		t.Fatal("a third connection was accepted")
	case <-time.After(50 * time.Millisecond):
	}
	_ = first.Close()
	_ = first.Close() // makes room once
	third := <-accepted
	select {
	case <-accepted:
		t.Fatal("closing twice made room for two")
	case <-time.After(50 * time.Millisecond):
	}
	if err := l.Close(); err != nil { // while Accept waits for room
		t.Error(err)
	}
	<-ended
	_, _ = second.Close(), third.Close()
}

func TestSlowHeader(t *testing.T) {
	t.Parallel()
	s := start(t, newMemory(), Options{times: shortTimes})
	began := time.Now()
	silent, slow := s.dial(t), s.dial(t)
	go func() {
		for _, c := range []byte(strings.Repeat(statusRequest, 10)) {
			if _, err := slow.Write([]byte{c}); err != nil {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	}()
	s.promptly(t)
	closed(t, slow, began, shortTimes.head)
	closed(t, silent, began, shortTimes.head)
}

func TestSlowBody(t *testing.T) {
	t.Parallel()
	s := start(t, newMemory(), Options{times: shortTimes})
	conn := s.dial(t)
	began := time.Now()
	_, _ = io.WriteString(conn, "POST /v1/profiles HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
	go func() {
		for {
			if _, err := conn.Write([]byte(" ")); err != nil {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	}()
	s.promptly(t)
	answer, body := hear(t, conn)
	if answer.StatusCode != 400 || !strings.Contains(body, "did not arrive") {
		t.Errorf("%s %s", answer.Status, body)
	}
	closed(t, conn, began, shortTimes.body)
}

// The deadline for the body does not apply to the answer.
func TestRequestsMayTakeLongerThanTheirBody(t *testing.T) {
	t.Parallel()
	b := newMemory()
	b.reload = func(ctx context.Context) error {
		select {
		case <-time.After(shortTimes.body + 100*time.Millisecond):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s := start(t, b, Options{times: shortTimes})
	for _, body := range []string{"", "{}"} {
		answer, got := s.say(t, fmt.Sprintf("POST /v1/reload HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
		if answer.StatusCode != 200 {
			t.Errorf("with the body %q: %s %s", body, answer.Status, got)
		}
	}
}

func TestOversizedHeads(t *testing.T) {
	s := start(t, newMemory(), Options{})
	long := strings.Repeat("x", 257<<10)
	for name, raw := range map[string]string{
		"line":   "GET /v1/token/" + long + " HTTP/1.1\r\nHost: x\r\n\r\n",
		"query":  "GET /v1/token/clms?scope=" + long + " HTTP/1.1\r\nHost: x\r\n\r\n",
		"field":  "GET /v1/status HTTP/1.1\r\nHost: x\r\nX: " + long + "\r\n\r\n",
		"fields": "GET /v1/status HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X: y\r\n", 10_000) + "\r\n",
	} {
		conn := s.dial(t)
		go func() { _, _ = io.WriteString(conn, raw) }()
		// The connection is reset right behind the header of the answer.
		if answer := hearHead(t, conn); answer.StatusCode != 431 {
			t.Errorf("%s: %s", name, answer.Status)
		}
	}
	if answer, _ := s.say(t, "GET /v1/status HTTP/1.1\r\nHost: x\r\nX: "+strings.Repeat("x", 12<<10)+"\r\n\r\n"); answer.StatusCode != 200 {
		t.Errorf("12 KiB: %s", answer.Status)
	}
	s.promptly(t)
}

func TestRequestsThatBreakOff(t *testing.T) {
	s := start(t, newMemory(), Options{})
	for name, raw := range map[string]string{
		"nothing":        "",
		"in the line":    "GET /v1/sta",
		"in the header":  "GET /v1/status HTTP/1.1\r\nHo",
		"in the body":    "POST /v1/profiles HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{\"name\":",
		"in a chunk":     "POST /v1/profiles HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{",
		"not HTTP":       "\x16\x03\x01\x00\xa5\x01\x00\x00",
		"without a Host": "GET /v1/status HTTP/1.1\r\n\r\n",
	} {
		conn := s.dial(t)
		_, _ = io.WriteString(conn, raw)
		_ = conn.CloseWrite()
		_ = conn.SetReadDeadline(time.Now().Add(prompt * 20))
		if body, err := io.ReadAll(conn); err != nil || strings.Contains(string(body), "HTTP/1.1 2") {
			t.Errorf("%s: answered %q, %v", name, body, err)
		}
	}
	s.promptly(t)
}

func TestHalfClosedCallerIsAnswered(t *testing.T) {
	s := start(t, newMemory(), Options{})
	conn := s.dial(t)
	_, _ = io.WriteString(conn, "GET /v1/token/clms HTTP/1.1\r\nHost: x\r\n\r\n")
	_ = conn.CloseWrite()
	if answer, _ := hear(t, conn); answer.StatusCode != 200 {
		t.Error(answer.Status)
	}
}

func TestACallerThatDoesNotReadIsLetGo(t *testing.T) {
	t.Parallel()
	s := start(t, newMemory(), Options{times: shortTimes})
	conn := s.dial(t)
	began := time.Now()
	_ = conn.SetWriteDeadline(began.Add(shortTimes.write + 10*time.Second))
	gone := make(chan error, 1)
	go func() {
		for { // fills the connection's buffers both ways
			if _, err := io.WriteString(conn, statusRequest); err != nil {
				gone <- err
				return
			}
		}
	}()
	s.promptly(t)
	err := <-gone
	if took := time.Since(began); !errors.Is(err, syscall.EPIPE) || took < shortTimes.write {
		t.Errorf("let go after %v: %v", took, err)
	}
}

func TestRequestsOneAfterTheOther(t *testing.T) {
	s := start(t, newMemory(), Options{})
	conn := s.dial(t)
	for i := range 3 {
		body := fmt.Sprintf(`{"access_token":"t%d"}`, i)
		_, _ = fmt.Fprintf(conn, "POST /v1/token/clms/invalidate HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", len(body))
		if answer, _ := hear(t, conn); answer.StatusCode != 100 {
			t.Fatalf("request %d: %s", i, answer.Status)
		}
		_, _ = io.WriteString(conn, body)
		if answer, text := hear(t, conn); answer.StatusCode != 200 || text != "{}" {
			t.Fatalf("request %d: %s %s", i, answer.Status, text)
		}
	}
}

// A user cannot take all places, and users that may use nothing have those of one
// together, however many they are: some stay free for root and the server's own user.
func TestPlacesAreSharedBetweenUsers(t *testing.T) {
	h, q := newHandler(onlyBelow{newMemory()}, Options{AnyUser: true}), &quota{n: 64}
	take := func(uid, times int, err error) (got int, last *conn) {
		for range times {
			c := &conn{peer: ipc.Peer{UID: uid}, err: err}
			c.user = h.userOf(c)
			c.proven.Store(true)
			if q.take(c) {
				got, last = got+1, c
			}
		}
		return got, last
	}
	of := func(uid, want int, err error) {
		t.Helper()
		if got, _ := take(uid, 100, err); got != want {
			t.Errorf("uid %d has %d places, want %d", uid, got, want)
		}
	}
	strangers := 0
	for uid := 80000; uid < 81000; uid++ {
		got, _ := take(uid, 1, nil)
		strangers += got
	}
	if strangers != 8 {
		t.Errorf("users that may use nothing have %d places", strangers)
	}
	of(0, 0, errors.New("not identified"))
	_, one := take(70000, 1, nil)
	of(70000, 7, nil)
	q.giveBack(one)
	of(70000, 1, nil)
	for uid := 70001; uid < 70006; uid++ {
		of(uid, 8, nil)
	}
	of(70006, 0, nil)
	if got, _ := take(0, 4, nil); got != 4 {
		t.Errorf("root has %d places", got)
	}
	of(os.Geteuid(), 4, nil)
	of(0, 0, nil)
}

// onlyBelow refuses users from 80000 on.
type onlyBelow struct{ *memory }

func (onlyBelow) Admit(ctx context.Context, _ string, _ bool) error {
	if p, _, _ := Caller(ctx); p.UID >= 80000 {
		return token.ErrDenied
	}
	return nil
}

// The body of a request that is refused anyway is not read.
func TestNoBodyIsReadForWhoMayNotAsk(t *testing.T) {
	b := newMemory()
	b.admit = &token.Error{Code: token.ErrDenied, Message: "not you"}
	s := start(t, b, Options{})
	conn := s.dial(t)
	for _, line := range []string{"POST /v1/profiles", "POST /v1/sign/clms", "GET /v1/status", "POST /v1/reload"} {
		_, _ = io.WriteString(conn, line+" HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nxxxx")
		if answer, body := hear(t, conn); answer.StatusCode != 403 || !strings.Contains(body, "not you") {
			t.Errorf("%s: %s %s", line, answer.Status, body)
		}
	}
	_, _ = io.WriteString(conn, statusRequest)
	if answer, _ := hear(t, conn); answer.StatusCode != 200 {
		t.Errorf("without a body: %s", answer.Status)
	}
}

// Any user can connect to loopback: those who do not prove themselves keep no one
// out, and have a bounded number of connections.
func TestLoopbackIsBounded(t *testing.T) {
	inner, err := net.Listen("tcp4", "127.0.0.1:0")
	Must(t, err)
	l := LimitLoopback(inner, 3)
	defer func() { _ = l.Close() }()
	connect := func() (client net.Conn, accepted *conn) {
		client, err := net.Dial("tcp4", inner.Addr().String())
		Must(t, err)
		t.Cleanup(func() { _ = client.Close() })
		c, err := l.Accept()
		Must(t, err)
		return client, c.(*conn)
	}
	open := func(c net.Conn) bool {
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		_, err := c.Read(make([]byte, 1))
		return errors.Is(err, os.ErrDeadlineExceeded)
	}
	owner, proven := connect()
	proven.proven.Store(true)
	var strangers []net.Conn
	for range 20 {
		client, _ := connect()
		strangers = append(strangers, client)
	}
	if n := len(l.(*limited).places.held); n != 3 || !open(owner) || open(strangers[17]) || !open(strangers[18]) || !open(strangers[19]) {
		t.Errorf("%d connections are open", n)
	}
	for range 2 {
		_, g := connect()
		g.proven.Store(true)
	}
	accepted := make(chan net.Conn, 1)
	go func() { conn, _ := l.Accept(); accepted <- conn }()
	refused, err := net.Dial("tcp4", inner.Addr().String())
	Must(t, err)
	defer func() { _ = refused.Close() }()
	if _, err := refused.Read(make([]byte, 1)); err == nil || open(refused) {
		t.Error("one more than can be was not refused")
	}
	_ = proven.Close()
	client, err := net.Dial("tcp4", inner.Addr().String())
	Must(t, err)
	defer func() { _ = client.Close() }()
	if <-accepted; !open(client) {
		t.Error("a connection that ended makes no room")
	}
}
