package daemon_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tokend/daemon"
	"tokend/daemon/mint"
	"tokend/daemon/profile"
	"tokend/providers/token"
	"tokend/store"
	"tokend/store/cache"
)

// An issuer plays the other side of one test: how long its tokens live, how
// long it thinks, what it answers.
type issuer struct {
	mu     sync.Mutex
	life   time.Duration
	thinks time.Duration
	err    error
	panics bool
	// stubborn: it does not stop when its caller does
	stubborn bool
	secret   string // refuse others; "" takes all
	badScope string // profiles with it get no answer
	minted   int
	asked    int
	skew     time.Duration
	last     []time.Time
	now      func() time.Time // nil: time.Now
}

func (i *issuer) set(change func(*issuer)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	change(i)
}

func (i *issuer) counts() (asked, minted int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.asked, i.minted
}

func (i *issuer) mint(ctx context.Context, name string, t token.Target, secret token.Secret) (token.Token, error) {
	i.mu.Lock()
	i.asked++
	i.last = append(i.last, time.Now())
	thinks := i.thinks
	if i.stubborn {
		ctx = context.WithoutCancel(ctx)
	}
	i.mu.Unlock()
	select {
	case <-time.After(thinks):
	case <-ctx.Done():
		return token.Token{}, ctx.Err()
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.panics:
		panic("provider fault")
	case i.err != nil:
		return token.Token{}, i.err
	case i.secret != "" && secret.Reveal() != i.secret:
		return token.Token{}, &token.Error{Code: token.ErrRejected, OAuth: "invalid_client", Message: "invalid_client"}
	}
	i.minted++
	now := time.Now()
	if i.now != nil {
		now = i.now()
	}
	now = now.Round(0)
	return token.Token{
		Secret: token.NewSecret(fmt.Sprintf("%s#%d %s%s", name, i.minted, t.Scope, t.Audience)),
		Type:   "Bearer", Issued: now, Expiry: now.Add(i.life), Skew: i.skew,
	}, nil
}

// kinds has one provider, "test", whose profiles name their issuer.
type kinds struct {
	issuers map[string]*issuer
	made    *atomic.Int64 // keys made for signers
}

type signer struct {
	secret func(context.Context, string) (token.Secret, error)
}

func (s signer) RotatesInSteps() bool { return true }
func (s signer) Hosts() []string      { return []string{"https://signed.example"} }
func (s signer) Sign(ctx context.Context, r token.Request) (token.Signed, error) {
	key, err := s.secret(ctx, "key")
	return token.Signed{URL: r.URL, Headers: []token.Header{{Name: "Signature", Value: key}}}, err
}

type verifier struct{ learnt *int }

func (v *verifier) Inherit(old any) { v.learnt = old.(*verifier).learnt }

func (v *verifier) Verify(_ context.Context, p token.Presented) (token.Verdict, error) {
	*v.learnt++
	return token.Verdict{Valid: p.Token.Reveal() == "good", Reason: fmt.Sprint(p.Remote), Message: fmt.Sprint(*v.learnt)}, nil
}

type settings struct {
	Issuer string `toml:"issuer"`
	Scope  string `toml:"scope"`
}

func (k kinds) Providers() []token.Provider {
	return []token.Provider{{Name: "test", Doc: "a test", Fields: []token.Field{
		{Name: "issuer", Doc: "which issuer", Required: true},
		{Name: "scope", Doc: "what for", Resource: true},
		{Name: "client_secret", Doc: "the secret", Required: true, Secret: true},
	}}, {Name: "sign", Doc: "a signer"}, {Name: "verify", Doc: "a verifier"}}
}

// Prepare takes the part before a colon in the secret as a setting that comes
// with the credential, as a service key's client_id does.
func (kinds) Exchange(_ context.Context, registry, tenant string, t token.Secret) (token.Secret, error) {
	return token.NewSecret(registry + " " + tenant + " " + t.Reveal()), nil
}

func (k kinds) Prepare(a *token.CreateProfile) error {
	switch a.Provider {
	case "sign": // makes its key itself
		k.made.Add(1)
		a.Secrets = map[string]token.Secret{"key": token.NewSecret(fmt.Sprint("key", k.made.Load()))}
		a.Settings["public_key"] = fmt.Sprint("public", k.made.Load())
		return nil
	case "verify":
		return nil
	}
	text := a.Secrets["client_secret"].Reveal()
	if text == "" {
		return &token.Error{Code: token.ErrInvalid, Field: "client_secret", Message: "client_secret is missing"}
	}
	if scope, secret, ok := strings.Cut(text, ":"); ok {
		a.Settings["scope"] = scope
		a.Secrets = map[string]token.Secret{"client_secret": token.NewSecret(secret)}
	}
	return nil
}

func (k kinds) Open(kind string, decode func(any) error, secret func(context.Context, string) (token.Secret, error)) (any, error) {
	switch kind {
	case "sign":
		var s struct {
			PublicKey string `toml:"public_key"`
		}
		return signer{secret}, decode(&s)
	case "verify":
		return &verifier{new(int)}, decode(&struct{}{})
	}
	var s settings
	if err := decode(&s); err != nil {
		return nil, err
	}
	i := k.issuers[s.Issuer]
	if i == nil {
		return nil, &token.Error{Code: token.ErrInvalid, Field: "issuer", Message: fmt.Sprintf("no issuer %q", s.Issuer)}
	}
	return &minter{i, s, secret}, nil
}

type minter struct {
	issuer *issuer
	settings
	secret func(context.Context, string) (token.Secret, error)
}

func (m *minter) Endpoint() string { return "https://" + m.Issuer + "/token" }

func (m *minter) Mint(ctx context.Context, t token.Target) (token.Token, error) {
	secret, err := m.secret(ctx, "client_secret")
	if err != nil {
		return token.Token{}, err
	}
	if m.Scope != "" && m.Scope == m.issuer.badScope {
		return token.Token{}, down
	}
	return m.issuer.mint(ctx, m.Issuer, t, secret)
}

// callerKey is where the tests say who calls.
type callerKey struct{}

// An installation is a daemon on real files: real cache, real sealed
// keystore, one issuer "idp" unless the test adds others.
type installation struct {
	t       *testing.T
	dirs    profile.Dirs
	issuers map[string]*issuer
	log     bytes.Buffer
	logMu   sync.Mutex
	locked  atomic.Bool  // the keystore says so
	locks   atomic.Int64 // how often it has said so
	full    atomic.Bool  // the cache's disk is full
	made    atomic.Int64
	turns   atomic.Int64 // of Run's loop
	pulse   time.Duration
	network chan struct{}
	step    atomic.Int64 // by how much the wall clock was set, in nanoseconds
	slewed  atomic.Int64 // by how much NTP slewed both clocks

	daemon *daemon.Daemon
	stop   func()
}

func newInstallation(t *testing.T) *installation {
	dir := t.TempDir()
	in := &installation{
		t:       t,
		dirs:    profile.Dirs{Config: filepath.Join(dir, "config"), State: filepath.Join(dir, "state")},
		issuers: map[string]*issuer{"idp": {life: time.Hour}},
		stop:    func() {},
		network: make(chan struct{}, 1),
	}
	in.idp().now = in.now
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log:\n%s", in.logged())
		}
	})
	return in
}

// now is the wall clock, which set sets forward, or back.
func (in *installation) now() time.Time { return time.Now().Add(time.Duration(in.step.Load())) }
func (in *installation) steady() time.Duration {
	return time.Since(time.Unix(0, 0)) - time.Duration(in.slewed.Load())
}
func (in *installation) set(by time.Duration) { in.step.Add(int64(by)) }

// idp is the issuer that profiles use unless they name another.
func (in *installation) idp() *issuer { return in.issuers["idp"] }

// profile writes a profile's file by hand, and its credential.
func (in *installation) profile(name, text string) {
	in.t.Helper()
	in.write("profiles.d/"+name+".toml", text)
	if _, err := in.credentials().Put(in.t.Context(), name, map[string]token.Secret{"client_secret": token.NewSecret("s3cret")}, token.Credential{}); err != nil {
		in.t.Fatal(err)
	}
}

func (in *installation) write(file, text string) {
	in.t.Helper()
	path := filepath.Join(in.dirs.Config, file)
	must(in.t, os.MkdirAll(filepath.Dir(path), 0o700))
	must(in.t, os.WriteFile(path, []byte(text), 0o600))
}

const ordinary = "provider = \"test\"\nissuer = \"idp\"\n"

var kek = token.NewSecret(strings.Repeat("k", 32))

func (in *installation) keystore() store.Keystore {
	in.t.Helper()
	ks, err := store.OpenSealed(filepath.Join(in.dirs.State, "sealed"), kek)
	if err != nil {
		in.t.Fatal(err)
	}
	return lockable{ks, in}
}

func (in *installation) credentials() *store.Credentials {
	return store.NewCredentials(filepath.Join(in.dirs.State, "credentials"), in.keystore())
}

// lockable is a keystore that the test can lock.
type lockable struct {
	store.Keystore
	in *installation
}

func (l lockable) refuse() error {
	if l.in.locked.Load() {
		l.in.locks.Add(1)
		return &token.Error{Code: token.ErrLocked, Message: "the keyring is locked"}
	}
	return nil
}

func (l lockable) Get(ctx context.Context, account string) (token.Secret, error) {
	if err := l.refuse(); err != nil {
		return token.Secret{}, err
	}
	return l.Keystore.Get(ctx, account)
}

func (l lockable) Set(ctx context.Context, account string, s token.Secret) error {
	if err := l.refuse(); err != nil {
		return err
	}
	return l.Keystore.Set(ctx, account, s)
}

func (l lockable) Delete(ctx context.Context, account string) error {
	if err := l.refuse(); err != nil {
		return err
	}
	return l.Keystore.Delete(ctx, account)
}

// A fillableCache is the real cache, whose key is in the keystore and whose disk can be
// full.
type fillableCache struct {
	*cache.Cache
	in *installation
}

func (c fillableCache) Write(save, drop []token.Record) error {
	if c.in.full.Load() {
		return errors.New("no space left on device")
	}
	return c.Cache.Write(save, drop)
}

// make makes a daemon that does not run yet, and its cache.
func (in *installation) make() (*daemon.Daemon, *cache.Cache) {
	in.t.Helper()
	must(in.t, os.MkdirAll(in.dirs.State, 0o700))
	file, err := cache.Open(filepath.Join(in.dirs.State, "cache.db"), func(context.Context, bool) (token.Secret, error) {
		return kek, lockable{in: in}.refuse()
	})
	if err != nil {
		in.t.Fatal(err)
	}
	d, err := daemon.New(in.dirs, daemon.Deps{
		Options: mint.Options{
			Cache: fillableCache{file, in}, Log: slog.New(slog.NewTextHandler(lockedWriter{in}, nil)),
			Alive: func() { in.turns.Add(1) }, Pulse: in.pulse, Now: in.now, Steady: in.steady, Network: in.network,
		},
		Configure:   func(profile.Config) (profile.Kinds, error) { return kinds{in.issuers, &in.made}, nil },
		Credentials: in.credentials(),
		Keystore:    func(context.Context) string { return "sealed: ok" },
		Sandbox:     func() string { return "landlock: ok" },
		Faults:      func() []string { return []string{"a fault"} },
		Where:       func(account string) string { return "sealed file " + account },
		Vault:       vault{in},
		Doctor: func(_ context.Context, st token.Status, all bool) token.Report {
			return token.Report{Version: st.Version, Checks: []token.Check{{Name: fmt.Sprint(all, " ", len(st.Profiles))}}}
		},
		Caller: func(ctx context.Context) (daemon.Caller, bool) {
			c, ok := ctx.Value(callerKey{}).(daemon.Caller)
			return c, ok
		},
		Version: "test",
	})
	if err != nil {
		in.t.Fatal(err)
	}
	return d, file
}

// start starts the daemon; stop or a restart ends it.
func (in *installation) start() *daemon.Daemon {
	in.t.Helper()
	d, file := in.make()
	d.LoadCache(in.t.Context())
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- d.Run(ctx) }()
	in.daemon = d
	in.stop = func() {
		cancel()
		must(in.t, errors.Join(<-ended, file.Close()))
		in.stop = func() {}
	}
	synctest.Wait()
	return d
}

// startWith starts the daemon with a profile p.
func (in *installation) startWith(text string) *daemon.Daemon {
	in.t.Helper()
	in.profile("p", text)
	return in.start()
}

// restart ends the daemon and starts another on the same files.
func (in *installation) restart() *daemon.Daemon {
	in.t.Helper()
	in.stop()
	return in.start()
}

type lockedWriter struct{ in *installation }

func (w lockedWriter) Write(b []byte) (int, error) {
	w.in.logMu.Lock()
	defer w.in.logMu.Unlock()
	return w.in.log.Write(b)
}

func (in *installation) logged() string {
	in.logMu.Lock()
	defer in.logMu.Unlock()
	return in.log.String()
}

// get asks for a token and fails the test if there is none.
func (in *installation) get(name string, q token.Query) string {
	in.t.Helper()
	tok, err := in.daemon.Get(in.t.Context(), name, q)
	if err != nil {
		in.t.Fatalf("get %s: %v", name, err)
	}
	if !in.now().Before(tok.Expiry) {
		in.t.Fatalf("get %s: got a token that expired %v ago", name, time.Since(tok.Expiry))
	}
	return tok.Secret.Reveal()
}

// getAtOnce gets a token, and fails the test if that takes any time.
func (in *installation) getAtOnce(name string) string {
	in.t.Helper()
	begin := time.Now()
	got := in.get(name, token.Query{})
	same(in.t, "waited", time.Since(begin), 0)
	return got
}

// refused asks for a token and fails the test unless it is refused with code.
func (in *installation) refused(name string, q token.Query, code token.Code) *token.Error {
	in.t.Helper()
	_, err := in.daemon.Get(in.t.Context(), name, q)
	var e *token.Error
	if !errors.Is(err, code) || !errors.As(err, &e) {
		in.t.Fatalf("get %s: error %v, want %s", name, err, string(code))
	}
	return e
}

// wantAsked checks how often the issuer was asked so far.
func (in *installation) wantAsked(want int) {
	in.t.Helper()
	asked, _ := in.idp().counts()
	same(in.t, "requests to the issuer", asked, want)
}

// wantNoStorm checks that the issuer got at least so many requests, and that those
// so far apart in their order came no closer in time.
func (in *installation) wantNoStorm(least, apart int, within time.Duration) {
	in.t.Helper()
	in.idp().mu.Lock()
	defer in.idp().mu.Unlock()
	asked := in.idp().last
	if len(asked) < least {
		in.t.Fatalf("%d requests, want %d", len(asked), least)
	}
	for i := apart; i < len(asked); i++ {
		if burst := asked[i].Sub(asked[i-apart]); burst < within {
			in.t.Fatalf("requests %d to %d came within %v", i-apart, i, burst)
		}
	}
}

// found returns the profile that a URL leads to, or why there is none.
func (in *installation) found(ctx context.Context, name, url string) string {
	g, err := in.daemon.Get(ctx, name, token.Query{URL: url})
	if err != nil {
		return err.Error()
	}
	return g.Profile
}

// settle lets time pass, and what is due then be done.
func (in *installation) settle(after time.Duration) {
	time.Sleep(after)
	synctest.Wait()
}

// status is one profile's status.
func (in *installation) status(name string) token.ProfileStatus {
	in.t.Helper()
	st, err := in.daemon.Profile(in.t.Context(), name)
	if err != nil {
		in.t.Fatal(err)
	}
	return st
}

// in a bubble, with the daemon stopped at its end.
func bubble(t *testing.T, f func(t *testing.T, in *installation)) {
	synctest.Test(t, func(t *testing.T) {
		in := newInstallation(t)
		defer func() { in.stop() }()
		f(t, in)
	})
}

func bubbleNamed(t *testing.T, name string, f func(t *testing.T, in *installation)) {
	t.Run(name, func(t *testing.T) { bubble(t, f) })
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func same[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func differ[T comparable](t *testing.T, what string, got, not T) {
	t.Helper()
	if got == not {
		t.Errorf("%s: %v, as before", what, got)
	}
}

func within[T cmp.Ordered](t *testing.T, what string, got, least, most T) {
	t.Helper()
	if got < least || got > most {
		t.Errorf("%s: %v, want %v to %v", what, got, least, most)
	}
}

func wantIn(t *testing.T, what, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%s: %q, want it to say %q", what, text, part)
		}
	}
}

func wantErr(t *testing.T, what string, err error, want token.Code) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: error %v, want %s", what, err, string(want))
	}
}

func errOf(_ any, err error) error { return err }

var down = &token.Error{Code: token.ErrUnavailable, Message: "the issuer cannot be reached"}
