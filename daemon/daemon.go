// Package daemon keeps every profile's tokens fresh. It decides when to obtain
// one, shares each attempt between all who wait for it, serves what is at hand
// meanwhile, and manages the profiles. What it needs (providers,
// the cache file, the keystore) it says as interfaces; cmd/tokend passes them.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"tokend/providers/token"
)

// Deps is what a Daemon needs of others. All of it but Pulse and Now is
// required.
type Deps struct {
	// Configure puts a configuration's log level in force and gives the
	// providers under its proxy and CA. It is called at each reload.
	Configure func(Config) (Kinds, error)
	// Credentials are the profiles' secrets, in the keystore.
	Credentials Credentials
	// Cache is the token file.
	Cache Cache
	// Keystore says in a word or two how the keystore is, for status; Where
	// says in words where it keeps an account.
	Keystore func(ctx context.Context) string
	Where    func(account string) string
	// Vault is the keystore itself.
	Vault Vault
	// Doctor looks whether all is as it should be: at the installation and, if
	// all is set, at files, keys and the issuers of st.Profiles.
	Doctor func(ctx context.Context, st token.Status, all bool) token.Report
	// Caller is who asks, given the context of a method; false for tokend
	// itself.
	Caller func(ctx context.Context) (c Caller, ok bool)
	// Alive is called at each turn of Run's loop, at least every Pulse (zero:
	// whenever there is something to do). If it stays away, Run hangs.
	Alive func()
	Pulse time.Duration
	// Now is the wall clock, which may be set; nil: the system's.
	Now func() time.Time
	// Sandbox tells how tokend is confined to its own files: in words that end
	// in ": ok" if it is, empty if the system knows no such thing.
	Sandbox func() string
	// Log must not block: some lines are written while callers wait.
	Log     *slog.Logger
	Version string
}

// Kinds are the providers that profiles can have. What one opens implements
// token.Minter, token.Signer or token.Verifier.
type Kinds interface {
	Providers() []token.Provider
	// Prepare turns what a person handed in into what is kept.
	Prepare(a *token.CreateProfile) error
	// Open makes a profile of the kind. It needs neither secrets nor the
	// network. The result may tell by CredentialExpires when its credential
	// ends, by RotatesInSteps that a new one has to be registered first, and by
	// Hosts where its credentials may be sent.
	Open(kind string, decode func(into any) error, secret func(ctx context.Context, field string) (token.Secret, error)) (any, error)
	// Exchange hands an access token to an Azure Container Registry, a URL,
	// and returns the refresh token that its clients log in with. tenant may be
	// empty.
	Exchange(ctx context.Context, registry, tenant string, t token.Secret) (token.Secret, error)
}

// Credentials keep each profile's secrets and know which are current.
type Credentials interface {
	// Put stores secrets as the current credential of the profile, whole or
	// not at all, and then removes the one before. c says what else is known
	// of it: Expires and Settings.
	Put(ctx context.Context, profile string, secrets map[string]token.Secret, c token.Credential) (token.Credential, error)
	// Current needs no keystore. ErrNotFound: nothing is stored.
	Current(profile string) (token.Credential, error)
	// Kept gives the current credential and the pending one, each the zero
	// Credential if there is none.
	Kept(profile string) (current, pending token.Credential, err error)
	// PutPending stores a credential that is not in force until Promote;
	// Abandon gives it up. ErrNotFound: none is pending.
	PutPending(ctx context.Context, profile string, secrets map[string]token.Secret, c token.Credential) (token.Credential, error)
	Pending(profile string) (token.Credential, error)
	Promote(ctx context.Context, profile string) (token.Credential, error)
	Abandon(ctx context.Context, profile string) error
	// Secret reads one field of a credential, or of the current one if that
	// has replaced it.
	Secret(ctx context.Context, c token.Credential, field string) (token.Secret, error)
	Delete(ctx context.Context, profile string) error
}

// Cache is where tokens outlive the daemon. It is read once and written
// behind, by one goroutine.
type Cache interface {
	Load(ctx context.Context, now time.Time) ([]token.Record, error)
	Save(records ...token.Record) error
	Drop(records ...token.Record) error
	// Delete removes all records of a profile.
	Delete(profile string) error
	// Notices says what happened to the file since it was last asked, for the
	// log. After a notice, records that were saved before it may be gone.
	Notices() []string
}

// A Daemon serves tokens. Get and the other methods may be called from any
// goroutine; Run must be running for anything to be obtained.
type Daemon struct {
	deps    Deps
	dirs    Dirs
	started time.Time

	// managing holds one value; who changes profiles takes it, because that
	// spans the keystore and the disk, where mu is never held.
	managing chan struct{}
	ending   chan struct{} // closed when Run is to end
	wake     chan struct{} // tells Run that a flight was asked for or the agenda changed
	dirty    chan struct{} // tells the cache's goroutine that there is something to write
	sinking  chan struct{} // tells the sinks' goroutine to look again
	jobs     chan func()   // what the cache's goroutine is asked to do and answer for

	mu       sync.Mutex
	config   Config
	admins   allowance
	kinds    Kinds
	profiles map[string]*profile
	claims   map[string][]*profile // by origin, nil when out of date
	crowds   map[string]int        // how many profiles each issuer has, nil when out of date
	agenda   agenda
	asked    []*slot // flights that callers wait for, not launched yet
	lanes    map[string]*lane
	renewals int // under way
	stopped  bool
	unsaved  map[slotKey]token.Record // to be written to the cache
	dropped  []token.Record           // to be removed from it, before
	bad      map[string]string        // what is wrong with config.toml ("") and profiles
	cacheErr error
	cacheIn  bool   // the cache has been read
	saving   bool   // a write is under way
	writes   uint64 // of the cache, so far
	clock    clock
	sinkErrs map[string]error // by path: why a sink's file is not written

	watchers      map[*watcher]struct{}
	keyringLocked bool // as far as the last attempts told
}

// New makes a Daemon of the configuration in dirs. A profile that cannot be
// opened does not stop the others: Status shows why. A bad config.toml does.
func New(dirs Dirs, deps Deps) (*Daemon, error) {
	d := &Daemon{
		deps:     deps,
		dirs:     dirs,
		managing: make(chan struct{}, 1),
		ending:   make(chan struct{}),
		wake:     make(chan struct{}, 1),
		dirty:    make(chan struct{}, 1),
		sinking:  make(chan struct{}, 1),
		jobs:     make(chan func()),
		profiles: map[string]*profile{},
		lanes:    map[string]*lane{},
		unsaved:  map[slotKey]token.Record{},
		sinkErrs: map[string]error{},
		watchers: map[*watcher]struct{}{},
	}
	d.started = d.wall()
	if err := d.load(); err != nil {
		return nil, err
	}
	return d, nil
}

// load reads the configuration when the daemon is made.
func (d *Daemon) load() error {
	config, err := ReadConfig(d.dirs)
	if err != nil {
		return err
	}
	kinds, err := d.configure(config)
	if err != nil {
		return err
	}
	profiles, bad := d.readProfiles(kinds, config, nil)
	d.adopt(config, kinds, profiles, bad)
	for _, b := range bad {
		d.deps.Log.Warn("a profile cannot be read", "error", b)
	}
	d.deps.Log.Info("configuration read", "profiles", len(profiles), "bad_files", len(bad))
	return nil
}

// wall is the wall clock: a monotonic reading would stand still in suspend.
func (d *Daemon) wall() time.Time {
	if d.deps.Now != nil {
		return d.deps.Now().Round(0)
	}
	return time.Now().Round(0)
}

// A slot holds one token of a profile and what is being done about it.
type slot struct {
	profile *profile
	target  token.Target

	tok  token.Token
	used use
	// flight is the attempt under way or asked for, nil if none.
	flight *flight
	// err is why the last attempt failed, nil after a success.
	err      *token.Error
	failures int
	failedAt time.Time
	nextTry  time.Time
	// heeded: nextTry is what the issuer asked for (Retry-After).
	heeded bool
	// toldOf is the end of the last token of which was told that it expires
	// without a successor.
	toldOf time.Time
	// invalidated is when a caller last had a token dropped.
	invalidated time.Time
	history     []attempt
	// at and place belong to the agenda.
	at    time.Time
	place int
}

// A clock is what the last issuer that was heard of told of our clock.
type clock struct {
	skew time.Duration // its time minus ours
	host string
	seen time.Time
}

// clockMemory is how long what was seen of a clock is worth telling.
const clockMemory = 2 * time.Hour

// text says how far our clock is off, if that was seen lately and matters.
func (c clock) text(now time.Time) string {
	if age := now.Sub(c.seen); age < 0 || age > clockMemory {
		return ""
	}
	return skewText(c.skew, c.host)
}

type slotKey struct {
	profile string
	target  token.Target
}

func (s *slot) key() slotKey { return slotKey{s.profile.name, s.target} }

func (s *slot) record() token.Record {
	return token.Record{Profile: s.profile.name, Target: s.target, Fingerprint: s.profile.fingerprint.String(), Token: s.tok}
}

// A flight is one attempt to obtain a token, shared by all who wait for it.
type flight struct {
	done chan struct{} // closed when tok and err are set
	tok  token.Token
	err  *token.Error
	// urgent: a caller waits for it.
	urgent, launched bool
	// trace is that of the first caller who wanted one before it was launched.
	trace *token.Trace
}

// maxTargets bounds the scopes and audiences under which one profile's tokens
// are held at a time.
const maxTargets = 64

// Get answers with a token of the profile, or without a name of the one that
// claims q.URL, that lives at least q.MinTTL longer. A token at hand is served
// at once; otherwise the caller joins the attempt under way, until ctx ends.
// Errors are *token.Error; ErrNotFound also says that nobody claims q.URL.
func (d *Daemon) Get(ctx context.Context, name string, q token.Query) (token.Grant, error) {
	now := d.wall()
	u := d.useBy(ctx, now)
	w := d.who(ctx)
	d.mu.Lock()
	p, g, err := d.seek(w, name, q)
	var s *slot
	if err == nil {
		s, err = d.slot(p, q.Target, now)
	}
	if err != nil {
		d.mu.Unlock()
		return token.Grant{}, err
	}
	s.used = u
	tok, flight, remembered := s.tok, s.flight, s.err
	v := decide(s, q, now)
	if q.Trace != nil {
		s.trace(q.Trace, v)
	}
	switch v {
	case wait:
		flight = d.ask(s)
		flight.join(q.Trace)
	case serve:
		d.plan(s) // a token that nobody wanted renewed is wanted again
	}
	d.mu.Unlock()

	switch v {
	case refuse:
		return token.Grant{}, remembered
	case tooShort:
		return token.Grant{}, livesTooShort(tok, q)
	case wait:
		select {
		case <-flight.done:
		case <-ctx.Done():
			return token.Grant{}, gaveUp(ctx)
		}
		if tok = flight.tok; flight.err != nil {
			if tok = d.loadedSince(s, q); tok.Secret.IsZero() {
				return token.Grant{}, flight.err
			}
		}
		if tok.Expiry.Sub(d.wall()) < q.MinTTL {
			return token.Grant{}, livesTooShort(tok, q)
		}
	}
	g.Token = tok
	if q.Trace != nil {
		traceToken(q.Trace, tok, d.wall())
	}
	return g, nil
}

// seek finds the profile that q is about, and what is to be told of it with a
// token. d.mu is held.
func (d *Daemon) seek(w who, name string, q token.Query) (p *profile, g token.Grant, err error) {
	g.Profile = name
	if q.URL != "" {
		g.Profile, g.Host, err = d.claim(w, name, q.URL)
	}
	if err == nil {
		p, err = d.use(w, g.Profile)
	}
	if err == nil && q.Trace != nil && !d.mayManage(w) {
		err = noTrace(w)
	}
	if err != nil {
		return nil, token.Grant{}, err
	}
	g.Present = p.present
	return p, g, nil
}

// loadedSince returns the token that s got while a flight for q failed, from a
// cache that could not be read before; the zero Token if there is none that q takes.
func (d *Daemon) loadedSince(s *slot, q token.Query) token.Token {
	d.mu.Lock()
	defer d.mu.Unlock()
	if decide(s, q, d.wall()) != serve {
		return token.Token{}
	}
	return s.tok
}

func gaveUp(ctx context.Context) error {
	return &token.Error{Code: token.ErrUnavailable, Message: "the issuer has not answered yet", Cause: context.Cause(ctx)}
}

func livesTooShort(t token.Token, q token.Query) error {
	return &token.Error{Code: token.ErrInvalid, Field: "min_ttl", Message: fmt.Sprintf(
		"the issuer's tokens live %v, which leaves less than the %v asked for", t.Life().Round(time.Second), q.MinTTL)}
}

// slot finds or makes the slot of a profile's target. d.mu is held.
func (d *Daemon) slot(p *profile, t token.Target, now time.Time) (*slot, error) {
	switch s := p.slotFor(t); {
	case s != nil:
		return s, nil
	case p.minter == nil:
		return nil, unable(p, "has no tokens to get")
	case len(p.slots) >= maxTargets:
		return nil, &token.Error{Code: token.ErrInvalid, Message: fmt.Sprintf(
			"profile %q is in use with %d scopes and audiences already, the most it can hold at a time", p.name, len(p.slots))}
	}
	s := &slot{profile: p, target: t, used: use{at: now}, place: -1}
	p.slots = append(p.slots, s)
	return s, nil
}

// held tells whether s is still a slot of a profile in force. d.mu is held.
func (d *Daemon) held(s *slot) bool {
	p := d.profiles[s.profile.name]
	return p != nil && p.slotFor(s.target) == s
}

// allSlots yields the slots of all profiles in force. d.mu is held.
func (d *Daemon) allSlots() iter.Seq[*slot] {
	return func(yield func(*slot) bool) {
		for _, p := range d.profiles {
			for _, s := range p.slots {
				if !yield(s) {
					return
				}
			}
		}
	}
}

// unable is the error for asking p for what its kind does not do.
func unable(p *profile, what string) *token.Error {
	return &token.Error{Code: token.ErrInvalid, Message: fmt.Sprintf(
		"profile %q %s: a profile of %s %s", p.name, what, p.kind, map[string]string{
			"mints": "obtains tokens", "signs": "signs requests", "verifies": "verifies tokens"}[p.does()])}
}

// noProfile is the error for a name that is not in force. d.mu is held.
func (d *Daemon) noProfile(name string) error {
	if text := d.bad[name]; text != "" && name != "" {
		return &token.Error{Code: token.ErrInvalid, Message: fmt.Sprintf("profile %q is not in force: %s", name, text)}
	}
	return noProfile(name)
}

func noProfile(name string) error {
	return &token.Error{Code: token.ErrNotFound, Message: fmt.Sprintf("no profile %q", name)}
}

// ask joins the flight of s, making one if there is none. d.mu is held.
func (d *Daemon) ask(s *slot) *flight {
	if s.flight == nil {
		s.flight = &flight{done: make(chan struct{})}
	}
	f := s.flight
	switch {
	case f.launched: // it lands even if tokend is stopping
	case d.stopped:
		d.end(s, token.Token{}, errStopping)
	case !f.urgent:
		f.urgent = true
		d.asked = append(d.asked, s)
		d.nudge()
	}
	return f
}

// nudge makes Run look again.
func (d *Daemon) nudge() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

var errStopping = &token.Error{Code: token.ErrUnavailable, Message: "tokend is stopping"}

// land takes the outcome of a flight, and how long that took: into the slot, to
// the waiters, into the queue for the cache.
func (d *Daemon) land(l launch, tok token.Token, err error, took time.Duration) {
	now, s := d.wall(), l.slot
	d.mu.Lock()
	defer d.mu.Unlock()
	defer d.nudge()
	l.lane.running--
	if l.renewal {
		d.renewals--
	}
	switch {
	case err == errStopping:
		d.end(s, token.Token{}, errStopping)
	case err != nil:
		failure := asError(err)
		l.lane.learn(failure, now)
		if s.err != nil && fromKeystore(s.err) != fromKeystore(failure) {
			s.failures = 0 // another cause: what it took to find the first says nothing about it
		}
		s.failures++
		s.failedAt = now
		s.heeded = !failure.RetryAt.IsZero()
		s.nextTry = retryAt(failure, s.failures, s.tok, now, rand.Float64())
		remembered := *failure
		remembered.RetryAt = s.nextTry
		s.err = &remembered
		s.remember(now, took, failure.Code)
		d.noteFailure(s, took)
		d.end(s, token.Token{}, s.err)
		if !d.cacheIn && !fromKeystore(s.err) {
			d.soil() // the keystore can be read by now
		}
		if errors.Is(s.err, token.ErrInvalid) && s.target != (token.Target{}) && d.held(s) {
			d.forget(s) // a scope or audience that makes no sense here
		}
	default:
		l.lane.learn(nil, now)
		tok.RenewAt = renewAt(tok, d.others(l.profile), rand.Float64())
		s.tok, s.err, s.failures, s.nextTry = tok, nil, 0, time.Time{}
		s.remember(now, took, "")
		d.clock = clock{tok.Skew, l.profile.issuer, now}
		d.noteSuccess(s, took)
		if d.held(s) {
			d.unsaved[s.key()] = s.record()
			d.soil()
		}
		d.end(s, tok, nil)
	}
	d.plan(s)
}

// end releases who waits for the flight of s. d.mu is held.
func (d *Daemon) end(s *slot, tok token.Token, err *token.Error) {
	f := s.flight
	s.flight = nil
	f.tok, f.err = tok, err
	close(f.done)
}

// asError gives every failure the form in which it is remembered and told.
func asError(err error) *token.Error {
	var e *token.Error
	if errors.As(err, &e) {
		return e
	}
	for _, code := range []token.Code{token.ErrLocked, token.ErrKeystore, token.ErrInvalid, token.ErrRejected} {
		if errors.Is(err, code) {
			return &token.Error{Code: code, Message: err.Error()}
		}
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return &token.Error{Code: token.ErrUnavailable, Message: "the issuer did not answer in time", Cause: err}
	}
	return &token.Error{Code: token.ErrInternal, Message: "an error that tokend has no name for; its log tells more", Cause: err}
}

func (s *slot) attrs(more ...any) []any {
	attrs := []any{"profile", s.profile.name}
	if s.target.Scope != "" {
		attrs = append(attrs, "scope", s.target.Scope)
	}
	if s.target.Audience != "" {
		attrs = append(attrs, "audience", s.target.Audience)
	}
	return append(attrs, more...)
}

// invalidateAgain is how soon a slot's token may be dropped again: a resource
// that refuses every token must not make tokend obtain one per call.
const invalidateAgain = 5 * time.Second

// Invalidate drops t, if it is still a token of the profile, so that the next
// caller gets a new one; the zero Secret stands for all of the profile's
// tokens, and no name for the profile that holds t. A token that is not held
// any more is no error: somebody was faster.
func (d *Daemon) Invalidate(ctx context.Context, name string, t token.Secret) error {
	now := d.wall()
	w := d.who(ctx)
	d.mu.Lock()
	defer d.mu.Unlock()
	if name == "" && !t.IsZero() {
		if name = d.holder(w, t); name == "" {
			return nil
		}
	}
	p, err := d.use(w, name)
	if err != nil {
		return err
	}
	var tooSoon time.Time
	dropped := 0
	for _, s := range p.slots {
		switch {
		case s.tok.Secret.IsZero() || !(t.IsZero() || s.tok.Secret.Equal(t)):
		case now.Before(s.invalidated.Add(invalidateAgain)):
			tooSoon = s.invalidated.Add(invalidateAgain)
		default:
			s.invalidated = now
			d.unsave(s)
			s.tok = token.Token{}
			d.deps.Log.Info("token invalidated by a caller", s.attrs()...)
			d.publish(p, token.Event{Kind: token.EventInvalidated, Target: s.target})
			d.plan(s)
			dropped++
		}
	}
	if dropped == 0 && !tooSoon.IsZero() {
		return &token.Error{Code: token.ErrUnavailable, RetryAt: tooSoon, Message: fmt.Sprintf(
			"the token of profile %q was replaced moments ago; if the new one is refused too, the cause lies elsewhere", name)}
	}
	return nil
}
