package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"tokend/cmd/tokenctl/launch"
	"tokend/cmd/tokenctl/ui"
	"tokend/docs"
	"tokend/ipc"
	"tokend/ipc/ipcserver"
	"tokend/providers/token"
)

// asTokenctl, in the environment, makes the test binary be tokenctl.
const asTokenctl = "TOKENCTL_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asTokenctl) != "" {
		main()
	}
	os.Exit(m.Run())
}

// process is tokenctl as a program of its own.
func process(args ...string) *exec.Cmd {
	c := exec.Command(os.Args[0], args...)
	c.Env = append(os.Environ(), asTokenctl+"=1")
	return c
}

// secretToken is the token that the fake daemon hands out.
const secretToken = "tok-en.CANARY~1+2/3="

// A backend stands behind a real server and a real socket.
type backend struct {
	ipcserver.Backend       // whose other methods no test calls
	err               error // what everything but Status and Providers ends with
	token             token.Token
	owner             string // whose profile covers every URL
	present           token.Presentation
	status            token.Status
	added             token.Created
	diagnosis         token.Report
	mu                sync.Mutex
	query             token.Query
	addition          token.CreateProfile
	dropped           token.Secret
	kinds             []token.Provider // in place of the usual ones
	request           token.Request
	signed            token.Signed
	judged, consent   token.Secret
	remote            bool
	verdict           token.Verdict
	calls             []string
	goOn              chan struct{} // Get and Add wait for its end
	refusals          []error       // for the next calls of Add
	events            []token.Event
	drained           func() // called once all events are sent
	keystore          token.KeystoreStatus
	moveTo            token.KeystoreChoice
	moved             token.Migrated
	unlocks           []error // the answers to Unlock
}

func newBackend() *backend {
	now := time.Now().Truncate(time.Second)
	clms := token.ProfileStatus{
		Name: "clms", Provider: "clms", File: "/etc/tokend/profiles.d/clms.toml", Renew: "always",
		Endpoint: "https://land.copernicus.eu/@@oauth2-token",
		Settings: map[string]any{"client_id": "abc", "form": map[string]any{"a": "b"}},
		Tokens: []token.TokenStatus{
			{State: "fresh", Issued: now, Expiry: now.Add(42*time.Minute + 30*time.Second), RenewAt: now.Add(30*time.Minute + 30*time.Second)},
		},
	}
	azure := token.ProfileStatus{
		Name: "azure", Provider: "azure", CredentialExpires: now.Add(5*24*time.Hour + time.Hour),
		Warnings: []string{"the credential expires on 2026-12-01"},
		Tokens: []token.TokenStatus{
			{State: "none", Failures: 3, Error: &token.Error{Code: token.ErrUnavailable, Message: "login.example did not answer", RetryAt: now.Add(4*time.Minute + 30*time.Second)}},
		},
	}
	return &backend{
		token: token.Token{Secret: token.NewSecret(secretToken), Type: "Bearer", Issued: now, Expiry: now.Add(time.Hour), RenewAt: now.Add(45 * time.Minute)},
		status: token.Status{
			Version: "1.2.3", PID: 4242, MayManage: true, Started: now.Add(-3 * time.Hour), Keystore: "os: ok", Cache: "ok",
			Config: "/etc/tokend", State: "/var/lib/tokend", Profiles: []token.ProfileStatus{azure, clms},
		},
		added: token.Created{Profile: clms, Checked: true, Took: 412 * time.Millisecond, Kept: []string{
			"settings: /etc/tokend/profiles.d/clms.toml", "private key: OS keyring, service tokend, account clms/private_key/1",
		}},
	}
}

func (b *backend) note(call string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls = append(b.calls, call)
	return b.err
}

func (b *backend) wait(ctx context.Context) {
	if b.goOn == nil {
		return
	}
	select {
	case <-b.goOn:
	case <-ctx.Done():
	}
}

func (b *backend) Admit(context.Context, string, bool) error { return nil }

func (b *backend) Get(ctx context.Context, name string, q token.Query) (token.Grant, error) {
	b.wait(ctx)
	if name == "" {
		name = cmp.Or(b.owner, "clms")
	}
	err := b.note("get " + name)
	b.query = q
	return token.Grant{Token: b.token, Profile: name, Present: b.present, Host: q.URL}, err
}

func (b *backend) Exchange(_ context.Context, name, registry string) (token.Secret, error) {
	return token.NewSecret("refresh-of-" + name), b.note("exchange " + name + " " + registry)
}

func (b *backend) Invalidate(_ context.Context, name string, t token.Secret) error {
	b.dropped = t
	return b.note("invalidate " + name)
}

func (b *backend) Profile(_ context.Context, name string) (token.ProfileStatus, error) {
	for _, p := range b.status.Profiles {
		if p.Name == name {
			return p, nil
		}
	}
	return token.ProfileStatus{}, &token.Error{Code: token.ErrNotFound, Message: fmt.Sprintf("no profile %q", name)}
}

func (b *backend) Status(context.Context) (token.Status, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.status, nil
}

func (b *backend) Providers(context.Context) ([]token.Provider, error) {
	if b.kinds != nil {
		return b.kinds, nil
	}
	return []token.Provider{
		{Name: "clms", Doc: "Copernicus Land Monitoring Service", Fields: []token.Field{
			{Name: "service_key", Doc: "the JSON file", Secret: true, Required: true},
			{Name: "client_id"},
			{Name: "private_key", Secret: true},
			{Name: "user_agent", Default: "tokend"},
		}},
		{Name: "azure", Doc: "Microsoft Entra ID", Fields: []token.Field{
			{Name: "tenant", Doc: "directory ID", Required: true},
			{Name: "client_id", Doc: "application ID", Required: true},
			{Name: "client_secret", Doc: "value of a client secret", Secret: true},
			{Name: "certificate", Doc: "certificate in PEM", Secret: true},
			{Name: "private_key", Doc: "key of the certificate", Secret: true},
			{Name: "pfx", Doc: "both in one file", Secret: true},
			{Name: "pfx_password", Doc: "its pfx_password", Secret: true},
			{Name: "passphrase", Doc: "its passphrase", Secret: true},
			{Name: "scope", Doc: "resource and /.default", Required: true},
			{Name: "x5c"},
		}},
		{Name: "oauth2", Doc: "any issuer", Fields: []token.Field{
			{Name: "token_url", Required: true}, {Name: "client_id", Required: true},
			{Name: "client_secret", Secret: true}, {Name: "private_key", Secret: true},
			{Name: "scopes", List: true}, {Name: "form", Table: true}, {Name: "claims", Table: true},
		}},
	}, nil
}

func (b *backend) Add(ctx context.Context, a token.CreateProfile) (token.Created, error) {
	b.wait(ctx)
	err := b.note("add " + a.Name)
	b.addition = a
	if len(b.refusals) > 0 {
		err, b.refusals = b.refusals[0], b.refusals[1:]
	}
	return b.added, err
}

func (b *backend) Rotate(_ context.Context, a token.CreateProfile) (token.Created, error) {
	err := b.note("rotate " + a.Name)
	b.addition = a
	return b.added, err
}

func (b *backend) Sign(_ context.Context, name string, r token.Request) (token.Signed, error) {
	err := b.note("sign " + name)
	b.request = r
	return b.signed, err
}

func (b *backend) Verify(_ context.Context, name string, p token.Presented) (token.Verdict, error) {
	err := b.note("verify " + name)
	b.judged, b.consent, b.remote = p.Token, p.Consent, p.Remote
	return b.verdict, err
}

func (b *backend) Remove(_ context.Context, name string) error { return b.note("remove " + name) }
func (b *backend) Rename(_ context.Context, name, to string) error {
	return b.note("rename " + name + " " + to)
}
func (b *backend) Reload(context.Context) error { return b.note("reload") }

func (b *backend) Watch(_ context.Context, names []string) (token.Events, error) {
	err := b.note("watch " + strings.Join(names, " "))
	return &canned{b.events, b.drained}, err
}

// canned are events that have happened.
type canned struct {
	events  []token.Event
	drained func()
}

func (t *canned) Next(ctx context.Context) (e token.Event, err error) {
	if len(t.events) == 0 {
		t.drained()
		<-ctx.Done()
		return e, ctx.Err()
	}
	e, t.events = t.events[0], t.events[1:]
	return e, nil
}

func (*canned) Close() {}

// served is b and the socket on which it is served until the test ends.
func served[B ipcserver.Backend](t testing.TB, b B) (B, string) {
	t.Helper()
	return b, serve(t, b)
}

// serve answers for b on a socket until the test ends.
func serve(t testing.TB, b ipcserver.Backend) (socket string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "tokenctl") // t.TempDir can be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket = filepath.Join(dir, "s")
	serveAt(t, socket, b)
	return socket
}

// serveAt answers for b on a socket until stop is called or the test ends.
func serveAt(t testing.TB, socket string, b ipcserver.Backend) (stop func()) {
	t.Helper()
	l, err := ipcserver.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- ipcserver.Serve(ctx, l, b, ipcserver.Options{}) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// A result is what one run came to.
type result struct {
	status   int
	out, err string
}

// call runs tokenctl as a script would.
func call(t testing.TB, socket string, stdin io.Reader, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	status := run(append([]string{"tokenctl", "--socket", socket}, args...), stdin, &out, &errs)
	return result{status, out.String(), errs.String()}
}

func (r result) wants(t *testing.T, status int, out, err string) {
	t.Helper()
	if r.status != status || !strings.Contains(r.out, out) || !strings.Contains(r.err, err) {
		t.Fatalf("status %d, want %d; stdout %q, want %q in it; stderr %q, want %q in it", r.status, status, r.out, out, r.err, err)
	}
	if (r.status == ui.ExitOK) != (r.err == "") {
		t.Fatalf("status %d with stderr %q", r.status, r.err)
	}
}

// has and lacks check what stdout shows.
func (r result) has(t *testing.T, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(r.out, text) {
			t.Errorf("%q is not shown:\n%s", text, r.out)
		}
	}
}

func (r result) lacks(t *testing.T, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if strings.Contains(r.out, text) {
			t.Errorf("%q is shown:\n%s", text, r.out)
		}
	}
}

// asked checks what tokend was asked for so far.
func (b *backend) asked(t *testing.T, calls ...string) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if !slices.Equal(b.calls, calls) {
		t.Errorf("tokend was asked for %q, want %q", b.calls, calls)
	}
}

func TestGetAsksForWhatTheFlagsSay(t *testing.T) {
	b, socket := served(t, newBackend())
	call(t, socket, nil, "get", "clms", "--min-ttl", "600", "--fresh", "--scope", "a", "--scope", "b", "--audience", "https://x").
		wants(t, ui.ExitOK, secretToken+"\n", "")
	want := token.Query{Target: token.Target{Scope: "a b", Audience: "https://x"}, MinTTL: 10 * time.Minute, Fresh: true}
	if b.query != want {
		t.Errorf("asked for %+v, want %+v", b.query, want)
	}
	call(t, socket, nil, "get", "clms", "--min-ttl", "1h30m").wants(t, ui.ExitOK, secretToken+"\n", "")
	if want = (token.Query{MinTTL: 90 * time.Minute}); b.query != want {
		t.Errorf("asked for %+v, want %+v", b.query, want)
	}
}

func TestGetFailsBeforeAskingWhenTypedWrongly(t *testing.T) {
	for _, args := range [][]string{
		{"get"}, {"get", "a", "b"}, {"get", "a", "-o", "xml"}, {"get", "a", "--min-ttl", "soon"}, {"get", "a", "--min-ttl", "-5m"},
		{"get", "a", "--timeout", ""}, {"get", "a", "--timeout", "0"}, {"get", "a", "-x"}, {"get", ""}, {"get", "a/b/c"}, {"get", "a", "--resource", ""}, {"get", "a\x1b[2J"},
	} {
		b := newBackend()
		r := call(t, serve(t, b), nil, args...)
		r.wants(t, ui.ExitUsage, "", "tokenctl: ")
		if len(b.calls) > 0 || r.out != "" {
			t.Errorf("%q: asked %q, printed %q", args, b.calls, r.out)
		}
	}
}

func TestExitStatusFollowsTheCode(t *testing.T) {
	for code, want := range map[token.Code]struct {
		status int
		hint   string
	}{
		token.ErrNotFound:    {3, "tokenctl list"},
		token.ErrExists:      {2, ""},
		token.ErrDenied:      {4, "Ask its owner"},
		token.ErrRejected:    {5, "tokenctl rotate clms"},
		token.ErrUnavailable: {75, "tokend keeps trying"},
		token.ErrLocked:      {6, "Unlock the keyring"},
		token.ErrKeystore:    {6, "tokenctl status"},
		token.ErrInvalid:     {2, ""},
		token.ErrInternal:    {1, "log"},
		"from_the_future":    {1, "log"},
	} {
		t.Run(string(code), func(t *testing.T) {
			b := newBackend()
			b.err = &token.Error{Code: code, Message: "what was wrong"}
			b.status.Profiles = nil
			r := call(t, serve(t, b), nil, "get", "clms")
			r.wants(t, want.status, "", "tokenctl: what was wrong\n")
			if !strings.Contains(r.err, want.hint) || r.out != "" {
				t.Errorf("stderr %q, want %q in it; stdout %q", r.err, want.hint, r.out)
			}
		})
	}
}

func TestHelpListsTheExitStatuses(t *testing.T) {
	r := call(t, "", nil, "--help")
	for _, status := range []int{ui.ExitOK, ui.ExitFailure, ui.ExitUsage, ui.ExitNotFound, ui.ExitDenied, ui.ExitRejected, ui.ExitLocked, ui.ExitNoDaemon, ui.ExitUnavailable} {
		if !strings.Contains(r.out, fmt.Sprintf("\n  %-3d ", status)) {
			t.Errorf("status %d is not in the help", status)
		}
	}
}

func TestNoDaemonSaysHowToStartIt(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "none")
	for _, args := range [][]string{{"get", "x"}, {"list"}, {"status"}, {"add", "x"}, {"remove", "x", "--yes"}, {"reload"}} {
		r := call(t, socket, nil, args...)
		r.wants(t, ui.ExitNoDaemon, "", "tokend run")
		if !strings.Contains(r.err, socket) {
			t.Errorf("%q does not name the socket: %s", args, r.err)
		}
	}
	call(t, socket, nil, "version").wants(t, ui.ExitOK, "is not running", "")
}

func TestSocketComesFromTheEnvironment(t *testing.T) {
	socket := serve(t, newBackend())
	t.Chdir(filepath.Dir(socket))
	for _, path := range []string{socket, filepath.Base(socket)} {
		t.Setenv(ipc.SocketEnv, path)
		call(t, "", nil, "get", "clms").wants(t, ui.ExitOK, secretToken+"\n", "")
	}
}

func TestTimeoutIsTemporary(t *testing.T) {
	b := newBackend()
	b.goOn = make(chan struct{})
	begin := time.Now()
	r := call(t, serve(t, b), nil, "get", "clms", "--timeout", "50ms")
	r.wants(t, ui.ExitUnavailable, "", "did not answer in time")
	if !strings.Contains(r.err, "run the command again") {
		t.Errorf("no hint: %s", r.err)
	}
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestMistypedNamesAreRecognized(t *testing.T) {
	b, socket := served(t, newBackend())
	b.err = &token.Error{Code: token.ErrNotFound, Message: `no profile "clsm"`}
	call(t, socket, nil, "status", "clsm").wants(t, ui.ExitNotFound, "", `Did you mean "clms"?`)
	call(t, socket, nil, "get", "clsm").wants(t, ui.ExitNotFound, "", `Did you mean "clms"?`)
	call(t, socket, nil, "statsu").wants(t, ui.ExitUsage, "", "did you mean status?")
	call(t, socket, nil, "get", "clms", "--fresj").wants(t, ui.ExitUsage, "", "did you mean --fresh?")
	b.err = token.ErrNotFound // of a profile whose allow_users does not name the caller
	call(t, socket, nil, "get", "clms").wants(t, ui.ExitNotFound, "", "allow_users")
}

// What comes from elsewhere must not act on the terminal.
func TestUntrustedTextIsShownAndNotObeyed(t *testing.T) {
	evil := "\x1b[2J\x1b]52;c;ZXZpbA==\x07\u202egpj.exe\u2066\u009b31m\r\n\U000e0041"
	b := newBackend()
	b.err = &token.Error{Code: token.ErrRejected, Message: "issuer: " + evil, OAuth: evil, Detail: evil}
	b.status.Version, b.status.Keystore, b.status.Cache = evil, evil, evil
	b.status.ConfigErrors = []string{evil}
	b.status.Profiles[0].Name = evil
	b.status.Profiles[0].Provider = evil
	b.status.Profiles[0].Warnings = []string{evil}
	b.status.Profiles[1].Endpoint = evil
	b.status.Profiles[1].Settings = map[string]any{evil: evil, "x": map[string]any{evil: []any{evil}}}
	b.status.Profiles[1].Tokens[0].Scope = evil
	b.status.Profiles[1].Tokens[0].Error = &token.Error{Code: token.ErrUnavailable, Message: evil}
	socket := serve(t, b)
	for _, args := range [][]string{
		{"get", "clms"}, {"list"}, {"list", "--json"}, {"status"}, {"status", "--json"}, {"status", "clms"}, {"show", "clms"},
		{"show", "clms", "--json"}, {"version"}, {"version", "--json"}, {"__complete", "get", ""}, {"reload"}, {"get", "clms", "--" + evil},
		{evil}, {"list", evil}, {"get", evil}, {"add", "x", "--provider", evil}, {"add", "x", "--provider", "clms", "--set", evil + "=1"},
	} {
		var out, errs bytes.Buffer
		t.Setenv(ipc.SocketEnv, socket)
		run(append([]string{"tokenctl"}, args...), strings.NewReader(""), &out, &errs)
		for _, r := range out.String() + errs.String() {
			if r != '\n' && r != '\t' && !unicode.IsPrint(r) {
				t.Errorf("%q: %q reaches the terminal:\n%q\n%q", args, r, out.String(), errs.String())
				break
			}
		}
		if strings.HasSuffix(args[len(args)-1], "--json") && !json.Valid(out.Bytes()) {
			t.Errorf("%q: not JSON: %s", args, out.String())
		}
	}
}

func TestStatusShowsWhatMatters(t *testing.T) {
	b := newBackend()
	b.status.ConfigErrors = []string{"/etc/tokend/profiles.d/x.toml:3: unknown key"}
	b.status.Keystore = "os: locked"
	r := call(t, serve(t, b), nil, "status")
	r.has(t,
		"1.2.3", "process 4242", "started 3 h ago", "os: locked", "######## 42 min", "in 30 min", "failing",
		"login.example did not answer (3 times in a row); trying again in 4 min", "azure: the credential expires", "x.toml:3: unknown key")
	r.wants(t, ui.ExitOK, "", "")

	var st token.Status
	r = call(t, serve(t, b), nil, "status", "--json")
	if err := json.Unmarshal([]byte(r.out), &st); err != nil || st.PID != 4242 || len(st.Profiles) != 2 {
		t.Errorf("--json: %v, %+v", err, st)
	}
}

func TestListAndShow(t *testing.T) {
	b, socket := served(t, newBackend())
	call(t, socket, nil, "list").wants(t, ui.ExitOK, "clms     clms      fresh    in 42 min\n", "")
	r := call(t, socket, nil, "show", "clms")
	r.has(t, "/etc/tokend/profiles.d/clms.toml", "client_id", "abc", `{"a":"b"}`, "no known expiry")
	call(t, socket, nil, "show", "azure").wants(t, ui.ExitOK, ", in 5 days", "")
	r = call(t, socket, nil, "list", "--json")
	var list ipc.ProfileList
	if err := json.Unmarshal([]byte(r.out), &list); err != nil || len(list.Profiles) != 2 || list.Profiles[1].Name != "clms" {
		t.Errorf("--json: %v, %s", err, r.out)
	}
	b.status.Profiles = []token.ProfileStatus{}
	call(t, socket, nil, "list").wants(t, ui.ExitOK, "tokenctl add", "")
	call(t, socket, nil, "list", "--json").wants(t, ui.ExitOK, `"profiles": []`, "")
}

func TestShowKeepsToItsLines(t *testing.T) {
	b := newBackend()
	pem := "-----BEGIN CERTIFICATE-----\nMIIB\nAAAA\n-----END CERTIFICATE-----\n"
	b.status.Profiles[1].Settings = map[string]any{"certificate": pem, "note": "a\nb", "plain": "x\n"}
	socket := serve(t, b)
	r := call(t, socket, nil, "show", "clms")
	r.has(t, "certificate  (4 lines)\n", "note         (2 lines)\n", "plain        x\n")
	call(t, socket, nil, "show", "clms", "--json").wants(t, ui.ExitOK, `MIIB\nAAAA`, "")
}

func TestInvalidateNamesTheVeryToken(t *testing.T) {
	b, socket := served(t, newBackend())
	call(t, socket, strings.NewReader(secretToken+"\n"), "invalidate", "clms", "--token-file", "-").wants(t, ui.ExitOK, "clms", "")
	if b.dropped.Reveal() != secretToken {
		t.Errorf("dropped %q", b.dropped.Reveal())
	}
	call(t, socket, nil, "invalidate", "clms").wants(t, ui.ExitOK, "", "")
	if !b.dropped.IsZero() {
		t.Errorf("dropped %q, want the current one", b.dropped.Reveal())
	}
	b.calls = nil
	call(t, socket, strings.NewReader("\n"), "invalidate", "clms", "--token-file", "-").wants(t, ui.ExitUsage, "", "stdin is empty")
	call(t, socket, nil, "invalidate", "clms", "--token-file", filepath.Join(t.TempDir(), "no")).wants(t, ui.ExitUsage, "", "no such file or directory")
	b.asked(t)
}

func TestRemoveWantsAYes(t *testing.T) {
	b, socket := served(t, newBackend())
	call(t, socket, strings.NewReader("y\n"), "remove", "clms").wants(t, ui.ExitUsage, "", "--yes")
	b.asked(t)
	call(t, socket, nil, "remove", "clms", "--yes").wants(t, ui.ExitOK, "Removed clms", "")
	b.asked(t, "remove clms")
}

func TestRename(t *testing.T) {
	b, socket := served(t, newBackend())
	for _, args := range [][]string{{"rename", "clms"}, {"rename", "a", "b", "c"}, {"rename", "clms", "../x"}} {
		if got := call(t, socket, nil, args...); got.status != ui.ExitUsage || len(b.calls) > 0 {
			t.Errorf("%q: %+v, asked tokend for %q", args, got, b.calls)
		}
	}
	call(t, socket, nil, "rename", "clms", "land").wants(t, ui.ExitOK, "Renamed clms to land.\n", "")
	b.asked(t, "rename clms land")
	b.status.Orphans = []string{"old"}
	call(t, socket, nil, "status").wants(t, ui.ExitOK, "tokenctl remove old", "")
}

func TestVersion(t *testing.T) {
	socket := serve(t, newBackend())
	call(t, socket, nil, "version").wants(t, ui.ExitOK, "tokend   1.2.3\n", "")
	if r := call(t, socket, nil, "--version"); r != (result{out: versionLine() + "\n"}) {
		t.Errorf("%+v", r)
	}
	var v map[string]string
	r := call(t, socket, nil, "version", "--json")
	if err := json.Unmarshal([]byte(r.out), &v); err != nil || v["tokend"] != "1.2.3" || v["tokenctl"] == "" {
		t.Errorf("%v: %s", err, r.out)
	}
}

func TestCompletion(t *testing.T) {
	t.Setenv(ipc.SocketEnv, serve(t, newBackend()))
	complete := func(args ...string) string {
		var out bytes.Buffer
		run(append([]string{"tokenctl", "__complete"}, args...), nil, &out, io.Discard)
		return out.String()
	}
	for _, command := range []string{"get", "show", "status", "invalidate", "rotate", "remove"} {
		if out := complete(command, ""); !strings.Contains(out, "clms\tclms\n") || !strings.Contains(out, "azure\t") {
			t.Errorf("%s: %q", command, out)
		}
	}
	for want, args := range map[string][]string{
		"curl\t\n": {"get", "x", "-o", ""}, "jwt-verify\t\n": {"add", "--provider", ""}, "invalidate\t": {"inv"},
		"git\tgit: ": {"setup", ""}, "docker\t": {"helper", ""}, "sealed\t": {"keystore", "migrate", "--to", ""}, "AADSTS7000215\t": {"explain", "AAD"},
		"clms\tclms\n": {"setup", "git", "--profile", ""}, "json\t": {"sign", "x", "-o", "j"},
	} {
		if out := complete(args...); !strings.Contains(out, want) {
			t.Errorf("%q: %q lacks %q", args, out, want)
		}
	}
	for _, args := range [][]string{{"add", "--"}, {"get", "--"}, {"--"}} {
		if out := complete(args...); strings.Contains(out, "`") || !strings.Contains(out, "--socket\tPATH of") {
			t.Errorf("%q: %s", args, out)
		}
	}
}

func TestBrokenOutputIsAFailure(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	defer func() { _ = w.Close() }()
	var errs bytes.Buffer
	if status := run([]string{"tokenctl", "get", "clms", "--socket", serve(t, newBackend())}, nil, w, &errs); status != ui.ExitFailure {
		t.Errorf("status %d", status)
	}
	if got := errs.String(); !strings.Contains(got, "could not be written") || strings.Count(got, "\n") != 1 {
		t.Errorf("stderr %q, want one line without a hint at tokend", got)
	}
}

// A tool must not wait for ever for a tokend that hangs: it learns why there is
// no token before it gives up itself.
func TestAHelperGivesUp(t *testing.T) {
	defer func(before time.Duration) { helperPatience = before }(helperPatience)
	helperPatience = 100 * time.Millisecond
	b, socket := served(t, newBackend())
	b.goOn = make(chan struct{})
	var out, errs bytes.Buffer
	in := strings.NewReader("protocol=https\nhost=dev.example\n\n")
	status := run([]string{"git-credential-tokend", "--socket", socket, "get"}, in, &out, &errs)
	if status != ui.ExitOK || out.String() != "quit=1\n" || !strings.Contains(errs.String(), "tokend did not answer in time") {
		t.Errorf("status %d, %q, %q", status, out.String(), errs.String())
	}
}

func TestExplainFindsTopics(t *testing.T) {
	for words, want := range map[string]string{
		"AADSTS7000215": "AADSTS7000215",
		"aadsts1002012": "AADSTS70011",
		"Only RS256 signature algorithm is supported": "clms-algorithm",
		"no associated key":                           "clms-unknown-key",
		"tokenctl: h refused the request: invalid_client: the client secret has expired (AADSTS7000222)":      "AADSTS7000222",
		"tokenctl: h refused the request: invalid_grant: The token is not yet valid (iat)":                    "clock",
		`{"error":{"code":"rejected","topic":"clms-signature","message":"h refused the request"}}`:            "clms-signature",
		"tokenctl: h refused the request: invalid_grant: JWT subject\n doesn't match user_id of service key.": "clms-subject",
		"keyring-locked": "keyring-locked",
	} {
		if got, err := findTopic(words); err != nil || got.Names[0] != want {
			t.Errorf("%s: %v, %v; want %s", words, got.Names, err, want)
		}
	}
	for _, topic := range docs.ErrorTopics() {
		for _, name := range topic.Names {
			if got, err := findTopic(name); err != nil || got.Names[0] != topic.Names[0] {
				t.Errorf("%s: %v, %v", name, got.Names, err)
			}
		}
	}
}

func TestExplain(t *testing.T) {
	r := call(t, "/nonexistent", nil, "explain", "clms-algorithm")
	r.wants(t, ui.ExitOK, "clms-algorithm\n\nCLMS says \"Only RS256", "")
	call(t, "/nonexistent", nil, "explain").wants(t, ui.ExitOK, "Microsoft Entra ID:\n  AADSTS7000215  ", "")
	call(t, "/nonexistent", nil, "explain", "clms-algoritm").wants(t, ui.ExitNotFound, "", `there is no topic "clms-algoritm"; did you mean clms-algorithm?`)
	call(t, "/nonexistent", nil, "explain", "e").wants(t, ui.ExitNotFound, "", "there is no topic \"e\"; tokenctl explain")
}

func TestWhatStartsADaemon(t *testing.T) {
	for value, want := range map[string]bool{"": false, "0": false, "false": false, "1": true, "yes": true} {
		t.Setenv(launch.Env, value)
		if got := launch.IsWanted(); got != want {
			t.Errorf("%s=%q: %v", launch.Env, value, got)
		}
	}
	t.Setenv(launch.Env, "0")
	e := &ui.Env{Out: ui.NewScreen(io.Discard)}
	if _, err := program(e).Execute(t.Context(), []string{"--start", "explain"}); err != nil || !e.Starts {
		t.Errorf("--start counts, whatever the environment says: %v", err)
	}
}

var update = flag.Bool("update", false, "write testdata/linked.txt")

// Whatever is linked is initialised at every start, asked for or not, and a
// larger program takes longer to map in. What is added by others is seen here.
func TestLinkedPackages(t *testing.T) {
	list := exec.Command("go", "list", "-deps", ".")
	list.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0")
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	deps := slices.DeleteFunc(strings.Fields(string(out)), func(pkg string) bool {
		return strings.Contains(pkg, "internal/") || slices.Contains([]string{"vendor", "runtime", "tokend"}, strings.Split(pkg, "/")[0])
	})
	slices.Sort(deps)
	const golden = "testdata/linked.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(strings.Join(deps, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	known := strings.Fields(string(text))
	for _, pkg := range deps {
		if !slices.Contains(known, pkg) {
			t.Errorf("tokenctl links %s now: see what it costs each start (docs/performance.md), "+
				"and if it is worth that: go test ./cmd/tokenctl -run Linked -update", pkg)
		}
	}
	for _, pkg := range known {
		if !slices.Contains(deps, pkg) {
			t.Errorf("tokenctl does not link %s any more: go test ./cmd/tokenctl -run Linked -update keeps it out", pkg)
		}
	}
}

// maxSize bounds the program as it is shipped for Linux on amd64, in bytes.
const maxSize = 5_000_000

func TestSizeOfTheProgram(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokenctl")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", file, ".")
	build.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > maxSize {
		t.Errorf("tokenctl has %d bytes, and %d at most are allowed. Each 1 MB adds about 0.1 ms to each start: "+
			"leave out what grew (go test ./cmd/tokenctl -run Linked may tell), or measure a start and raise maxSize", info.Size(), maxSize)
	}
}
