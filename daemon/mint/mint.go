// Package mint obtains tokens and keeps them fresh. It decides when to renew one
// (schedule.go), shares each attempt between all callers who wait for it (run.go),
// limits what an issuer is asked for at a time (issuer.go), and keeps a copy of the
// tokens in the cache (cache.go).
package mint

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"time"

	"tokend/providers/token"
)

// Options are what a Mint needs of others.
type Options struct {
	Cache Cache
	// Event is called with what happens, except for when, one call at a time. It must
	// neither block nor call the Mint.
	Event func(token.Event)
	// Alive is called at each turn of Run's loop, at least every Pulse (zero:
	// whenever there is something to do). If it stays away, Run hangs.
	Alive func()
	Pulse time.Duration
	// Network delivers a value when the network may have changed, so that issuers
	// out of reach are asked again. It may be nil.
	Network <-chan struct{}
	// Now is the wall clock, which may be set.
	Now func() time.Time
	// Steady is a clock that is neither set nor slewed, from any beginning.
	Steady func() time.Duration
	// Log must not block: some lines are written while callers wait.
	Log *slog.Logger
}

// A Source is what a Mint needs to know of a profile.
type Source struct {
	Name, Kind string
	Minter     token.Minter
	// Issuer is the host that the tokens come from.
	Issuer string
	// Fingerprint stands for everything that decides which token the profile gets.
	Fingerprint string
	// Always renews the profile's own token even if no one asks for it. Other
	// tokens are renewed until no one has asked for the Idle time.
	Always bool
	Idle   time.Duration
	// Lead is how long before its expiry the profile's own token must have a
	// successor; zero leaves that to the schedule.
	Lead time.Duration
}

// A Mint keeps the tokens of all profiles. Its methods may be called from any
// goroutine; Run must be running for anything to be obtained.
type Mint struct {
	Options
	wake  chan struct{} // tells Run to look again
	dirty chan struct{} // tells keepCache that there is something to write

	mu       sync.Mutex
	tokens   map[string]*Tokens // by profile
	issuers  map[string]*issuer // by host
	asked    []*flight          // callers wait for these; not launched yet
	renewals int                // under way
	next     time.Time          // when to look for renewals again
	stopped  bool
	cache    cacheState
	clock    clock
	// keyringLocked is what the last attempts found.
	keyringLocked bool
}

// New makes a Mint without profiles.
func New(o Options) *Mint {
	return &Mint{
		Options: o,
		wake:    make(chan struct{}, 1),
		dirty:   make(chan struct{}, 1),
		tokens:  map[string]*Tokens{},
		issuers: map[string]*issuer{},
		cache:   cacheState{save: map[token.Record]token.Record{}, drop: map[token.Record]token.Record{}},
	}
}

// now is the wall clock: a monotonic reading would stand still in suspend.
func (m *Mint) now() time.Time { return m.Now().Round(0) }

// Tokens are the tokens of one profile. Mint.mu guards them. A nil Tokens, of a
// profile that has none, can be started and removed.
type Tokens struct {
	mint   *Mint
	issuer *issuer
	src    Source
	slots  []*slot               // one for each target, at most maxTargets
	tally  map[token.Code]uint64 // the outcomes of attempts; "" is a success

	launched time.Time // when the last attempt was
}

// A slot holds one token of a profile and what is being done about it.
type slot struct {
	of     *Tokens
	target token.Target

	tok  token.Token
	used Use
	gone bool // no longer a slot of the profile
	// flight is the attempt under way or asked for, nil if there is none.
	flight *flight
	// err is why the last attempt failed, nil after a success.
	err      *token.Error
	failures int
	// It failed last at failedAt, and without a success between since failing.
	failing, failedAt time.Time
	nextTry           time.Time
	// retryAfter is before when the issuer does not want to be asked, zero if it
	// did not say.
	retryAfter time.Time
	// warnedExpiry is the expiry of the last token that we warned about.
	warnedExpiry time.Time
	// invalidated is when a caller last had a token dropped.
	invalidated time.Time
	// askers are tools that were given tok.
	askers  map[string]asker
	history []token.Attempt // the newest first; replaced, never changed
	// next is when to obtain the next token, or to forget the slot. While a renewal
	// waits at the issuer, renewBy is when it has to start; zero otherwise.
	next, renewBy time.Time
}

func (s *slot) record() token.Record {
	return token.Record{Profile: s.of.src.Name, Target: s.target, Fingerprint: s.of.src.Fingerprint, Token: s.tok}
}

// A flight is one attempt to obtain a token, shared by all who wait for it.
type flight struct {
	slot *slot
	src  Source // the profile as it was at the launch
	// renewal: no caller had asked for it at the launch; insisted: only callers who
	// insist on a new token have.
	renewal, insisted bool
	trace             *token.Trace // of the caller who asked first

	done chan struct{} // closed when tok and err are set
	tok  token.Token
	err  *token.Error
}

// fly makes the flight of s. Mint.mu is held.
func (s *slot) fly() *flight {
	s.flight = &flight{slot: s, done: make(chan struct{})}
	return s.flight
}

const (
	// maxTargets bounds the scopes and audiences for which a profile has tokens at
	// a time. The last quarter is for root and tokend's own user.
	maxTargets = 64
	// targetsOfUser bounds those that another user was the last to ask for.
	targetsOfUser = maxTargets / 4
)

// Set keeps tokens for a profile, once they are started. old are its tokens so
// far, nil if it has none; they stay if the fingerprint and the issuer are the same.
func (m *Mint) Set(old *Tokens, src Source) *Tokens {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := old
	if old == nil || old.src.Fingerprint != src.Fingerprint || old.src.Issuer != src.Issuer {
		t = &Tokens{mint: m, tally: map[token.Code]uint64{}}
		if old != nil {
			t.tally = old.tally
			m.drop(old)
		}
		if m.issuers[src.Issuer] == nil {
			m.issuers[src.Issuer] = &issuer{}
		}
		t.issuer = m.issuers[src.Issuer]
		t.issuer.profiles++
	}
	t.src = src
	m.tokens[src.Name] = t
	if src.Always && t.slot(token.Target{}) == nil {
		t.slots = append(t.slots, &slot{of: t})
	}
	return t
}

// A Proof is the token that showed that a credential works, and how long the
// issuer took. The zero Proof stands for a credential that was not tried.
type Proof struct {
	Token token.Token
	Took  time.Duration
}

// Try obtains a token for a profile that the Mint does not keep tokens for, to
// prove that its credential works.
func (m *Mint) Try(ctx context.Context, src Source) (Proof, error) {
	begin := time.Now()
	tok, err := m.obtain(ctx, src, token.Target{})
	if err != nil {
		return Proof{}, AsError(err)
	}
	return Proof{tok, time.Since(begin)}, nil
}

// Start has the tokens obtained and renewed from now on. With a proof, nothing
// is obtained before the proof's token is due.
func (t *Tokens) Start(p Proof) {
	if t == nil {
		return
	}
	m := t.mint
	now := m.now()
	m.mu.Lock()
	defer m.mu.Unlock()
	if !p.Token.Secret.IsZero() {
		s, _ := t.makeSlot(token.Target{}, Use{}) // for which there is always room
		s.tok, s.used = p.Token, Use{At: now}
		s.tok.RenewAt = renewAt(s.tok, t.issuer.profiles-1, rand.Float64())
		m.noteSuccess(s, p.Took)
		m.recache(s)
	}
	for _, s := range t.slots {
		m.plan(s)
	}
}

// Remove forgets the tokens of a profile. Flights under way land for the callers
// who wait for them.
func (t *Tokens) Remove() {
	if t != nil {
		t.mint.mu.Lock()
		defer t.mint.mu.Unlock()
		t.mint.drop(t)
	}
}

// drop is Remove. m.mu is held.
func (m *Mint) drop(t *Tokens) {
	for _, s := range slices.Backward(t.slots) {
		m.forget(s)
	}
	delete(m.tokens, t.src.Name)
	if t.issuer.profiles--; t.issuer.profiles == 0 {
		delete(m.issuers, t.src.Issuer)
	}
}

// forget drops a slot that no one wants. m.mu is held.
func (m *Mint) forget(s *slot) {
	m.dropToken(s)
	s.of.issuer.unqueue(s)
	s.gone = true
	s.of.slots = slices.DeleteFunc(s.of.slots, func(other *slot) bool { return other == s })
}

// slot returns the slot of a target, nil if there is none. Mint.mu is held.
func (t *Tokens) slot(target token.Target) *slot {
	for _, s := range t.slots {
		if s.target == target {
			return s
		}
	}
	return nil
}

// makeSlot returns the slot of a target and makes it if need be, and if there is room
// for one more of this user. Mint.mu is held.
func (t *Tokens) makeSlot(target token.Target, by Use) (*slot, error) {
	if s := t.slot(target); s != nil {
		return s, nil
	}
	trusted := func(uid int) bool { return uid == 0 || uid == os.Geteuid() }
	uid, others, own := by.By.UID, 0, 0
	for _, s := range t.slots {
		if !trusted(s.used.By.UID) || s.used.By == (token.User{}) { // the cache does not say whose it was
			others++
		}
		if s.used.By.UID == uid {
			own++
		}
	}
	hasRoom := len(t.slots) < maxTargets && (trusted(uid) || others < maxTargets-targetsOfUser && own < targetsOfUser)
	if !hasRoom && target != (token.Target{}) {
		return nil, &token.Error{Code: token.ErrInvalid, Message: fmt.Sprintf(
			"profile %q is in use with %d scopes and audiences already, %d of them by uid %d: there is no room for another", t.src.Name, len(t.slots), own, uid)}
	}
	s := &slot{of: t, target: target, used: by}
	t.slots = append(t.slots, s)
	return s, nil
}

// Get returns a token that lives at least q.MinTTL longer. A cached token is
// returned at once; otherwise the caller joins the attempt under way, until ctx
// ends. Errors are *token.Error.
func (t *Tokens) Get(ctx context.Context, q token.Query, by Use) (token.Token, error) {
	m, asker := t.mint, token.AskerOf(ctx)
	now := m.now()
	m.mu.Lock()
	defer m.mu.Unlock()
	s, err := t.makeSlot(q.Target, by)
	if err == nil {
		err = s.question(asker, now)
	}
	if err != nil {
		return token.Token{}, err
	}
	s.used = by
	tok := s.tok
	switch decide(s, q, now) {
	case refuse:
		q.Trace.Add("memory", "the last attempt failed; the issuer is not asked again before %s", s.askAgain().UTC().Format(time.RFC3339))
		return token.Token{}, s.refusal()
	case serve:
		q.Trace.Add("memory", "a good token is cached: the issuer is not asked")
		m.plan(s) // a token that no one wanted renewed is wanted again
	case wait:
		q.Trace.Add("memory", "no cached token will do: the issuer is asked")
		f := m.ask(s, q)
		m.mu.Unlock()
		err := f.wait(ctx)
		m.mu.Lock()
		now = m.now()
		switch {
		case err == nil:
			tok = f.tok
		case decide(s, q, now) == serve: // the cache was unlocked while the flight failed
			tok = s.tok
		default:
			return token.Token{}, err
		}
	}
	if tok.Expiry.Sub(now) < q.MinTTL {
		return token.Token{}, &token.Error{Code: token.ErrInvalid, Field: "min_ttl", Message: fmt.Sprintf(
			"the issuer's tokens live %v, which leaves less than the %v asked for", tok.Life().Round(time.Second), q.MinTTL)}
	}
	s.gave(asker, now)
	if q.Trace != nil { // a get allocates nothing
		q.Trace.Add("token", "lives %v, %v of that are left; the next is obtained at %s",
			tok.Life().Round(time.Second), tok.Expiry.Sub(now).Round(time.Second), tok.RenewAt.UTC().Format(time.RFC3339))
	}
	return tok, nil
}

// wait waits for the end of f.
func (f *flight) wait(ctx context.Context) error {
	select {
	case <-f.done:
	case <-ctx.Done():
		return &token.Error{Code: token.ErrUnavailable, Message: "the issuer has not answered yet", Cause: context.Cause(ctx)}
	}
	if f.err != nil {
		return f.err
	}
	return nil
}

// ask joins the flight of s, and makes it if there is none. m.mu is held.
func (m *Mint) ask(s *slot, q token.Query) *flight {
	if f := s.flight; f != nil {
		q.Trace.Add("wait", "another caller's attempt is under way; its steps are not shown here")
		f.insisted = f.insisted && (q.Fresh || s.err != nil)
		return f // it lands even if tokend is stopping
	}
	f := s.fly()
	f.insisted, f.trace = q.Fresh, q.Trace
	if m.stopped {
		f.land(token.Token{}, errStopping)
		return f
	}
	m.asked = append(m.asked, f)
	nudge(m.wake)
	return f
}

// nudge tells the goroutine that reads from c to look again.
func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

var errStopping = &token.Error{Code: token.ErrUnavailable, Message: "tokend is stopping"}

// land releases everyone who waits for f. Mint.mu is held.
func (f *flight) land(tok token.Token, err *token.Error) {
	f.slot.flight = nil
	f.tok, f.err = tok, err
	close(f.done)
}

// Current returns the token of the profile's own target that can be handed out
// now, the zero Token if there is none.
func (t *Tokens) Current() token.Token {
	t.mint.mu.Lock()
	defer t.mint.mu.Unlock()
	if s := t.slot(token.Target{}); s != nil && s.tok.State(t.mint.now()) != token.Expired {
		return s.tok
	}
	return token.Token{}
}

// invalidateAgain is how soon a person may have a slot's token dropped again.
const invalidateAgain = 5 * time.Second

// Invalidate drops a token, so that the next caller gets a new one;
// the zero Secret stands for all of them. It is no error if the profile no
// longer has the token: another caller was faster. by is who had it refused.
func (t *Tokens) Invalidate(secret token.Secret, by token.Asker) error {
	m := t.mint
	now := m.now()
	m.mu.Lock()
	defer m.mu.Unlock()
	var refused error
	dropped := 0
	for _, s := range t.slots {
		switch again := s.invalidated.Add(invalidateAgain); {
		case s.tok.Secret.IsZero() || !(secret.IsZero() || s.tok.Secret.Equal(secret)):
		case !secret.IsZero():
			refused = s.refuse(by, now)
		case now.Before(again):
			refused = &token.Error{Code: token.ErrUnavailable, RetryAt: again, Message: fmt.Sprintf(
				"the token of profile %q was replaced moments ago; if the new one is refused too, the cause lies elsewhere", t.src.Name)}
		default:
			s.invalidate(now)
			dropped++
		}
	}
	if dropped > 0 {
		return nil
	}
	return refused
}

// invalidate drops the token of s for a caller. Mint.mu is held.
func (s *slot) invalidate(now time.Time) {
	m := s.of.mint
	s.invalidated = now
	m.dropToken(s)
	m.Log.Info("token invalidated by a caller", s.attrs()...)
	s.event(token.Event{Kind: token.EventInvalidated})
	m.plan(s)
}

// Retry retries at once what failed, because a person changed something.
func (m *Mint) Retry() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.retry(func(*slot) bool { return true })
	nudge(m.dirty) // the keystore may be readable by now
}

// retry retries what failed as if that had been the first failure, but not before
// the issuer wants it. m.mu is held.
func (m *Mint) retry(which func(*slot) bool) {
	now := m.now()
	for _, t := range m.tokens {
		for _, s := range t.slots {
			if s.err != nil && which(s) {
				s.failures = 0 // also of a flight that is about to fail
				s.nextTry = earlier(s.nextTry, later(now, s.retryAfter))
				m.plan(s)
			}
		}
	}
	nudge(m.wake)
}

// AsError gives every failure the form in which it is remembered and shown.
func AsError(err error) *token.Error {
	if e, ok := errors.AsType[*token.Error](err); ok {
		return e
	}
	if code, ok := errors.AsType[token.Code](err); ok {
		return &token.Error{Code: code, Message: err.Error()}
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return &token.Error{Code: token.ErrUnavailable, Message: "the issuer did not answer in time", Cause: err}
	}
	return &token.Error{Code: token.ErrInternal, Message: "tokend does not know this error; its log has more", Cause: err}
}
