//go:build linux

package ipc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	. "tokend/providers/fixturetest"
	"tokend/providers/token"
)

// answering serves each connection with raw bytes, once a request's header has
// arrived, and returns a client of it.
func answering(t *testing.T, raw string) *Client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	Must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go AnswerAll(l, raw)
	return &Client{Socket: socket}
}

func ok(body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// Answers of other programs, halves, and what a later version of tokend adds.
func TestAnswersThatAreNotTokends(t *testing.T) {
	get := func(c *Client) error {
		g, err := c.Get(t.Context(), "clms", token.Query{})
		if err != nil && !g.Secret.IsZero() {
			t.Error("a token with an error")
		}
		return err
	}
	status := func(c *Client) error { _, err := c.Status(t.Context()); return err }
	verify := func(c *Client) error {
		v, err := c.Verify(t.Context(), "x", token.Presented{Token: token.NewSecret("t")})
		if v.Valid != (err == nil) {
			t.Errorf("%+v, %v", v, err)
		}
		return err
	}
	sign := func(c *Client) error { _, err := c.Sign(t.Context(), "x", token.Request{URL: "https://x"}); return err }
	const begin, end = `{"version":"1","profiles":[{"name":"a"},`, `{"name":"b"}]}`
	for name, c := range map[string]struct {
		ask  func(*Client) error
		raw  string
		want error
	}{
		"nothing":                  {get, "", token.ErrNoDaemon},
		"half a status line":       {get, "HTTP/1.1 2", token.ErrNoDaemon},
		"half a header":            {get, "HTTP/1.1 200 OK\r\nContent-Le", token.ErrNoDaemon},
		"half a body":              {get, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}", token.ErrNoDaemon},
		"no HTTP":                  {get, "220 mail.example ESMTP\r\n", token.ErrInternal},
		"another HTTP":             {get, "HTTP/2 200 OK\r\nContent-Length: 2\r\n\r\n{}", token.ErrInternal},
		"interim answer":           {get, "HTTP/1.1 100 Continue\r\n\r\n", token.ErrInternal},
		"no length":                {get, "HTTP/1.1 200 OK\r\n\r\n{}", token.ErrInternal},
		"two lengths":              {get, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\ncontent-length: 2\r\n\r\n{}", token.ErrInternal},
		"signed length":            {get, "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\n{}", token.ErrInternal},
		"oversized":                {get, "HTTP/1.1 200 OK\r\nContent-Length: 67108865\r\n\r\n{}", token.ErrInternal},
		"huge length":              {get, "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n{}", token.ErrInternal},
		"endless header":           {get, "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", 10_000), token.ErrInternal},
		"endless line":             {get, strings.Repeat("x", 1<<20), token.ErrInternal},
		"line without colon":       {get, "HTTP/1.1 200 OK\r\nfoo\r\n\r\n", token.ErrInternal},
		"not JSON":                 {get, ok("<html>"), token.ErrInternal},
		"no token":                 {get, ok("{}"), token.ErrInternal},
		"empty token":              {get, ok(`{"access_token":"","token_type":"Bearer"}`), token.ErrInternal},
		"redacted by mistake":      {get, ok(`{"access_token":7}`), token.ErrInternal},
		"refusal without an error": {get, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 2\r\n\r\n{}", token.ErrInternal},
		"refusal in HTML":          {get, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 6\r\n\r\n<html>", token.ErrInternal},
		"redirect":                 {get, "HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", token.ErrInternal},
		"a later version":          {get, ok(`{"access_token":"abc","token_type":"Bearer","new_member":{"x":[1]}}`), nil},

		"half a status":            {status, fmt.Sprintf("HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(begin+end), begin), token.ErrNoDaemon},
		"half until close":         {status, untilClose(begin), token.ErrInternal},
		"half in whole":            {status, ok(begin), token.ErrInternal},
		"nothing in it":            {status, ok(""), token.ErrInternal},
		"more than an object":      {status, ok(begin + end + "{}"), token.ErrInternal},
		"a list for a status":      {status, ok("[]"), token.ErrInternal},
		"no list":                  {status, ok(`{"profiles":{}}`), token.ErrInternal},
		"other types":              {status, ok(`{"pid":"x","profiles":[]}`), token.ErrInternal},
		"a coding":                 {status, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", token.ErrInternal},
		"endless":                  {status, untilClose(begin + strings.Repeat(" ", MaxAnswer)), token.ErrInternal},
		"a refusal":                {status, "HTTP/1.0 403 Forbidden\r\nContent-Length: 42\r\n\r\n" + `{"error":{"code":"denied","message":"no"}}` + "\n", token.ErrDenied},
		"half a refusal":           {status, "HTTP/1.0 403 Forbidden\r\nContent-Length: 42\r\n\r\n{", token.ErrNoDaemon},
		"no verdict":               {verify, ok(`{}`), token.ErrInternal},
		"a verdict without a word": {verify, ok(`{"claims":{"sub":"x"}}`), token.ErrInternal},
		"a verdict of null":        {verify, ok(`{"valid":null}`), token.ErrInternal},
		"a verdict in text":        {verify, ok(`{"valid":"true"}`), token.ErrInternal},
		"another answer":           {verify, ok(`{"profiles":[]}`), token.ErrInternal},
		"a later verdict":          {verify, ok(`{"valid":true,"claims":{"exp":9007199254740993},"later":1}`), nil},
		"no signature":             {sign, ok(`{}`), token.ErrInternal},
		"no headers":               {sign, ok(`{"url":"https://x"}`), token.ErrInternal},
		"no URL":                   {sign, ok(`{"headers":[{"name":"a","value":"b"}]}`), token.ErrInternal},
		"two lines":                {sign, ok(`{"url":"https://x","headers":[{"name":"a","value":"b\r\nc: d"}]}`), token.ErrInternal},
	} {
		if err := c.ask(answering(t, c.raw)); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
}

// What a tokend of the first version answered, to its last byte, is still read.
func TestAnswersOfTheFirstVersion(t *testing.T) {
	from := func(name string) *Client {
		raw, err := os.ReadFile("testdata/first/" + name + ".answer")
		Must(t, err)
		return answering(t, string(raw))
	}
	g, err := from("get").Get(t.Context(), "clms", token.Query{})
	if err != nil || g.Secret.Reveal() != "recorded-token" || g.Profile != "clms" || g.Expiry.Sub(g.Issued) != 8*time.Second {
		t.Errorf("Get: %+v, %v", g, err)
	}
	st, err := from("status").Status(t.Context())
	if err != nil || len(st.Profiles) != 3 || st.Profiles[2].Name != "clms" || st.Profiles[2].Tokens[0].State != "fresh" || st.Keystore != "sealed: ok" {
		t.Errorf("Status: %+v, %v", st, err)
	}
	if _, err := from("refused").Get(t.Context(), "none", token.Query{}); !errors.Is(err, token.ErrNotFound) || err.Error() != `no profile "none"` {
		t.Errorf("a refusal: %v", err)
	}
}

// untilClose is an answer that ends with the connection, as a long list of the
// first versions does.
func untilClose(body string) string { return "HTTP/1.0 200 OK\r\nConnection: close\r\n\r\n" + body }

func TestStatusInOldAndNewForm(t *testing.T) {
	const body = `{"version":"1","new":[{}],"may_manage":true,"profiles":[{"name":"a","settings":{"n":1.0}},{"name":"b"}],"cache":"ok"}`
	for name, raw := range map[string]string{"new": ok(body), "old": untilClose(body + "\n ")} {
		st, err := answering(t, raw).Status(t.Context())
		if err != nil || st.Version != "1" || !st.MayManage || st.Cache != "ok" || len(st.Profiles) != 2 || st.Profiles[1].Name != "b" ||
			fmt.Sprint(st.Profiles[0].Settings["n"]) != "1.0" {
			t.Errorf("%s: %+v, %v", name, st, err)
		}
	}
}

func TestNoDaemon(t *testing.T) {
	dir := t.TempDir()
	stale := filepath.Join(dir, "stale")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale})
	Must(t, err)
	l.SetUnlinkOnClose(false)
	Must(t, l.Close())
	file := filepath.Join(dir, "file")
	Must(t, os.WriteFile(file, nil, 0o600))
	for name, socket := range map[string]string{
		"nothing": filepath.Join(dir, "none"), "no directory": filepath.Join(dir, "none", "s"),
		"stale socket": stale, "file": file, "under a file": filepath.Join(file, "s"),
	} {
		err := (&Client{Socket: socket}).Reload(t.Context())
		if !errors.Is(err, token.ErrNoDaemon) || !strings.Contains(err.Error(), socket) {
			t.Errorf("%s: got %v, want ErrNoDaemon naming %s", name, err, socket)
		}
	}
}

func TestPathsThatNoSocketCanHave(t *testing.T) {
	for name, socket := range map[string]string{
		"relative": "tokend.sock", "abstract": "@tokend", "empty": "", "long": "/" + strings.Repeat("x", maxPath),
	} {
		if err := (&Client{Socket: socket}).Reload(t.Context()); !errors.Is(err, token.ErrInvalid) {
			t.Errorf("%s: client got %v, want ErrInvalid", name, err)
		}
	}
}

func TestClientGivesUpWithItsContext(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket) // accepts nothing, as a daemon that hangs
	Must(t, err)
	defer func() { _ = l.Close() }()
	c := &Client{Socket: socket}

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	for name, c := range map[string]*Client{"a context's": c, "its own": {Socket: socket, Deadline: time.Now().Add(20 * time.Millisecond)}} {
		if err := c.Reload(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("at %s deadline: %v", name, err)
		}
	}
	ctx, cancel = context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	if err := c.Reload(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := c.Reload(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before: %v", err)
	}
}

// A queue that is full for a while is not an absent daemon.
func TestClientWaitsForRoomInTheQueue(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	Must(t, err)
	f := os.NewFile(uintptr(fd), "listener")
	defer func() { _ = f.Close() }()
	Must(t, errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: socket}), unix.Listen(fd, 0)))
	l, err := net.FileListener(f)
	Must(t, err)
	defer func() { _ = l.Close() }()
	for range 2 { // fill it; what does not fit fails here or waits elsewhere
		if conn, err := net.DialTimeout("unix", socket, 10*time.Millisecond); err == nil {
			defer func() { _ = conn.Close() }()
		}
	}
	full := &Client{Socket: socket, Deadline: time.Now().Add(50 * time.Millisecond)}
	if err := full.Reload(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with the queue full: %v", err)
	}
	go AnswerAll(l, ok("{}"))
	if err := (&Client{Socket: socket}).Reload(t.Context()); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

func TestClientSendsNoBadNameAndNoOversizedBody(t *testing.T) {
	c := &Client{Socket: filepath.Join(t.TempDir(), "none")} // ErrNoDaemon would tell that it tried
	_, get := c.Get(t.Context(), "a/..", token.Query{})
	_, profile := c.Profile(t.Context(), "a\r\nX: y")
	_, rotate := c.Rotate(t.Context(), token.CreateProfile{})
	_, large := c.Add(t.Context(), token.CreateProfile{Name: "a", Secrets: map[string]token.Secret{"k": token.NewSecret(strings.Repeat("x", MaxBody))}})
	_, signName := c.Sign(t.Context(), "a/b", token.Request{URL: "https://x"})
	_, signNothing := c.Sign(t.Context(), "a", token.Request{})
	_, signBytes := c.Sign(t.Context(), "a", token.Request{URL: "https://x/\xff"})
	_, verifyName := c.Verify(t.Context(), "", token.Presented{Token: token.NewSecret("x")})
	_, verifyNothing := c.Verify(t.Context(), "a", token.Presented{Token: token.Secret{}, Remote: true})
	_, verifyBytes := c.Verify(t.Context(), "a", token.Presented{Token: token.NewSecret("\xff")})
	for name, err := range map[string]error{
		"Sign": signName, "Sign nothing": signNothing, "Sign what is not UTF-8": signBytes,
		"Verify": verifyName, "Verify nothing": verifyNothing, "Verify what is not UTF-8": verifyBytes,
		"Get": get, "Profile": profile, "Rotate": rotate, "Remove": c.Remove(t.Context(), "a\x00"),
		"Invalidate": c.Invalidate(t.Context(), "", token.Secret{}), "large Add": large,
	} {
		if !errors.Is(err, token.ErrInvalid) {
			t.Errorf("%s: got %v, want ErrInvalid", name, err)
		}
	}
}

func FuzzReadAnswer(f *testing.F) {
	f.Add([]byte(ok(`{"access_token":"abc","token_type":"Bearer","expires_at":"2026-11-23T13:00:00Z"}`)))
	f.Add([]byte("HTTP/1.1 404 Not Found\r\ncontent-length: 52\r\n\r\n" + `{"error":{"code":"not_found","message":"no profile"}}`))
	f.Add([]byte("HTTP/1.1 200 OK\nContent-Length:0\n\n"))
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx"))
	c := &Client{Socket: "/s"}
	f.Fuzz(func(t *testing.T, raw []byte) {
		a, err := c.begin(t.Context(), recording{bytes.NewReader(raw)}, nil)
		if err != nil {
			return
		}
		body, err := a.body(t.Context())
		if a.status < 200 || a.status > 999 || len(body) > MaxAnswer || len(body) > len(raw) {
			t.Fatalf("status %d and %d bytes out of %d", a.status, len(body), len(raw))
		}
		if (a.status/100 == 2) == (err != nil) && len(body) > 0 {
			t.Fatalf("status %d and %v", a.status, err)
		}
	})
}

// A stream of events, as the client reads it, ends, and is not taken for whole
// where it is not.
func FuzzWatch(f *testing.F) {
	const head = "HTTP/1.0 200 OK\r\n\r\n"
	f.Add([]byte(head + "\n{\"event\":\"stopping\"}\n"))
	f.Add([]byte(head + "{\"event\":\"obtained\"}\n"))
	f.Add([]byte(head + "{\n{}"))
	f.Add([]byte("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\n{}"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		a, err := (&Client{Socket: "/s"}).begin(t.Context(), recording{bytes.NewReader(raw)}, nil)
		if err != nil || a.status/100 != 2 {
			return
		}
		w := &stream{answer: a}
		for n := 0; ; n++ {
			_, err := w.Next(t.Context())
			switch {
			case err == nil && n > len(raw):
				t.Fatalf("%d events in %d bytes", n, len(raw))
			case errors.Is(err, io.EOF) && !bytes.Contains(raw, []byte("stopping")) && !bytes.Contains(raw, []byte("\\u")):
				t.Fatalf("it was taken for whole: %q", raw)
			case err != nil:
				return
			}
		}
	})
}

// recording is a connection on which everything has been said.
type recording struct{ io.Reader }

func (recording) Write(b []byte) (int, error) { return len(b), nil }
func (recording) Close() error                { return nil }
func (recording) interrupt()                  {}
func (recording) timeout(time.Duration)       {}
