package providers

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"tokend/providers/token"
)

const (
	// keysAge is the age at which known keys are fetched anew, keysEnd the age
	// at which they are forgotten.
	keysAge = time.Hour
	keysEnd = 24 * time.Hour
	// fetchPause is between two fetches while keys are known, emptyPause while
	// none are.
	fetchPause = time.Minute
	emptyPause = 5 * time.Second
	// fetchLimit bounds a fetch, of metadata and keys together.
	fetchLimit = 30 * time.Second
)

// A metadata says where an issuer's metadata is and what it is like.
type metadata struct {
	// urls are asked in turn, until one is there.
	urls []string
	// keysMember holds the URL of the key set.
	keysMember string
	// mustName: the metadata must name the issuer. If it does, it must always
	// be the right one.
	mustName bool
}

// issuerKeys are the keys of one issuer, as its metadata leads to them. They
// are fetched at the first need and kept: those that are known stay in force
// while the issuer cannot be reached, for a day.
type issuerKeys struct {
	client    *http.Client
	userAgent string
	issuer    string
	metadata  metadata
	policy    keyPolicy

	flight singleflight.Group
	mu     sync.Mutex
	known  keySet
}

// A keySet is what is known at some time. Wall-clock times: monotonic ones
// stand still while a machine sleeps.
type keySet struct {
	keys []verifyKey
	// fetched is when the keys came, zero if none ever did; tried is when the
	// last attempt ended, and failure what came of it.
	fetched, tried time.Time
	failure        error
}

// usable tells whether the keys are still in force.
func (s keySet) usable(now time.Time) bool {
	return !s.fetched.IsZero() && now.Sub(s.fetched) < keysEnd
}

// due tells whether it is time to fetch them anew, by their age.
func (s keySet) due(now time.Time) bool { return past(s.fetched, keysAge, now) && s.mayFetch(now) }

// mayFetch keeps tokens with invented key IDs from making requests.
func (s keySet) mayFetch(now time.Time) bool {
	if s.usable(now) {
		return past(s.tried, fetchPause, now)
	}
	return past(s.tried, emptyPause, now)
}

// past tells whether d has passed since a time; a clock that was set back says
// so too, because then nobody knows.
func past(since time.Time, d time.Duration, now time.Time) bool {
	age := now.Sub(since)
	return since.IsZero() || age < 0 || age >= d
}

// find gives the key that a token must be signed with. A token without a kid
// means the only key that fits its algorithm. known is false if there is none.
func (s keySet) find(id, algorithm string) (key verifyKey, known bool) {
	found := 0
	for _, k := range s.keys {
		if id != "" && k.id == id || id == "" && k.allows(algorithm) {
			key = k
			found++
		}
	}
	return key, found == 1
}

// answer is find in the words of a verdict: the error is a flaw, or what keeps
// the keys from being known.
func (s keySet) answer(id, algorithm string, now time.Time) (verifyKey, error) {
	if !s.usable(now) {
		return verifyKey{}, s.failure
	}
	key, known := s.find(id, algorithm)
	if known {
		return key, nil
	}
	text := "the token names no key, and the issuer has not exactly one for " + shown(algorithm)
	if id != "" {
		text = "the issuer has no key " + shown(id)
	}
	if s.failure != nil {
		text += ", as far as is known: " + s.failure.Error()
	}
	return verifyKey{}, flawed(reasonUnknownKey, "%s", text)
}

// key gives the key that a token must be signed with. The error is a flaw if
// the issuer has no such key, and ErrUnavailable if its keys are not known.
func (k *issuerKeys) key(ctx context.Context, id, algorithm string) (verifyKey, error) {
	now := time.Now().Round(0)
	set := k.snapshot()
	_, known := set.find(id, algorithm)
	switch {
	case known && set.usable(now):
		if set.due(now) {
			k.fetch(ctx) // and not waited for
		}
	case set.mayFetch(now):
		select {
		case r := <-k.fetch(ctx):
			set = r.Val.(keySet)
		case <-ctx.Done():
			return verifyKey{}, unavailable(k.issuer, "was not waited for: its keys are being fetched", ctx.Err())
		}
		now = time.Now().Round(0)
	}
	return set.answer(id, algorithm, now)
}

func (k *issuerKeys) snapshot() keySet {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.known
}

// fetch fetches the keys, once for all who ask at the same time, and whether or
// not the one who asked first goes on waiting.
func (k *issuerKeys) fetch(ctx context.Context) <-chan singleflight.Result {
	return k.flight.DoChan("", func() (any, error) {
		set := k.snapshot()
		if !set.mayFetch(time.Now().Round(0)) { // another flight has just landed
			return set, nil
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchLimit)
		defer cancel()
		keys, err := k.ask(ctx)
		set.tried, set.failure = time.Now().Round(0), err
		if err == nil {
			set.keys, set.fetched = keys, set.tried
		}
		k.mu.Lock()
		defer k.mu.Unlock()
		k.known = set
		return set, nil
	})
}

// ask goes from the metadata to the keys. Errors are ErrUnavailable.
func (k *issuerKeys) ask(ctx context.Context) ([]verifyKey, error) {
	address, err := k.discover(ctx)
	if err != nil {
		return nil, err
	}
	a, err := k.get(ctx, address)
	if err != nil {
		return nil, err
	}
	set, err := read(a, address, "application/jwk-set+json") // RFC 7517 §8.5.2
	if err != nil {
		return nil, err
	}
	keys, err := parseKeys(set, k.policy)
	if err != nil {
		return nil, unavailable(address, fmt.Sprintf("answered with %v", err), nil)
	}
	return keys, nil
}

// discover finds the URL of the key set.
func (k *issuerKeys) discover(ctx context.Context) (string, error) {
	var a answer
	var from string
	for _, from = range k.metadata.urls {
		var err error
		if a, err = k.get(ctx, from); err != nil {
			return "", err
		}
		if a.status/100 != 4 || overloaded(a.status) {
			break
		}
	}
	m, err := read(a, from)
	if err != nil {
		return "", err
	}
	if issuer := m.text("issuer"); issuer != k.issuer && (k.metadata.mustName || m.has("issuer")) {
		return "", unavailable(from, fmt.Sprintf("has metadata of another issuer, %s", shown(issuer)), nil)
	}
	address := m.text(k.metadata.keysMember)
	if u, err := url.Parse(address); err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil {
		return "", unavailable(from, fmt.Sprintf("has metadata in which %s is no https URL", k.metadata.keysMember), nil)
	}
	return address, nil
}

func (k *issuerKeys) get(ctx context.Context, address string) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return answer{}, unavailable(address, "cannot be asked", err)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Accept-Encoding", "identity")
	req.Header.Set("User-Agent", k.userAgent)
	a, err := roundTrip(k.client, req)
	if err != nil {
		return answer{}, unavailable(address, whyUnreachable(err), ctx.Err())
	}
	return a, nil
}

// read takes the JSON object out of an answer that address gave.
func read(a answer, address string, media ...string) (members, error) {
	words := "answered " + statusText(a.status)
	switch {
	case 300 <= a.status && a.status < 400:
		words = fmt.Sprintf("answered with a redirect (%s), which is not followed", statusText(a.status))
	case a.status == http.StatusOK:
		m, err := a.members(media...)
		if err == nil {
			return m, nil
		}
		words += fmt.Sprintf(" with %v", err)
	}
	err := unavailable(address, words, nil)
	err.RetryAt = a.retryAt()
	return nil, err
}

// unavailable tells of a URL that did not give what it should.
func unavailable(address, words string, cause error) *token.Error {
	address, _, _ = strings.Cut(address, "?")
	return &token.Error{Code: token.ErrUnavailable, Message: cut(printable(address), maxQuote) + " " + words, Cause: cause}
}
