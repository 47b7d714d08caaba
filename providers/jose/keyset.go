package jose

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"tokend/providers/strictjson"
	"tokend/providers/token"
)

const (
	// keysAge is the age at which keys are fetched again, keysEnd the age at
	// which they are forgotten.
	keysAge = time.Hour
	keysEnd = 24 * time.Hour
	// fetchPause follows a failed fetch while keys are known, emptyPause one
	// while none are; maxPause bounds a Retry-After.
	fetchPause = time.Minute
	emptyPause = 5 * time.Second
	maxPause   = time.Hour
	// fetchBurst is how often in a row tokens with unknown keys may cause a
	// fetch; each fetchPause allows one more.
	fetchBurst = 3
	// fetchLimit bounds a fetch, of metadata and keys together; patience bounds
	// how long a token waits for it while keys are known.
	fetchLimit = 30 * time.Second
	patience   = time.Second
)

// A Fetch gets an issuer's key set (RFC 7517 §5) and the URL that it is from.
// Errors are ErrUnavailable.
type Fetch func(context.Context) (set strictjson.Object, from string, err error)

// A KeySet holds the keys of one issuer. It fetches them when they are first
// needed; while the issuer cannot be reached, they stay usable for a day.
type KeySet struct {
	issuer string
	policy KeyPolicy
	fetch  Fetch
	known  *knownKeys
}

// NewKeySet returns the key set of an issuer. No keys are known yet.
func NewKeySet(issuer string, policy KeyPolicy, fetch Fetch) *KeySet {
	return &KeySet{issuer, policy, fetch, &knownKeys{}}
}

// Inherit shares the keys that old knows, if it has the same issuer and policy,
// so that they outlive a reload. old may be in use; k must not be yet.
func (k *KeySet) Inherit(old *KeySet) {
	if k.issuer == old.issuer && slices.Equal(k.policy.Algorithms, old.policy.Algorithms) && k.policy.Explicit == old.policy.Explicit {
		k.known = old.known
	}
}

// knownKeys are an issuer's keys, shared by the key sets that inherited them.
type knownKeys struct {
	mu  sync.Mutex
	set keySet
	// flight is closed when the current fetch ends; nil if there is none.
	flight chan struct{}
}

func (k *knownKeys) snapshot() keySet {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.set
}

// A keySet is what is known at some time. Its times are wall-clock times:
// monotonic ones stand still while a machine sleeps.
type keySet struct {
	keys []publicKey
	// fetched is when the keys came, zero if never; tried is when the last
	// attempt ended.
	fetched, tried time.Time
	// failure is why the last attempt failed, nil if it did not, and nextTry
	// when the next one may begin.
	failure *token.Error
	nextTry time.Time
	// refilled is when all of fetchBurst is there again.
	refilled time.Time
}

// usable reports whether the keys may still be used.
func (s keySet) usable(now time.Time) bool {
	return !s.fetched.IsZero() && now.Sub(s.fetched) < keysEnd
}

// due reports whether the keys are old enough to be fetched again.
func (s keySet) due(now time.Time) bool {
	age := now.Sub(s.fetched)
	return (age < 0 || age >= keysAge) && s.mayFetch(now)
}

// mayFetch respects the pause after a failure. If the clock was set back since
// then, the pause is over, because its age is unknown.
func (s keySet) mayFetch(now time.Time) bool {
	return now.Before(s.tried) || !now.Before(s.nextTry)
}

// takeLook reports whether an unknown key may cause a fetch, and counts it:
// tokens with invented key IDs must not cause a request each, and one of them
// must not hide a new key for long.
func (s *keySet) takeLook(now time.Time) bool {
	if !s.mayFetch(now) {
		return false
	}
	if !s.usable(now) {
		return true
	}
	if wait := s.refilled.Sub(now); wait < 0 || wait > fetchBurst*fetchPause { // or the clock was set back
		s.refilled = now
	}
	if s.refilled.Sub(now) > (fetchBurst-1)*fetchPause {
		return false
	}
	s.refilled = s.refilled.Add(fetchPause)
	return true
}

// after returns what is known when a fetch has ended.
func (s keySet) after(keys []publicKey, err error, now time.Time) keySet {
	s.tried = now
	if err == nil {
		s.keys, s.fetched = keys, now
		s.failure, s.nextTry = nil, time.Time{}
		return s
	}
	failure := token.Error{Code: token.ErrUnavailable, Message: err.Error(), Cause: err}
	if e := (*token.Error)(nil); errors.As(err, &e) {
		failure = *e
	}
	pause := emptyPause
	if s.usable(now) {
		pause = fetchPause
	}
	s.nextTry = now.Add(min(max(pause, failure.RetryAt.Sub(now)), maxPause))
	failure.RetryAt = s.nextTry
	s.failure = &failure
	return s
}

// find returns the key that a token must be signed with. A token without a kid
// means the only key that fits its algorithm.
func (s keySet) find(id, algorithm string) (key publicKey, ok bool) {
	found := 0
	for _, k := range s.keys {
		if id != "" && k.id == id || id == "" && slices.Contains(k.algorithms, algorithm) {
			key = k
			found++
		}
	}
	return key, found == 1
}

// key returns the key that a token must be signed with. The error is a flaw if
// the issuer has no such key, and ErrUnavailable if it could not be asked.
func (k *KeySet) key(ctx context.Context, id, algorithm string) (publicKey, error) {
	now := time.Now().Round(0)
	set := k.known.snapshot()
	if key, found := set.find(id, algorithm); found && set.usable(now) {
		if set.due(now) {
			k.begin(ctx, func(current *keySet) bool { return current.due(now) })
		}
		return key, nil
	}
	set, err := k.look(ctx, set, now)
	if err != nil {
		return publicKey{}, err
	}
	key, found := set.find(id, algorithm)
	switch {
	case found:
		return key, nil
	case id != "":
		return publicKey{}, Flaw(ReasonUnknownKey, "the issuer has no key %s", Quote(id))
	}
	return publicKey{}, Flaw(ReasonUnknownKey, "the token names no key, and the issuer has not exactly one for %s", Quote(algorithm))
}

// look returns the keys after another look at the issuer, if one is allowed, and
// ErrUnavailable if the last one failed or takes too long. The caller has seen
// the keys as they were, and they were not enough.
func (k *KeySet) look(ctx context.Context, seen keySet, now time.Time) (keySet, error) {
	news := func(current *keySet) bool { return current.tried.Equal(seen.tried) && current.takeLook(now) }
	if flight := k.begin(ctx, news); flight != nil {
		if seen.usable(now) { // or a slow issuer would let a stranger occupy all connections
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, patience)
			defer cancel()
		}
		select {
		case <-flight:
		case <-ctx.Done():
			return keySet{}, &token.Error{Code: token.ErrUnavailable, Topic: "timeout", Cause: ctx.Err(),
				Message: k.issuer + " is slow: its keys are still being fetched"}
		}
	}
	set := k.known.snapshot()
	if set.failure != nil {
		return keySet{}, set.failure
	}
	return set, nil
}

// begin starts a fetch if there is none and may allows one. It returns the
// current fetch, nil if there is none. The fetch goes on when its caller gives up.
func (k *KeySet) begin(ctx context.Context, may func(current *keySet) bool) <-chan struct{} {
	into := k.known
	into.mu.Lock()
	defer into.mu.Unlock()
	if into.flight != nil || !may(&into.set) {
		return into.flight
	}
	flight := make(chan struct{})
	into.flight = flight
	go func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchLimit)
		defer cancel()
		keys, err := k.ask(ctx)
		into.mu.Lock()
		defer into.mu.Unlock()
		into.set = into.set.after(keys, err, time.Now().Round(0))
		into.flight = nil
		close(flight)
	}()
	return flight
}

func (k *KeySet) ask(ctx context.Context) ([]publicKey, error) {
	set, from, err := k.fetch(ctx)
	if err != nil {
		return nil, err
	}
	keys, err := parseKeys(set, k.policy)
	if err != nil {
		return nil, &token.Error{Code: token.ErrUnavailable, Topic: "issuer-keys", Message: from + " answered with " + err.Error()}
	}
	return keys, nil
}
