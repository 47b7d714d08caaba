// Package daemon answers for the profiles: who may use them (policy.go), which
// one a URL belongs to (routes.go), how they are added, rotated and removed
// (manage.go), and what there is to report (status.go). Package mint
// obtains the tokens, package sink writes them to files, package profile reads the
// configuration. What it needs of others it declares as interfaces; cmd/tokend
// passes them.
package daemon

import (
	"cmp"
	"context"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"tokend/daemon/mint"
	"tokend/daemon/profile"
	"tokend/daemon/sink"
	"tokend/providers/token"
)

// Deps is what a Daemon needs of others.
type Deps struct {
	// Options are for the mint. The Daemon sets Event.
	mint.Options
	// Configure applies a configuration's log level and returns the providers
	// under its proxy and CA. It is called at each reload.
	Configure func(profile.Config) (profile.Kinds, error)
	// Credentials are the profiles' secrets, in the keystore.
	Credentials Credentials
	// Keystore returns the state of the keystore in a word or two, for status;
	// Where says where it keeps an account.
	Keystore func(ctx context.Context) string
	Where    func(account string) string
	// Vault is the keystore itself.
	Vault Vault
	// Doctor checks the installation and, if all is set, files, keys and the
	// issuers of st.Profiles.
	Doctor func(ctx context.Context, st token.Status, all bool) token.Report
	// Caller returns the caller, given the context of a method; false for tokend
	// itself.
	Caller func(ctx context.Context) (c Caller, ok bool)
	// Restart is the command that restarts tokend.
	Restart string
	// Sandbox says how tokend is confined to its own files: in words that end
	// in ": ok" if it is, empty if the system has no such thing.
	Sandbox func() string
	// Faults returns what is wrong around tokend, and what to do about it.
	Faults  func() []string
	Version string
}

// Credentials keep each profile's secrets and know which are current.
type Credentials interface {
	profile.Credentials
	// Put stores secrets as the current credential of the profile, whole or
	// not at all, and then removes the one before. c says what else is known
	// of it: Expires and Settings.
	Put(ctx context.Context, profile string, secrets map[string]token.Secret, c token.Credential) (token.Credential, error)
	// Current needs no keystore. ErrNotFound: nothing is stored.
	Current(profile string) (token.Credential, error)
	// PutPending stores a credential that waits until Promote; Abandon gives it
	// up. ErrNotFound: none is pending.
	PutPending(ctx context.Context, profile string, secrets map[string]token.Secret, c token.Credential) (token.Credential, error)
	Promote(ctx context.Context, profile string) error
	Abandon(ctx context.Context, profile string) error
	Delete(ctx context.Context, profile string) error
	// Copy keeps the credentials of a profile for another one, which has none.
	Copy(ctx context.Context, from, to string) error
	// Others returns the profiles that have credentials and are not among these.
	Others(profiles []string) []string
}

// A Daemon serves tokens. Its methods may be called from any goroutine; Run must
// be running for anything to be obtained.
type Daemon struct {
	deps    Deps
	dirs    profile.Dirs
	started time.Time
	mint    *mint.Mint
	sinks   *sink.Keeper

	watching sync.Mutex
	watchers map[*watcher]struct{}

	// state is the configuration and the profiles. It is replaced as a whole, by
	// the goroutine that has put a value into managing: changes span the keystore
	// and the disk.
	state    atomic.Pointer[state]
	managing chan struct{}
}

// New makes a Daemon of the configuration in dirs. A profile that cannot be
// opened does not stop the others: Status shows why. A bad config.toml does.
func New(dirs profile.Dirs, deps Deps) (*Daemon, error) {
	d := &Daemon{deps: deps, dirs: dirs, watchers: map[*watcher]struct{}{}, managing: make(chan struct{}, 1)}
	d.started = d.now()
	d.state.Store(&state{Opener: profile.Opener{Credentials: deps.Credentials}, profiles: map[string]*entry{}})
	d.sinks = &sink.Keeper{List: filepath.Join(dirs.State, "sinks"), Tokens: func() (map[*profile.Profile]token.Token, bool) { return sinkTokens(d) }, Now: d.now, Log: deps.Log, Changed: make(chan struct{}, 1)}
	deps.Event = func(ev token.Event) { // with the mint's lock held
		ev.Profile, ev.Resource, _ = strings.Cut(ev.Profile, "/")
		e := d.state.Load().profiles[ev.Profile]
		d.publish(e, ev)
		if ev.Kind == token.EventCache || e != nil && slices.ContainsFunc(e.all(), func(e *entry) bool { return len(e.Sinks) > 0 }) {
			d.sinks.Update()
		}
	}
	d.mint = mint.New(deps.Options)
	_, err := d.read()
	return d, err
}

// now is the wall clock: a monotonic reading would stand still in suspend.
func (d *Daemon) now() time.Time { return d.deps.Now().Round(0) }

// LoadCache reads the tokens that the last daemon left, before anything is
// served. If the keystore is locked or does not answer, Run tries again.
func (d *Daemon) LoadCache(ctx context.Context) { d.mint.Load(ctx) }

// Run obtains and renews tokens until ctx ends. Every goroutine of the daemon
// starts here and has ended when Run returns. Run releases everyone who still
// waits with an error, and saves what was obtained.
func (d *Daemon) Run(ctx context.Context) error {
	running, ended := context.WithCancel(context.WithoutCancel(ctx))
	var others sync.WaitGroup
	others.Go(func() { d.sinks.Run(running) })
	others.Go(func() { watchCredentials(running, d) })
	d.mint.Run(ctx)
	ended()
	others.Wait()
	return nil
}

// sinkTokens returns the profiles that have sinks, and their tokens.
func sinkTokens(d *Daemon) (tokens map[*profile.Profile]token.Token, loaded bool) {
	tokens, loaded = map[*profile.Profile]token.Token{}, d.mint.Loaded() // first: a token that comes in between is one more
	for _, main := range d.state.Load().profiles {
		for _, e := range main.all() {
			if len(e.Sinks) > 0 {
				tokens[e.Profile] = e.tokens.Current()
			}
		}
	}
	return tokens, loaded
}

// SinkDirs returns the directories of the files that sinks are written to, and of
// those that the last run left behind.
func (d *Daemon) SinkDirs() []string { return d.sinks.Dirs() }

// Get returns a token of the profile or resource (NAME/RESOURCE), or without a name of
// the one that q.URL belongs to. Errors are *token.Error; ErrNotFound also says that the
// URL belongs to no profile.
func (d *Daemon) Get(ctx context.Context, name string, q token.Query) (token.Grant, error) {
	st, c := d.state.Load(), d.caller(ctx)
	e, host, err := st.resolve(c, name, q.URL)
	switch {
	case err != nil:
		return token.Grant{}, err
	case q.Trace != nil && !st.isAdmin(c):
		return token.Grant{}, denied("trace", "uid %d may use this profile, but only users who may manage profiles can trace it", c.UID)
	case e.OnlyResources:
		return token.Grant{}, invalid("resource", "profile %q has a token for each of its resources; name one (--resource): %s", e.Name, strings.Join(slices.Sorted(maps.Keys(e.Tables)), ", "))
	case e.tokens == nil:
		return token.Grant{}, e.Unable("has no tokens to get")
	case q.Trace != nil:
		q.Trace.Add("profile", "%s, provider %s, %s", e.Name, e.Provider, e.Minter.Endpoint())
	}
	tok, err := e.tokens.Get(c.asks(ctx), q, c.use(d.now()))
	if err != nil {
		return token.Grant{}, err
	}
	g := token.Grant{Token: tok, Profile: e.Name, Present: e.Present, Host: host}
	if q.Warn {
		g.Warning = st.warnOnce(e, c, d.now())
	}
	if q.Second {
		if g.Second, err = e.Second(ctx); err != nil {
			return token.Grant{}, failure(err)
		}
	}
	return g, nil
}

// Invalidate drops t, if it is still a token of the resource, or of the profile or one of
// its resources, so that the next caller gets a new one; the zero Secret stands for all
// of these tokens, and no name for the profile that has t. It is no error if no profile
// has the token: another caller was faster.
func (d *Daemon) Invalidate(ctx context.Context, name string, t token.Secret) (err error) {
	st, c := d.state.Load(), d.caller(ctx)
	by := token.AskerOf(c.asks(ctx))
	if name == "" && !t.IsZero() {
		for _, e := range st.profiles {
			if e.Minter != nil && e.mayUse(c) {
				err = cmp.Or(err, e.invalidate(t, by))
			}
		}
		return err
	}
	e, err := st.lookup(c, name)
	switch {
	case err != nil:
		return err
	case e.Minter == nil:
		return e.Unable("has no tokens to drop")
	}
	return e.invalidate(t, by)
}

// invalidate drops a token of e or its resources, or all. It is an error if none was
// dropped because they came moments ago.
func (e *entry) invalidate(t token.Secret, by token.Asker) (err error) {
	done := false
	for _, e := range e.all() {
		if e.tokens != nil {
			failed := e.tokens.Invalidate(t, by)
			err, done = cmp.Or(err, failed), done || failed == nil && t.IsZero()
		}
	}
	if done {
		return nil
	}
	return err
}

// exchangeLife is how much life a token needs to be exchanged.
const exchangeLife = 60 * time.Second

// Exchange hands the profile's token to a container registry that is one of
// its hosts, and returns what the registry's clients log in with. Errors are
// *token.Error.
func (d *Daemon) Exchange(ctx context.Context, name, registry string) (token.Secret, error) {
	g, err := d.Get(ctx, name, token.Query{URL: registry, MinTTL: exchangeLife})
	if err != nil {
		return token.Secret{}, err
	}
	if g.Present != token.ACR {
		return token.Secret{}, invalid("", "the tokens of profile %q are not exchanged; that needs present = %q", name, token.ACR)
	}
	st := d.state.Load()
	e, err := st.lookup(d.caller(ctx), g.Profile)
	if err != nil {
		return token.Secret{}, err
	}
	refresh, err := st.Kinds.Exchange(ctx, g.Host, e.Settings.Text("tenant"), g.Secret)
	return refresh, failure(err)
}

// Sign signs one request with the profile's key. Errors are *token.Error.
func (d *Daemon) Sign(ctx context.Context, name string, r token.Request) (token.Signed, error) {
	e, err := begin(ctx, d, name, "signs no requests", func(e *entry) bool { return e.Signer != nil })
	if err != nil {
		return token.Signed{}, err
	}
	signed, err := e.Signer.Sign(ctx, r)
	signed.Warning = strings.Trim(signed.Warning+"; "+d.mint.Stats().SkewWarning, "; ")
	return signed, failure(err)
}

// Verify judges what was presented to the profile's data source. Errors are
// *token.Error and mean that no verdict could be reached.
func (d *Daemon) Verify(ctx context.Context, name string, p token.Presented) (token.Verdict, error) {
	e, err := begin(ctx, d, name, "verifies no tokens", func(e *entry) bool { return e.Verifier != nil })
	if err != nil {
		return token.Verdict{}, err
	}
	verdict, err := e.Verifier.Verify(ctx, p)
	return verdict, failure(err)
}

// failure is mint.AsError of an error that may be nil.
func failure(err error) error {
	if err != nil {
		err = mint.AsError(err)
	}
	return err
}

// begin finds a profile that has no tokens for the caller to use, and remembers
// that use. unable says what is wrong with one that is not able to.
func begin(ctx context.Context, d *Daemon, name, unable string, able func(*entry) bool) (*entry, error) {
	c := d.caller(ctx)
	e, err := d.state.Load().lookup(c, name)
	if err != nil {
		return nil, err
	}
	if !able(e) {
		return nil, e.Unable(unable)
	}
	u := c.use(d.now())
	e.used.Store(&u)
	return e, nil
}
