//go:build linux

package ipcserver

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tokend/ipc"
	. "tokend/providers/fixturetest"
	"tokend/providers/token"
)

// canary must be found in no answer and no log.
const canary = "c4nary-s3cret"

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// A memory is a Backend that remembers what it was asked.
type memory struct {
	Backend   // whose other methods no test calls
	mu        sync.Mutex
	tokens    map[string]token.Token
	additions []token.CreateProfile
	queries   []token.Query
	callers   []ipc.Peer
	dropped   []token.Secret
	asker     token.Asker
	remote    []bool // of each Verify
	present   token.Presentation
	feed      *feed
	watched   []string
	fail      error // the answer to everything, if set
	admit     error // the answer to everything with a body
	reload    func(context.Context) error
}

func newMemory() *memory {
	return &memory{
		tokens: map[string]token.Token{"clms": {Secret: token.NewSecret("tok-1"), Type: "Bearer", Scope: "a b",
			Issued: noon, Expiry: noon.Add(time.Hour), RenewAt: noon.Add(45 * time.Minute)}},
		reload: func(context.Context) error { return nil },
	}
}

func (b *memory) find(name string) (token.Token, error) {
	if b.fail != nil {
		return token.Token{}, b.fail
	}
	t, ok := b.tokens[name]
	if !ok {
		return t, fmt.Errorf("%q: %w", name, token.ErrNotFound)
	}
	return t, nil
}

func (b *memory) Admit(context.Context, string, bool) error { return b.admit }

func (b *memory) Get(ctx context.Context, name string, q token.Query) (token.Grant, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.queries = append(b.queries, q)
	if p, _, ok := Caller(ctx); ok {
		b.callers = append(b.callers, p)
	}
	g := token.Grant{Profile: name, Present: b.present}
	if name == "" {
		g.Profile, g.Host = "clms", "https://clms.example"
	}
	var err error
	g.Token, err = b.find(g.Profile)
	return g, err
}

func (b *memory) Exchange(_ context.Context, name, registry string) (token.Secret, error) {
	_, err := b.find(name)
	return token.NewSecret("refresh-" + registry), err
}

func (b *memory) Invalidate(ctx context.Context, name string, t token.Secret) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dropped, b.asker = append(b.dropped, t), token.AskerOf(ctx)
	if name == "" {
		return nil
	}
	_, err := b.find(name)
	return err
}

func (b *memory) profile(name string) token.ProfileStatus {
	return token.ProfileStatus{Name: name, Provider: "clms", File: name + ".toml",
		Settings: map[string]any{"lifetime": json.Number("3600"), "tables": map[string]any{"x": []any{json.Number("1"), "y"}}},
		Does:     "mints", Hosts: []string{"https://api.example"},
		Pending: &token.PendingCredential{ID: "20261123-1", Stored: noon, Settings: map[string]any{"bits": json.Number("2048"), "public_key": "-----BEGIN"}},
		Tokens:  []token.TokenStatus{{Target: token.Target{Scope: "a"}, State: "fresh", Issued: noon, Expiry: noon.Add(time.Hour)}}}
}

func (b *memory) Profile(_ context.Context, name string) (token.ProfileStatus, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, err := b.find(name); err != nil {
		return token.ProfileStatus{}, err
	}
	return b.profile(name), nil
}

func (b *memory) Status(context.Context) (token.Status, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := token.Status{Version: "1.2.3", PID: 7, Started: noon, State: "ok", Keystore: "os: ok", Cache: "ok", Profiles: []token.ProfileStatus{}}
	for name := range maps.Keys(b.tokens) {
		s.Profiles = append(s.Profiles, b.profile(name))
	}
	return s, b.fail
}

func (b *memory) Providers(context.Context) ([]token.Provider, error) {
	return []token.Provider{{Name: "clms", Doc: "Copernicus", Fields: []token.Field{{Name: "key", Doc: "the key", Required: true, Secret: true}}}}, b.fail
}

func (b *memory) keep(a token.CreateProfile) (token.Created, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail != nil {
		return token.Created{}, b.fail
	}
	b.additions = append(b.additions, a)
	return token.Created{Profile: b.profile(a.Name), Kept: []string{"key: OS keyring"}, Checked: true, Took: time.Second}, nil
}

func (b *memory) Add(_ context.Context, a token.CreateProfile) (token.Created, error) {
	return b.keep(a)
}
func (b *memory) Rotate(_ context.Context, a token.CreateProfile) (token.Created, error) {
	return b.keep(a)
}

func (b *memory) Remove(_ context.Context, name string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, err := b.find(name)
	delete(b.tokens, name)
	return err
}

func (b *memory) Rename(_ context.Context, name, to string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	kept, err := b.find(name)
	if err == nil {
		delete(b.tokens, name)
		b.tokens[to] = kept
	}
	return err
}

// A request of "https://x/broken" is signed in a way that no header can carry.
func (b *memory) Sign(_ context.Context, name string, r token.Request) (token.Signed, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, err := b.find(name); err != nil {
		return token.Signed{}, err
	}
	value := "sig-1"
	if r.URL == "https://x/broken" {
		value = canary + "\r\nX: y"
	}
	return token.Signed{URL: r.URL + "&signed", Issued: noon, Warning: "the clock is off",
		Headers: []token.Header{{Name: "Signature", Value: token.NewSecret(value)}, {Name: "x-api-user", Value: token.NewSecret("me@example.com")}}}, nil
}

// verdicts are what Verify says of canned tokens.
var verdicts = map[string]token.Verdict{
	"good":    {Valid: true, Claims: map[string]any{"sub": "group:x", "iss": "https://ds.example", "exp": json.Number("1795435200"), "roles": []any{"a"}}},
	"odd":     {Valid: true, Claims: map[string]any{"sub": "a\r\nX-Evil: 1", "iss": strings.Repeat("i", 600), "aud": "é"}},
	"huge":    {Valid: true, Claims: map[string]any{"sub": "s", "x": strings.Repeat("x", 8<<10)}},
	"bare":    {Valid: true},
	"expired": {Reason: "expired", Message: "the token \"é\" expired\r\n", Claims: map[string]any{"sub": canary}},
	"other":   {Reason: "wrong_audience", Message: "the token is for dpp://other"},
}

func (b *memory) Verify(_ context.Context, name string, p token.Presented) (token.Verdict, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.remote = append(b.remote, p.Remote)
	if _, err := b.find(name); err != nil {
		return token.Verdict{}, err
	}
	v, ok := verdicts[p.Token.Reveal()]
	switch consent := p.Consent.Reveal(); {
	case ok && v.Valid && consent == "consented":
		v.Consent = map[string]any{"sub": "person", "app": "a1"}
		return v, nil
	case ok && v.Valid && consent == "long":
		v.Consent = map[string]any{"sub": strings.Repeat("x", maxConsent)}
		return v, nil
	case ok && v.Valid && consent != "":
		return token.Verdict{Reason: "bad_consent", Message: "the consent token is not valid"}, nil
	case ok:
		return v, nil
	}
	return token.Verdict{Reason: "malformed", Message: "the token is not a JWT"}, nil
}

func (b *memory) Keystore(context.Context) (token.KeystoreStatus, error) {
	return token.KeystoreStatus{
		KeystoreChoice: token.KeystoreChoice{Keystore: "sealed", KeyFile: "/etc/tokend/key"}, State: "ok", KeyID: "ab12", Since: noon,
		Leftovers: 3, Moving: &token.KeystoreMove{Doing: "copying", Done: 1, Total: 2},
	}, b.fail
}

func (b *memory) Doctor(context.Context) (token.Report, error) {
	return token.Report{Version: "1", Proxy: "http://p:1", Checks: []token.Check{{Name: "x", Result: "warn", Text: "y", Advice: "z"}}}, b.fail
}

func (b *memory) Unlock(context.Context) error { return b.fail }

func (b *memory) Migrate(_ context.Context, to token.KeystoreChoice) (token.Migrated, error) {
	return token.Migrated{Keystore: token.KeystoreStatus{KeystoreChoice: to, Since: noon}, Moved: 7, NewKey: true}, b.fail
}

func (b *memory) Reload(ctx context.Context) error { return errors.Join(b.fail, b.reload(ctx)) }

// A log can be written and read at the same time.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// A running is a server under test.
type running struct {
	socket string
	client *ipc.Client
	http   *http.Client
	log    *log
	stop   func() error // ends the server and says what Serve returned
}

func start(t testing.TB, b Backend, o Options) *running {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "tokend") // short, and others can reach it
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	Must(t, err)
	s := &running{socket: filepath.Join(dir, "s"), log: &log{}}
	l, err := Listen(s.socket)
	Must(t, err)
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, b, o) }()
	s.stop = sync.OnceValue(func() error { cancel(); return <-done })
	s.client = &ipc.Client{Socket: s.socket}
	s.http = &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", s.socket)
		},
	}}
	t.Cleanup(func() {
		s.http.CloseIdleConnections()
		if err := s.stop(); err != nil {
			t.Errorf("Serve: %v", err)
		}
		_ = os.RemoveAll(dir)
	})
	return s
}

// dial opens a connection that lasts as long as the test.
func (s *running) dial(t testing.TB) *net.UnixConn {
	t.Helper()
	conn, err := net.Dial("unix", s.socket)
	Must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn.(*net.UnixConn)
}

// say sends raw bytes on a connection of their own and returns the answer.
func (s *running) say(t testing.TB, raw string) (*http.Response, string) {
	t.Helper()
	conn := s.dial(t)
	go func() { _, _ = io.WriteString(conn, raw) }() // the server may not read it all
	return hear(t, conn)
}

func hear(t testing.TB, conn net.Conn) (*http.Response, string) {
	t.Helper()
	answer := hearHead(t, conn)
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatalf("reading the answer's body: %v", err)
	}
	return answer, string(body)
}

func hearHead(t testing.TB, conn net.Conn) *http.Response {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("reading the answer: %v", err)
	}
	return answer
}

func TestEveryMethodCrossesTheSocket(t *testing.T) {
	b := newMemory()
	s := start(t, b, Options{})
	ctx := t.Context()
	c := s.client

	q := token.Query{Target: token.Target{Scope: "x y", Audience: "api://z"}, MinTTL: 5 * time.Minute, Fresh: true}
	got, err := c.Get(ctx, "clms", q)
	if err != nil || !got.Secret.Equal(b.tokens["clms"].Secret) || !got.Expiry.Equal(noon.Add(time.Hour)) {
		t.Errorf("Get: %+v, %v", got, err)
	}
	if !reflect.DeepEqual(b.queries, []token.Query{q}) {
		t.Errorf("Get asked %+v, want %+v", b.queries, q)
	}
	groups, _ := os.Getgroups()
	if p := b.callers[0]; p.UID != os.Getuid() || p.PID != os.Getpid() || !slices.Contains(p.Groups, os.Getgid()) ||
		slices.ContainsFunc(groups, func(gid int) bool { return !slices.Contains(p.Groups, gid) }) {
		t.Errorf("Get saw the callers %+v", b.callers)
	}
	b.present = "basic:oauth2"
	byURL := token.Query{URL: "https://clms.example/a b?x=1&y"}
	if got, err := c.Get(ctx, "", byURL); err == nil || len(b.queries) != 1 {
		t.Errorf("Get for a URL with a space: %+v, %v", got, err)
	}
	byURL.URL = "https://clms.example/a%20b?x=1&y"
	if got, err := c.Get(ctx, "", byURL); err != nil || got.Profile != "clms" || got.Present != "basic:oauth2" || got.Host != "https://clms.example" {
		t.Errorf("Get by URL: %+v, %v", got, err)
	}
	if last := b.queries[len(b.queries)-1]; last != byURL {
		t.Errorf("Get asked %+v, want %+v", last, byURL)
	}
	if refresh, err := c.Exchange(ctx, "clms", "https://reg.example"); err != nil || refresh.Reveal() != "refresh-https://reg.example" {
		t.Errorf("Exchange: %v, %v", refresh.Reveal(), err)
	}
	if err := c.Invalidate(ctx, "", token.NewSecret("whose")); err != nil || b.dropped[0].Reveal() != "whose" {
		t.Errorf("Invalidate without a name: %v", err)
	}
	for by, want := range map[token.Asker]token.Asker{
		{}: {}, {Key: "4711.12 https://x/%20?y", Again: 2}: {Key: "4711.12 https://x/%20?y", Again: 2}, {Key: "x", Again: 1}: {Key: "x", Again: 1},
		{Key: "a\r\nX: y"}: {}, {Key: "ü"}: {}, {Key: strings.Repeat("x", maxAskerKey+1)}: {},
	} {
		if err := c.Invalidate(token.WithAsker(ctx, by), "", token.NewSecret("whose")); err != nil || b.asker != want {
			t.Errorf("%+v asks: %+v, %v", by, b.asker, err)
		}
	}
	for _, secret := range []token.Secret{{}, token.NewSecret("old")} {
		if err := c.Invalidate(ctx, "clms", secret); err != nil {
			t.Errorf("Invalidate: %v", err)
		}
		if last := b.dropped[len(b.dropped)-1]; !last.Equal(secret) {
			t.Errorf("Invalidate sent %q, want %q", last.Reveal(), secret.Reveal())
		}
	}
	a := token.CreateProfile{Name: "new", Provider: "clms", Settings: map[string]any{"n": int64(9007199254740993), "factor": 0.5, "on": true,
		"list": []any{"a", int64(1)}, "table": map[string]any{"n": int64(1)}},
		Secrets: map[string]token.Secret{"pem": token.NewSecret("-----BEGIN\n\"é"), "pfx": token.NewSecret("\x30\x82\xff\x00")}, CredentialExpires: noon}
	r := a
	r.Step = token.StepRegistered
	for name, call := range map[string]func() (token.Created, error){
		"Add": func() (token.Created, error) { return c.Add(ctx, a) }, "Rotate": func() (token.Created, error) { return c.Rotate(ctx, r) },
	} {
		a := map[string]token.CreateProfile{"Add": a, "Rotate": r}[name]
		added, err := call()
		if err != nil || !added.Checked || added.Took != time.Second || !reflect.DeepEqual(added.Profile, b.profile("new")) {
			t.Errorf("%s: %+v, %v", name, added, err)
		}
		if last := b.additions[len(b.additions)-1]; !reflect.DeepEqual(last, a) {
			t.Errorf("%s sent %+v, want %+v", name, last, a)
		}
	}
	signed, err := c.Sign(ctx, "clms", token.Request{URL: "https://x/é?a=<b>"})
	if want, _ := b.Sign(ctx, "clms", token.Request{URL: "https://x/é?a=<b>"}); err != nil || !reflect.DeepEqual(signed, want) {
		t.Errorf("Sign: %+v, %v", signed, err)
	}
	for raw, want := range verdicts {
		for _, remote := range []bool{false, true} {
			got, err := c.Verify(ctx, "clms", token.Presented{Token: token.NewSecret(raw), Remote: remote})
			if err != nil || !reflect.DeepEqual(got, want) || b.remote[len(b.remote)-1] != remote {
				t.Errorf("Verify %s: %+v, %v", raw, got, err)
			}
		}
	}
	if err := errors.Join(c.Reload(ctx), c.Unlock(ctx), c.Rename(ctx, "clms", "land"), c.Rename(ctx, "land", "clms")); err != nil {
		t.Errorf("Reload, Unlock, Rename: %v", err)
	}
	to := token.KeystoreChoice{Keystore: "sealed", KeyFile: "/k", Credential: "c", GroupRead: true}
	for name, ask := range map[string]func(reader) (any, error){
		"Profile":   func(b reader) (any, error) { return b.Profile(ctx, "clms") },
		"Status":    func(b reader) (any, error) { return b.Status(ctx) },
		"Providers": func(b reader) (any, error) { return b.Providers(ctx) },
		"Doctor":    func(b reader) (any, error) { return b.Doctor(ctx) },
		"Keystore":  func(b reader) (any, error) { return b.Keystore(ctx) },
		"Migrate":   func(b reader) (any, error) { return b.Migrate(ctx, to) },
	} {
		want, _ := ask(b)
		if got, err := ask(c); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if err := c.Remove(ctx, "clms"); err != nil {
		t.Errorf("Remove: %v", err)
	}
	if _, err := c.Get(ctx, "clms", token.Query{}); !errors.Is(err, token.ErrNotFound) || !strings.Contains(err.Error(), `"clms"`) {
		t.Errorf("Get after Remove: %v", err)
	}
}

// A reader is a Backend, or a client of it.
type reader interface {
	Profile(context.Context, string) (token.ProfileStatus, error)
	Status(context.Context) (token.Status, error)
	Providers(context.Context) ([]token.Provider, error)
	Doctor(context.Context) (token.Report, error)
	Keystore(context.Context) (token.KeystoreStatus, error)
	Migrate(context.Context, token.KeystoreChoice) (token.Migrated, error)
}

func TestErrorsKeepTheirIdentity(t *testing.T) {
	retry := noon.Add(time.Minute)
	for _, c := range []struct {
		name string
		err  error
		want token.Error
	}{
		{"full", &token.Error{Code: token.ErrRejected, Message: "wrong secret", OAuth: "invalid_client", Detail: "AADSTS7000215", Field: "client_secret", Topic: "x", RetryAt: retry, Cause: errors.New(canary)},
			token.Error{Code: token.ErrRejected, Message: "wrong secret", OAuth: "invalid_client", Detail: "AADSTS7000215", Field: "client_secret", Topic: "x", RetryAt: retry}},
		{"full, with words around", fmt.Errorf("adding: %w", &token.Error{Code: token.ErrExists, Message: "there is one"}),
			token.Error{Code: token.ErrExists, Message: "adding: there is one"}},
		{"code with words around", fmt.Errorf("%q: %w", "x", token.ErrLocked), token.Error{Code: token.ErrLocked, Message: `"x": keyring locked`}},
		{"several", errors.Join(fmt.Errorf("a.toml: %w", token.ErrInvalid), errors.New("b.toml: bad")), token.Error{Code: token.ErrInvalid, Message: "a.toml: invalid; b.toml: bad"}},
		{"without a code", errors.New(canary), token.Error{Code: token.ErrInternal, Message: "internal error"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newMemory()
			b.fail = c.err
			_, err := start(t, b, Options{}).client.Get(t.Context(), "clms", token.Query{})
			var e *token.Error
			if !errors.As(err, &e) || !reflect.DeepEqual(*e, c.want) {
				t.Errorf("got  %#v\nwant %#v", err, c.want)
			}
		})
	}
}

func TestPanicIsAnsweredAndLoggedWithoutDetail(t *testing.T) {
	b := newMemory()
	b.reload = func(context.Context) error { panic("boom " + canary) }
	s := start(t, b, Options{})
	err := s.client.Reload(t.Context())
	if !errors.Is(err, token.ErrInternal) || strings.Contains(err.Error(), canary) {
		t.Errorf("got %v", err)
	}
	if text := s.log.String(); !strings.Contains(text, "panic while answering") || !strings.Contains(text, "server_test.go") || strings.Contains(text, canary) {
		t.Errorf("the log does not say where, or says too much: %s", text)
	}
	b.reload = func(context.Context) error { _ = os.Args[len(os.Args)]; return nil }
	if err := s.client.Reload(t.Context()); !errors.Is(err, token.ErrInternal) {
		t.Errorf("got %v", err)
	}
	if text := s.log.String(); !strings.Contains(text, "index out of range") {
		t.Errorf("the log does not say what the runtime said: %s", text)
	}
	b.reload = func(context.Context) error { return nil }
	if err := s.client.Reload(t.Context()); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestStrictRequests(t *testing.T) {
	s := start(t, newMemory(), Options{})
	for _, c := range []struct {
		request string // line and header fields
		body    string
		status  int
		code    token.Code
		field   string
	}{
		{"GET /", "", 404, token.ErrNotFound, ""},
		{"GET /v1/token", "", 400, token.ErrInvalid, "url"},
		{"GET /v1/token/", "", 404, token.ErrNotFound, ""},
		{"GET /v1/token/a/b", "", 404, token.ErrNotFound, ""},
		{"GET /v1/token/clms/", "", 404, token.ErrNotFound, ""},
		{"GET /v1//token/clms", "", 404, token.ErrNotFound, ""},
		{"GET /v1/token/../status", "", 404, token.ErrNotFound, ""},
		{"GET /v1/token/..", "", 400, token.ErrInvalid, "name"},
		{"GET /V1/status", "", 404, token.ErrNotFound, ""},
		{"GET /v1/token/none", "", 404, token.ErrNotFound, ""},
		{"GET /v1/token/a%2Fb", "", 400, token.ErrInvalid, "name"},
		{"GET /v1/token/a%0Ab", "", 400, token.ErrInvalid, "name"},
		{"GET /v1/token/a%00b", "", 400, token.ErrInvalid, "name"},
		{"GET /v1/token/a%7Fb", "", 400, token.ErrInvalid, "name"},
		{"GET /v1/token/a%E2%80%A8b", "", 400, token.ErrInvalid, "name"},
		{"GET /v1/status?verbose=1", "", 400, token.ErrInvalid, "query"},
		{"POST /v1/token/clms", "", 405, token.ErrInvalid, "method"},
		{"GET /v1/token?fresh=true", "", 400, token.ErrInvalid, "url"},
		{"GET /v1/token?url=http://example.com/", "", 400, token.ErrInvalid, "url"},
		{"GET /v1/token?url=https://me@example.com/", "", 400, token.ErrInvalid, "url"},
		{"GET /v1/token?url=https://a.example/%252e%252e/b", "", 400, token.ErrInvalid, "url"},
		{"GET /v1/token?url=https://a.example&url=https://b.example", "", 400, token.ErrInvalid, "url"},
		{"POST /v1/token", "", 405, token.ErrInvalid, "method"},
		{"POST /v1/invalidate", "", 400, token.ErrInvalid, "access_token"},
		{"POST /v1/exchange/clms", `{"registry":"reg.example"}`, 400, token.ErrInvalid, "url"},
		{"POST /v1/exchange/none", `{"registry":"https://reg.example"}`, 404, token.ErrNotFound, ""},
		{"GET /v1/token/clms/invalidate", "", 405, token.ErrInvalid, "method"},
		{"PUT /v1/profiles/clms", "", 405, token.ErrInvalid, "method"},
		{"OPTIONS *", "", 404, token.ErrNotFound, ""},
		{"POST /v1/profiles", ``, 400, token.ErrInvalid, ""},
		{"POST /v1/profiles", `{}`, 400, token.ErrInvalid, "name"},
		{"POST /v1/profiles", `{"name":"a\nb"}`, 400, token.ErrInvalid, "name"},
		{"POST /v1/profiles", `{"name":"a","settings":` + strings.Repeat(`[`, 10_000), 400, token.ErrInvalid, "settings"},
		{"POST /v1/profiles", strings.Repeat(" ", ipc.MaxBody+1), 400, token.ErrInvalid, ""},
		{"POST /v1/profiles/clms/rotate", `{"name":"other"}`, 400, token.ErrInvalid, "name"},
		{"POST /v1/profiles", `{"name":"a","step":"registered"}`, 400, token.ErrInvalid, "step"},
		{"POST /v1/sign/clms", `{"url":"https://x/broken"}`, 500, token.ErrInternal, ""},
		{"POST /v1/sign/none", `{"url":"https://x"}`, 404, token.ErrNotFound, ""},
		{"POST /v1/sign/", `{"url":"https://x"}`, 404, token.ErrNotFound, ""},
		{"GET /v1/sign/clms", "", 405, token.ErrInvalid, "method"},
		{"POST /v1/verify/clms?remote=true", `{"token":"good"}`, 400, token.ErrInvalid, "query"},
		{"POST /v1/verify/none", `{"token":"good"}`, 404, token.ErrNotFound, ""},
		{"GET /v1/authorize/none HTTP/1.1\r\nX-API-Key: good", "", 404, token.ErrNotFound, ""},
		{"GET /v1/authorize/a%2Fb HTTP/1.1\r\nX-API-Key: good", "", 400, token.ErrInvalid, "name"},
		{"GET /v1/authorize/clms?x=1 HTTP/1.1\r\nX-API-Key: good", "", 400, token.ErrInvalid, "query"},
		{"POST /v1/authorize/clms HTTP/1.1\r\nX-API-Key: good", "", 405, token.ErrInvalid, "method"},
		{"GET /v1/authorize/clms HTTP/1.1\r\nX-API-Key: good\r\nOrigin: http://evil.example", "", 500, token.ErrDenied, ""},
		{"GET /v1/status HTTP/1.1\r\nOrigin: http://evil.example", "", 403, token.ErrDenied, ""},
	} {
		line, fields, _ := strings.Cut(c.request, " HTTP/1.1\r\n")
		if fields != "" {
			fields += "\r\n"
		}
		answer, body := s.say(t, fmt.Sprintf("%s HTTP/1.1\r\nHost: any.example\r\n%sContent-Length: %d\r\n\r\n%s", line, fields, len(c.body), c.body))
		if answer.StatusCode != c.status {
			t.Errorf("%s: status %d, want %d", c.request, answer.StatusCode, c.status)
		}
		if answer.ContentLength < 0 || answer.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: Content-Length %d, Cache-Control %q", c.request, answer.ContentLength, answer.Header.Get("Cache-Control"))
		}
		if strings.Contains(body, canary) {
			t.Errorf("%s: the answer shows what cannot be sent: %s", c.request, body)
		}
		allow := answer.Header.Get("Allow")
		if (c.status == 405) != (allow != "") || strings.HasPrefix(c.request, "PUT /v1/profiles/") && allow != "GET, DELETE" {
			t.Errorf("%s: Allow %q", c.request, allow)
		}
		if !strings.Contains(body, `"code":"`+string(c.code)+`"`) || (c.field != "" && !strings.Contains(body, `"field":"`+c.field+`"`) && !strings.Contains(body, `"field":"`+c.field+`.`)) {
			t.Errorf("%s: got %s, want code %s and field %q", c.request, body, string(c.code), c.field)
		}
	}
}

// What a tokenctl of the first version asks, to its last byte, is answered in a
// form that it reads: status, header fields and members are those of then.
func TestRequestsOfTheFirstVersion(t *testing.T) {
	s := start(t, newMemory(), Options{})
	for _, name := range []string{"get-early", "get", "status", "refused"} {
		request, err := os.ReadFile("../testdata/first/" + name + ".request")
		Must(t, err)
		recorded, err := os.Open("../testdata/first/" + name + ".answer")
		Must(t, err)
		defer func() { _ = recorded.Close() }()
		then, err := http.ReadResponse(bufio.NewReader(recorded), nil)
		Must(t, err)
		now, body := s.say(t, string(request))
		if now.StatusCode != then.StatusCode || !now.Close || now.ContentLength != int64(len(body)) {
			t.Errorf("%s: %s, length %d; then %s", name, now.Status, now.ContentLength, then.Status)
		}
		for field := range then.Header {
			if now.Header.Get(field) == "" {
				t.Errorf("%s: no %s any more", name, field)
			}
		}
		var was, is map[string]any
		Must(t, errors.Join(json.NewDecoder(then.Body).Decode(&was), json.Unmarshal([]byte(body), &is)))
		for member, value := range was {
			if got, ok := is[member]; reflect.TypeOf(got) != reflect.TypeOf(value) && (ok || !optional[member]) {
				t.Errorf("%s: %s is %v, and was %v", name, member, got, value)
			}
		}
	}
}

// optional are members that an answer has when there is something to say.
var optional = map[string]bool{"expires_in": true, "may_manage": true, "sandbox": true, "config": true, "state": true}

func TestEveryRouteIsDescribed(t *testing.T) {
	doc, err := os.ReadFile("../../docs/protocol.md")
	Must(t, err)
	for _, r := range newHandler(newMemory(), Options{}).routes {
		name := ""
		if r.named() {
			name = "NAME"
		}
		if heading := "## " + r.method + " " + r.before + name + r.after + "\n"; !bytes.Contains(doc, []byte(heading)) {
			t.Errorf("docs/protocol.md has no %q", heading)
		}
	}
	for code, status := range statuses {
		if row := fmt.Sprintf("| `%s` | %d |", string(code), status); !bytes.Contains(doc, []byte(row)) {
			t.Errorf("docs/protocol.md has no %q", row)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	b := newMemory()
	b.fail = &token.Error{Code: token.ErrUnavailable, Message: "down", RetryAt: time.Now().Add(90 * time.Second)}
	answer, _ := start(t, b, Options{}).say(t, "GET /v1/token/clms HTTP/1.1\r\nHost: x\r\n\r\n")
	if got := answer.Header.Get("Retry-After"); got != "90" && got != "91" {
		t.Errorf("Retry-After: %q", got)
	}
}

func TestTextAnswers(t *testing.T) {
	s := start(t, newMemory(), Options{})
	for accept, want := range map[string]string{
		"text/plain":                        "tok-1",
		"Text/Plain; q=0.9, */*":            "tok-1",
		"text/plain, application/json":      "tok-1",
		"application/json, text/plain, */*": `{"access_token":"tok-1"`,
		"*/*":                               `{"access_token":"tok-1"`,
		"text/html":                         `{"access_token":"tok-1"`,
		"":                                  `{"access_token":"tok-1"`,
	} {
		_, body := s.say(t, "GET /v1/token/clms HTTP/1.1\r\nHost: x\r\nAccept: "+accept+"\r\n\r\n")
		if got, _, _ := strings.Cut(body, ","); got != want {
			t.Errorf("Accept %q: got %s, want %s", accept, body, want)
		}
	}
	if _, body := s.say(t, "GET /v1/token/none HTTP/1.1\r\nHost: x\r\nAccept: text/plain\r\n\r\n"); body != "not_found: \"none\": not found\n" {
		t.Errorf("refusal as text: %q", body)
	}
}

func TestATokenWithoutTextIsNoAnswer(t *testing.T) {
	b := newMemory()
	b.tokens["clms"] = token.Token{Type: "Bearer", Expiry: noon}
	if _, err := start(t, b, Options{}).client.Get(t.Context(), "clms", token.Query{}); !errors.Is(err, token.ErrInternal) {
		t.Errorf("got %v", err)
	}
}

// A user who is not let in learns nothing, and is in the audit log.
func TestStrangersAreAuditedAndLearnNothing(t *testing.T) {
	var events []token.AuditEntry
	h := newHandler(newMemory(), Options{Audit: func(e token.AuditEntry) { events = append(events, e) }})
	for path, want := range map[string]int{"/v1/nowhere": 403, "/v1/token/clms": 403, "/v1/token/none": 403, "/v1/authorize/clms": 500} {
		r := httptest.NewRequest("GET", path, nil)
		r.Header.Set("X-Api-Key", "good")
		if answer, body := askAs(h, os.Getuid()+1, r); answer.StatusCode != want || !strings.Contains(body, "may not use the tokend of") {
			t.Errorf("%s: %s %s", path, answer.Status, body)
		}
	}
	for _, e := range events {
		if e.Do != "connect" || e.Code != token.ErrDenied || e.UID != os.Getuid()+1 {
			t.Errorf("%+v", e)
		}
	}
	if len(events) != 4 {
		t.Errorf("%d events", len(events))
	}
}

// askAs has h answer a request of a user.
func askAs(h *handler, uid int, r *http.Request) (answer *http.Response, body string) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), connKey{}, &conn{peer: ipc.Peer{UID: uid}})))
	return w.Result(), w.Body.String()
}

func TestACallerThatLeavesEndsItsRequest(t *testing.T) {
	b := newMemory()
	begun, ended := make(chan struct{}), make(chan struct{})
	b.reload = func(ctx context.Context) error { close(begun); <-ctx.Done(); close(ended); return ctx.Err() }
	s := start(t, b, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-begun; cancel() }()
	if err := s.client.Reload(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("the caller got %v", err)
	}
	<-ended
}

func TestRequestsThatDoNotFinishEnd(t *testing.T) {
	t.Parallel()
	b := newMemory()
	begun := make(chan struct{})
	b.reload = func(ctx context.Context) error { close(begun); <-ctx.Done(); return ctx.Err() }
	s := start(t, b, Options{times: shortTimes})
	answered := make(chan error, 1)
	go func() { answered <- s.client.Reload(context.Background()) }()
	<-begun
	if err := s.stop(); err != nil {
		t.Errorf("Serve: %v", err)
	}
	if err := <-answered; !errors.Is(err, token.ErrUnavailable) || !strings.Contains(err.Error(), "stopping") {
		t.Errorf("the request got %v", err)
	}
}

func TestServeSaysWhenItsListenerFails(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := Listen(socket)
	Must(t, err)
	Must(t, l.Close())
	if err := Serve(t.Context(), l, newMemory(), Options{}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

// A status holds every profile, however many there are.
func TestAStatusOfManyProfiles(t *testing.T) {
	b := newMemory()
	for i := range 20_000 {
		b.tokens[fmt.Sprintf("profile-%05d", i)] = token.Token{}
	}
	st, err := start(t, b, Options{}).client.Status(t.Context())
	if err != nil || len(st.Profiles) != len(b.tokens) {
		t.Errorf("got %d profiles of %d: %v", len(st.Profiles), len(b.tokens), err)
	}
}
