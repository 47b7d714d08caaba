package jose

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"tokend/providers/token"
)

const (
	// keysAge is the age at which keys are fetched again, keysEnd the age at
	// which they are forgotten.
	keysAge = time.Hour
	keysEnd = 24 * time.Hour
	// fetchPause follows every fetch: tokens with invented key IDs must not cause a
	// request each. maxPause bounds a Retry-After.
	fetchPause = 10 * time.Second
	maxPause   = time.Hour
	// fetchLimit bounds a fetch, of metadata and keys together; patience bounds
	// how long a token waits for it while keys are known.
	fetchLimit = 30 * time.Second
	patience   = time.Second
)

// A keySet holds the keys of one issuer. It fetches them when they are first
// needed; while the issuer cannot be reached, they stay usable for a day.
type keySet struct {
	issuer string
	fetch  func(context.Context) ([]publicKey, error)

	mu    sync.Mutex
	known knownKeys
	// flight is closed when the current fetch ends; nil if there is none.
	flight chan struct{}
}

func (k *keySet) snapshot() knownKeys {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.known
}

// knownKeys are what is known at some time. Their times are wall-clock times:
// monotonic ones stand still while a machine sleeps.
type knownKeys struct {
	keys []publicKey
	// fetched is when the keys came, zero if never; tried is when the last fetch
	// ended, and nextTry when the next one may begin.
	fetched, tried, nextTry time.Time
	// failure is why the last fetch failed, nil if it did not.
	failure *token.Error
}

// usable reports whether the keys may still be used.
func (k knownKeys) usable(now time.Time) bool {
	return !k.fetched.IsZero() && now.Sub(k.fetched) < keysEnd
}

// old reports whether to fetch the keys again. If the clock was set back, their
// age is unknown.
func (k knownKeys) old(now time.Time) bool {
	age := now.Sub(k.fetched)
	return age < 0 || age >= keysAge
}

// mayFetch respects the pause after a fetch. If the clock was set back since
// then, the pause is over.
func (k knownKeys) mayFetch(now time.Time) bool {
	return now.Before(k.tried) || !now.Before(k.nextTry)
}

// after returns what is known when a fetch has ended.
func (k knownKeys) after(keys []publicKey, err error, now time.Time) knownKeys {
	k.tried, k.nextTry, k.failure = now, now.Add(fetchPause), nil
	if err == nil {
		k.keys, k.fetched = keys, now
		return k
	}
	failure := token.Error{Code: token.ErrUnavailable, Message: err.Error(), Cause: err}
	if e, ok := errors.AsType[*token.Error](err); ok {
		failure = *e
	}
	k.nextTry = now.Add(min(max(fetchPause, failure.RetryAt.Sub(now)), maxPause))
	failure.RetryAt = k.nextTry
	k.failure = &failure
	return k
}

// find returns the key that a token must be signed with: the only one that fits
// its algorithm, of those with its kid if it has one. It returns any other of that
// kid if there is none, whose algorithm the token's is not.
func (k knownKeys) find(id, algorithm string) (key publicKey, ok bool) {
	found := 0
	for _, candidate := range k.keys {
		switch {
		case id != "" && candidate.id != id:
		case slices.Contains(candidate.algorithms, algorithm):
			key = candidate
			found++
		case id != "" && found == 0:
			key = candidate
		}
	}
	return key, found == 1 || found == 0 && key.public != nil
}

// key returns the key that a token must be signed with. The error is a flaw if
// the issuer has no such key, and ErrUnavailable if it could not be asked.
func (k *keySet) key(ctx context.Context, id, algorithm string) (publicKey, error) {
	now := time.Now().Round(0)
	known := k.snapshot()
	if key, found := known.find(id, algorithm); found && known.usable(now) {
		if known.old(now) {
			k.begin(ctx, now)
		}
		return key, nil
	}
	known, err := k.look(ctx, now)
	if err != nil {
		return publicKey{}, err
	}
	key, found := known.find(id, algorithm)
	switch {
	case found:
		return key, nil
	case id != "":
		return publicKey{}, Flaw(ReasonUnknownKey, "the issuer has no key %s", Quote(id))
	}
	return publicKey{}, Flaw(ReasonUnknownKey, "the token names no key, and the issuer has not exactly one for %s", Quote(algorithm))
}

// look returns the keys after another fetch, if one is allowed, because those
// that are known were not enough. The error is ErrUnavailable if the last fetch
// failed or takes too long.
func (k *keySet) look(ctx context.Context, now time.Time) (knownKeys, error) {
	if flight := k.begin(ctx, now); flight != nil {
		if k.snapshot().usable(now) { // or a slow issuer would let a stranger occupy all connections
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, patience)
			defer cancel()
		}
		select {
		case <-flight:
		case <-ctx.Done():
			return knownKeys{}, &token.Error{Code: token.ErrUnavailable, Topic: "timeout", Cause: ctx.Err(),
				Message: k.issuer + " is slow: its keys are still being fetched"}
		}
	}
	known := k.snapshot()
	if known.failure != nil {
		return knownKeys{}, known.failure
	}
	return known, nil
}

// begin starts a fetch if there is none and the pause is over. It returns the
// current fetch, nil if there is none. The fetch goes on when its caller gives up.
func (k *keySet) begin(ctx context.Context, now time.Time) <-chan struct{} {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.flight != nil || !k.known.mayFetch(now) {
		return k.flight
	}
	flight := make(chan struct{})
	k.flight = flight
	go func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchLimit)
		defer cancel()
		keys, err := k.fetch(ctx)
		k.mu.Lock()
		defer k.mu.Unlock()
		k.known = k.known.after(keys, err, time.Now().Round(0))
		k.flight = nil
		close(flight)
	}()
	return flight
}
