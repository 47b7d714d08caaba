//go:build linux

package ipcserver

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tokend/ipc"
	"tokend/providers/token"
)

const plainRequest = "GET /v1/token/clms HTTP/1.1\r\nHost: tokend\r\n\r\n"

// plainRequests are what the clients of docs/ say, to their last byte.
var plainRequests = map[string]string{
	"tokenctl": "GET /v1/token/clms HTTP/1.1\r\nHost: tokend\r\nConnection: close\r\nAccept: application/json\r\n\r\n",
	"tokenctl, early": "GET /v1/token/clms HTTP/1.1\r\nHost: tokend\r\nConnection: close\r\nAccept: application/json\r\n" +
		"Cache-Control: only-if-cached\r\n\r\n",
	"a helper": "GET /v1/token?url=https%3A%2F%2Fclms.example HTTP/1.1\r\nHost: tokend\r\nConnection: close\r\nAccept: application/json\r\n\r\n",
	"curl":     "GET /v1/token/clms?min_ttl=5m HTTP/1.1\r\nHost: tokend\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n\r\n",
	"Python":   "GET /v1/token/clms HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: identity\r\n\r\n",
	"Go":       "GET /v1/token/clms HTTP/1.1\r\nHost: tokend\r\nUser-Agent: Go-http-client/1.1\r\nAccept-Encoding: gzip\r\n\r\n",
	"Node":     "GET /v1/token/clms HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n",
}

// What the shortcut answers net/http would have answered, byte for byte.
func TestTheShortcutAnswersAsTheHandlerDoes(t *testing.T) {
	b := newBook()
	later := time.Now().Add(99 * 365 * 24 * time.Hour).Truncate(time.Second)
	b.tokens["clms"] = token.Token{Secret: token.NewSecret("tok-1"), Type: "Bearer", Scope: "a b", Issued: noon, Expiry: later, RenewAt: later}
	b.present = "basic:me"
	counts := &Counts{}
	s := start(t, b, Options{Counts: counts})
	changes := regexp.MustCompile(`(Date: |"expires_in":)[^\r,]*`)
	for name, request := range plainRequests {
		t.Run(name, func(t *testing.T) {
			before := b.atHand.Load()
			quick := changes.ReplaceAllString(s.whole(t, request), "$1")
			if b.atHand.Load() != before+1 {
				t.Fatal("net/http answered it")
			}
			other := strings.Replace(request, "Host: ", "X-Other: field\r\nHost: ", 1)
			if _, plain := parsePlain([]byte(other)); plain {
				t.Fatal("net/http does not answer it")
			}
			slow := changes.ReplaceAllString(s.whole(t, other), "$1")
			if quick != slow || !strings.Contains(quick, `"access_token":"tok-1"`) {
				t.Errorf("the shortcut answered\n%s\nnet/http\n%s", quick, slow)
			}
		})
	}
	counts.All(func(do, result string, n uint64) {
		if do != "get" || result != "ok" || n != 2*uint64(len(plainRequests)) {
			t.Errorf("counted %d times: %s %s", n, do, result)
		}
	})
}

// whole is all that is answered to a request whose sender says no more.
func (s *running) whole(t *testing.T, request string) string {
	t.Helper()
	conn := s.dial(t)
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return string(answer)
}

func TestWhatIsNoPlainGet(t *testing.T) {
	with := func(line string) string { return strings.Replace(plainRequest, "Host: tokend\r\n", line+"\r\n", 1) }
	for _, request := range []string{
		"",
		plainRequest[:len(plainRequest)-1],
		plainRequest + plainRequest,
		plainRequest + " ",
		strings.Replace(plainRequest, "GET", "POST", 1),
		strings.Replace(plainRequest, "GET", "get", 1),
		strings.Replace(plainRequest, "1.1", "1.0", 1),
		strings.Replace(plainRequest, "/clms", "", 1),
		strings.Replace(plainRequest, "/clms", "/", 1),
		strings.Replace(plainRequest, "/clms", "/clms/invalidate", 1),
		strings.Replace(plainRequest, "/clms", "/cl%6ds", 1),
		strings.Replace(plainRequest, "/clms", "/clms#x", 1),
		strings.Replace(plainRequest, "/clms", "/clms?", 1),
		strings.Replace(plainRequest, "/clms", "/clms?fresh=maybe", 1),
		strings.Replace(plainRequest, "/clms", "/clms?fresh=true&fresh=true", 1),
		strings.Replace(plainRequest, "/clms", "/clms?trace=true", 1),
		strings.Replace(plainRequest, "/clms", "/clms?scope=a#b", 1),
		strings.Replace(plainRequest, "/clms", "/clms?scope=a;b", 1),
		strings.Replace(plainRequest, "/clms", "?scope=a", 1),
		strings.Replace(plainRequest, "/clms", "s?url=https://x.example", 1),
		strings.Replace(plainRequest, "clms", strings.Repeat("x", ipc.MaxName+1), 1),
		strings.ReplaceAll(plainRequest, "\r\n", "\n"),
		with("X: y"),
		with("Host:"),
		with("Host: "),
		with("Host: a b"),
		with("Host : tokend"),
		with(" Host: tokend"),
		with("host: tokend"),
		with("Host: a\r\nHost: b"),
		with("Host: a\r\nOrigin: https://evil.example"),
		with("Host: a\r\nContent-Length: 0"),
		with("Host: a\r\nTransfer-Encoding: chunked"),
		with("Host: a\r\nExpect: 100-continue"),
		with("Host: a\r\nAccept: text/plain"),
		with("Host: a\r\nAccept: application/json\r\nAccept: text/plain"),
		with("Host: a\r\nConnection: upgrade"),
		with("Host: a\r\nConnection: Close"),
		with("Host: a\r\nUser-Agent: a\tb"),
		with("Host: a\r\nCache-Control: no-cache"),
		with("Host: a\r\n folded"),
	} {
		if get, ok := parsePlain([]byte(request)); ok {
			t.Errorf("%q is taken for a plain get: %+v", request, get)
		}
	}
}

// A connection goes through the shortcut as long as its requests are plain, and
// then net/http serves it; however they are cut and joined.
func TestConnectionsPassFromTheShortcutToTheServer(t *testing.T) {
	b := newBook()
	s := start(t, b, Options{})
	conn := s.dial(t)
	hears := bufio.NewReader(conn)
	answered := func(atHand int32) {
		t.Helper()
		answer, err := http.ReadResponse(hears, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		if err != nil || answer.StatusCode != http.StatusOK || answer.Close || len(body) == 0 {
			t.Errorf("%v, %s %s", err, answer.Status, body)
		}
		if got := b.atHand.Load(); got != atHand {
			t.Errorf("the shortcut answered %d times, want %d", got, atHand)
		}
	}
	for n := range int32(3) {
		_, _ = io.WriteString(conn, plainRequest)
		answered(n + 1)
	}
	_, _ = io.WriteString(conn, plainRequest[:20]) // net/http waits for the rest
	_, _ = io.WriteString(conn, plainRequest[20:]+plainRequest)
	answered(3)
	answered(3)
	_, _ = io.WriteString(conn, statusRequest)
	answered(3)
}

// Who may not ask is told so by net/http, and told of once.
func TestTheShortcutRefusesNobodyByItself(t *testing.T) {
	b := newBook()
	var told []Event
	s := start(t, b, Options{
		Allow: func(ipc.Peer) error { return &token.Error{Code: token.ErrDenied, Message: "not you"} },
		Audit: func(e Event) { told = append(told, e) },
	})
	answer, body := s.say(t, plainRequest)
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	if answer.StatusCode != http.StatusForbidden || !strings.Contains(body, "not you") || b.atHand.Load() != 0 {
		t.Errorf("%s %s", answer.Status, body)
	}
	if len(told) != 1 || told[0].Do != "connect" || told[0].Code != token.ErrDenied {
		t.Errorf("told of %+v", told)
	}
}

// Who wants a token only if it is at hand is told at once that it is not. That
// is no refusal: nothing is told of it.
func TestOnlyIfCached(t *testing.T) {
	b := &emptyHanded{newBook()}
	counts := &Counts{}
	s := start(t, b, Options{Counts: counts, Audit: func(e Event) { t.Errorf("told of %+v", e) }})
	for _, field := range []string{"", "X-Other: 1\r\n"} {
		for _, path := range []string{"/v1/token/clms", "/v1/token/none", "/v1/token?url=https://clms.example"} {
			answer, body := s.say(t, "GET "+path+" HTTP/1.1\r\nHost: x\r\n"+field+"Cache-Control: only-if-cached\r\n\r\n")
			if answer.StatusCode != http.StatusGatewayTimeout || !strings.Contains(body, `"code":"unavailable"`) || len(b.queries) > 0 {
				t.Errorf("%s: %s %s", path, answer.Status, body)
			}
		}
	}
	counts.All(func(do, result string, n uint64) { t.Errorf("counted %d times: %s %s", n, do, result) })
}

// What is not at hand is obtained, and the connection goes on.
func TestWhatIsNotAtHandIsObtained(t *testing.T) {
	b := &emptyHanded{newBook()}
	var told []Event
	s := start(t, b, Options{Audit: func(e Event) { told = append(told, e) }})
	conn := s.dial(t)
	for range 2 {
		_, _ = io.WriteString(conn, plainRequest)
		if answer, body := hear(t, conn); answer.StatusCode != http.StatusOK || !strings.Contains(body, "tok-1") {
			t.Errorf("%s %s", answer.Status, body)
		}
	}
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	if len(told) != 2 || told[0].Do != "get" || told[0].Code != "" {
		t.Errorf("told of %+v", told)
	}
}

type emptyHanded struct{ *book }

func (emptyHanded) AtHand(context.Context, string, token.Query) (token.Grant, bool) {
	return token.Grant{}, false
}

// An answer that takes long, of a disk that the audit log waits for, keeps
// nobody else waiting.
func TestAHeldUpAnswerHoldsNobodyUp(t *testing.T) {
	var told atomic.Bool
	begun, finish := make(chan struct{}), make(chan struct{})
	s := start(t, newBook(), Options{Audit: func(Event) {
		if told.CompareAndSwap(false, true) {
			close(begun)
			<-finish
		}
	}})
	held := s.dial(t)
	_, _ = io.WriteString(held, plainRequest)
	<-begun
	for range 3 {
		if _, err := s.client.Get(t.Context(), "clms", token.Query{}); err != nil {
			t.Error(err)
		}
	}
	close(finish)
	if answer, body := hear(t, held); answer.StatusCode != http.StatusOK {
		t.Errorf("%s %s", answer.Status, body)
	}
	_, _ = io.WriteString(held, plainRequest)
	if answer, body := hear(t, held); answer.StatusCode != http.StatusOK {
		t.Errorf("after that: %s %s", answer.Status, body)
	}
}

// Who is stuck in an answer is relieved, and nobody else gets stuck meanwhile.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reliefs := 0
		turns := turns{relieve: func() { reliefs++ }}
		begin := func(want bool) {
			t.Helper()
			synctest.Wait()
			if turns.begin() != want {
				t.Fatalf("a turn: %t, want %t", !want, want)
			}
		}
		end := func(want bool) {
			t.Helper()
			synctest.Wait()
			if turns.end() != want {
				t.Fatalf("accepts connections after the turn: %t, want %t", !want, want)
			}
		}
		for range 100 { // none takes long, all together do
			begin(true)
			time.Sleep(slowTurn)
			end(true)
		}

		begin(true)
		time.Sleep(2 * heldUp)
		for range 3 {
			begin(false)
			time.Sleep(heldUp)
		}
		if reliefs != 1 {
			t.Errorf("%d reliefs of one turn", reliefs)
		}
		end(false)

		begin(true)
		time.Sleep(slowTurn + 1)
		end(true)
		begin(false)
		time.Sleep(heldUp)
		begin(true)
		end(true)

		time.Sleep(time.Hour)
		synctest.Wait()
		if turns.watched || reliefs != 1 {
			t.Errorf("still watched (%t), %d reliefs", turns.watched, reliefs)
		}
	})
}

// A first answer that may not fit into the socket's buffer has a deadline.
func TestALongFirstAnswerHasADeadline(t *testing.T) {
	for size, want := range map[int]bool{100: false, 64 << 10: true} {
		b := newBook()
		b.tokens["clms"] = token.Token{Secret: token.NewSecret(strings.Repeat("x", size)), Issued: noon, Expiry: noon.Add(time.Hour)}
		conn := &timed{}
		s := &shortcut{h: newHandler(quiet{b}, Options{}), requests: t.Context(), kept: map[*limitedConn]struct{}{},
			silent: &silentConns{conns: map[net.Conn]struct{}{}}}
		c := &limitedConn{Conn: conn, caller: caller{peer: ipc.Peer{UID: os.Getuid()}, program: func() string { return "test" }}}
		sheet := new(sheet)
		if !s.reply(c, sheet, copy(sheet.in[:], plainRequest)) || conn.written < size {
			t.Fatalf("%d bytes of an answer of %d", conn.written, size)
		}
		if conn.deadline != want {
			t.Errorf("a token of %d bytes: a deadline: %t", size, conn.deadline)
		}
	}
}

// A timed connection knows whether its last write had a deadline.
type timed struct {
	net.Conn
	written  int
	deadline bool
}

func (t *timed) Write(b []byte) (int, error) { t.written += len(b); return len(b), nil }

func (t *timed) SetWriteDeadline(time.Time) error { t.deadline = t.written == 0; return nil }

// The time for a request is no time for its answer.
func TestAGrantMayTakeLongerThanItsRequest(t *testing.T) {
	t.Parallel()
	s := start(t, newBook(), Options{Audit: func(Event) { time.Sleep(headTimeout + time.Second) }})
	if answer := s.whole(t, plainRequest); !strings.HasPrefix(answer, "HTTP/1.1 200 ") {
		t.Errorf("heard %q", answer)
	}
}

func TestAPanicInTheShortcutIsThatCallersAlone(t *testing.T) {
	b := &explosive{newBook()}
	s := start(t, b, Options{})
	conn := s.dial(t)
	_, _ = io.WriteString(conn, plainRequest)
	if rest, err := io.ReadAll(conn); len(rest) > 0 {
		t.Errorf("heard %q, %v", rest, err)
	}
	if _, err := s.client.Status(t.Context()); err != nil {
		t.Errorf("another caller: %v", err)
	}
	if text := s.log.String(); !strings.Contains(text, "panic while answering") || !strings.Contains(text, "shortcut_test.go") || strings.Contains(text, canary) {
		t.Errorf("the log does not say where, or says too much: %s", text)
	}
}

type explosive struct{ *book }

func (explosive) AtHand(context.Context, string, token.Query) (token.Grant, bool) {
	panic("boom " + canary)
}

// When the server is to end, who waits between two requests is let go, and who
// was let in but has not spoken is answered, for the last time.
func TestTheShortcutEnds(t *testing.T) {
	s := start(t, newBook(), Options{})
	kept, silent := s.dial(t), s.dial(t)
	_, _ = io.WriteString(kept, plainRequest)
	_, _ = hear(t, kept)
	s.promptly(t) // by now silent was let in
	stopped := make(chan error, 1)
	go func() { stopped <- s.stop() }()
	s.untilDeaf()
	_, _ = io.WriteString(silent, plainRequest)
	if answer, body := hear(t, silent); answer.StatusCode != http.StatusOK || !answer.Close {
		t.Errorf("%s %s, close %t", answer.Status, body, answer.Close)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if rest, err := io.ReadAll(kept); len(rest) > 0 || err != nil {
		t.Errorf("heard %q, %v", rest, err)
	}
}

// untilDeaf returns when nobody new is let in.
func (s *running) untilDeaf() {
	for {
		conn, err := net.Dial("unix", s.socket)
		if err != nil {
			return
		}
		_ = conn.Close()
	}
}

// Restarts lose no call, as long as somebody holds the socket: not of who was just
// let in, not of who is just handed over, not beside somebody who says nothing.
func TestRestartsLoseNoCall(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	inner, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	inner.SetUnlinkOnClose(false)
	held, err := inner.File()
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	_ = inner.Close()
	serve := func(ctx context.Context, b Backend) {
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

	var callers sync.WaitGroup
	last := make(chan struct{}) // closed when nobody needs to ask again
	for _, request := range []string{plainRequest, plainRequest, plainRequest, statusRequest, statusRequest, ""} {
		callers.Go(func() {
			for {
				conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.WriteString(conn, request)
				_ = conn.CloseWrite()
				if answer, err := io.ReadAll(conn); request != "" && !strings.HasPrefix(string(answer), "HTTP/1.1 200 ") {
					t.Errorf("heard %q, %v", answer, err)
				}
				_ = conn.Close()
				select {
				case <-last:
					return
				default:
				}
			}
		})
	}
	for n := range int32(50) {
		ctx, stop := context.WithCancel(t.Context())
		serve(ctx, &restless{book: newBook(), calls: n, stop: stop})
	}
	close(last)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); serve(ctx, newBook()) }()
	callers.Wait()
	stop()
	<-ended
}

// A restless backend stops the server during one of its calls, which net/http
// serves while others are let in. It has every other token at hand.
type restless struct {
	*book
	calls int32
	n     atomic.Int32
	stop  func()
}

func (r *restless) AtHand(ctx context.Context, name string, q token.Query) (token.Grant, bool) {
	if r.n.Add(1)%2 == 0 {
		return token.Grant{}, false
	}
	return r.book.AtHand(ctx, name, q)
}

func (r *restless) Get(ctx context.Context, name string, q token.Query) (token.Grant, error) {
	if r.n.Load() > r.calls {
		r.stop()
	}
	return r.book.Get(ctx, name, q)
}

// A kept connection's request that turns out to be for net/http when the server
// is to end is answered all the same.
func TestWhatIsHandedOverAtTheEndIsAnswered(t *testing.T) {
	for range 20 { // net/http drops what it reads in the wrong moment
		b := &hesitant{book: newBook(), asked: make(chan struct{}), say: make(chan struct{})}
		s := start(t, b, Options{})
		conn := s.dial(t)
		_, _ = io.WriteString(conn, plainRequest)
		_, _ = hear(t, conn)
		_, _ = io.WriteString(conn, plainRequest)
		<-b.asked
		stopped := make(chan error, 1)
		go func() { stopped <- s.stop() }()
		s.untilDeaf()
		close(b.say)
		if answer, body := hear(t, conn); answer.StatusCode != http.StatusOK {
			t.Errorf("%s %s", answer.Status, body)
		}
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	}
}

// A hesitant backend has the first token at hand, and takes its time to say that
// it has not the second.
type hesitant struct {
	*book
	asked, say chan struct{}
}

func (h *hesitant) AtHand(ctx context.Context, name string, q token.Query) (token.Grant, bool) {
	if h.atHand.Load() == 0 {
		return h.book.AtHand(ctx, name, q)
	}
	close(h.asked)
	<-h.say
	return token.Grant{}, false
}

// Who has spoken is not closed with the silent ones.
func TestAGrantUnderWayMayFinish(t *testing.T) {
	t.Parallel()
	begun := make(chan struct{})
	s := start(t, newBook(), Options{Audit: func(Event) { close(begun); time.Sleep(2 * lastWord) }})
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

// endsBeside stops the server, and checks that this does not take as long as the
// caller on conn, who does not read, would have it.
func (s *running) endsBeside(t *testing.T, conn net.Conn) {
	t.Helper()
	stopped := make(chan error, 1)
	go func() { stopped <- s.stop() }()
	select {
	case err := <-stopped:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(2 * writeTimeout):
		t.Error("it does not end")
		_ = conn.Close()
	}
}

func TestACallerThatDoesNotReadHoldsUpNoEnd(t *testing.T) {
	t.Parallel()
	b := newBook()
	large := b.tokens["clms"]
	large.Secret = token.NewSecret(strings.Repeat("x", 1<<20)) // does not fit into the socket's buffer
	b.tokens["clms"] = large
	granted := make(chan struct{}, 2)
	s := start(t, b, Options{Audit: func(Event) { granted <- struct{}{} }})
	conn := s.dial(t)
	_, _ = io.WriteString(conn, plainRequest)
	_, _ = hear(t, conn)
	_, _ = io.WriteString(conn, plainRequest)
	<-granted
	<-granted
	s.endsBeside(t, conn)
}

// The token does not stay where it was written.
func TestSheetsAreWiped(t *testing.T) {
	sheet := new(sheet)
	g := token.Grant{Profile: "clms", Token: token.Token{Secret: token.NewSecret(canary), Expiry: noon}}
	if answer := sheet.answer(g, noon, false); !bytes.Contains(answer, []byte(canary)) {
		t.Fatalf("%s", answer)
	}
	sheet.wipe()
	if all := append(sheet.body[:cap(sheet.body)], sheet.out[:cap(sheet.out)]...); bytes.Contains(all, []byte(canary)) {
		t.Errorf("%q", all)
	}
}

// What is taken for a plain get net/http takes for the same, whole.
func FuzzParsePlain(f *testing.F) {
	for _, request := range plainRequests {
		f.Add([]byte(request))
	}
	f.Add([]byte("GET /v1/token/a?url=https://x.example:8443/a%20b&scope=a+b&audience=%61 HTTP/1.1\r\nHost: a:1\r\nAccept: */*\r\nUser-Agent: x y\r\n\r\n"))
	f.Add([]byte("GET /v1/token/..?min_ttl=300 HTTP/1.1\r\nHost: ..\r\nConnection: close\r\nConnection: keep-alive\r\n\r\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		get, ok := parsePlain(raw)
		if !ok {
			return
		}
		in := bufio.NewReader(bytes.NewReader(raw))
		r, err := http.ReadRequest(in)
		if err != nil {
			t.Fatalf("%q: net/http: %v", raw, err)
		}
		path := strings.TrimSuffix(ipc.TokenPath+get.profile, "/")
		q, err := ipc.DecodeQuery(r.URL.RawQuery)
		if r.Method != "GET" || r.URL.EscapedPath() != path || r.Host == "" || err != nil || fmt.Sprint(q) != fmt.Sprint(get.query) {
			t.Errorf("%q: %+v, net/http: %s %s at %q, %v", raw, get, r.Method, r.URL, r.Host, err)
		}
		if get.profile != "" && ipc.CheckName(get.profile) != nil || get.profile == "" && get.query.URL == "" || get.query.Trace != nil {
			t.Errorf("%q: %+v is not for the shortcut to answer", raw, get)
		}
		if r.Close != get.last || r.ContentLength != 0 || r.TransferEncoding != nil || in.Buffered() > 0 {
			t.Errorf("%q: close %t, %d bytes of body, %d left", raw, r.Close, r.ContentLength, in.Buffered())
		}
		for field := range r.Header {
			if !strings.Contains("Accept Accept-Encoding Cache-Control Connection User-Agent", field) {
				t.Errorf("%q has a %s", raw, field)
			}
		}
		if wantsText(r) {
			t.Errorf("%q asks for text", raw)
		}
	})
}
