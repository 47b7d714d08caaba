package providers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"tokend/providers/token"
)

const (
	// keysAge is the age at which known keys are fetched anew, keysEnd the age
	// at which they are forgotten.
	keysAge = time.Hour
	keysEnd = 24 * time.Hour
	// fetchPause follows a fetch that failed while keys are known, emptyPause
	// one that failed while none are.
	fetchPause = time.Minute
	emptyPause = 5 * time.Second
	// fetchBurst is how often in a row keys are looked for that the known ones
	// do not have; one such look is given back each fetchPause.
	fetchBurst = 3
	// fetchLimit bounds a fetch, of metadata and keys together; patience bounds
	// how long a token waits for it while keys are known.
	fetchLimit = 30 * time.Second
	patience   = time.Second
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
	known     *knownKeys
}

// knownKeys are what is known of an issuer's keys. Profiles that were opened one
// after the other share them.
type knownKeys struct {
	mu  sync.Mutex
	set keySet
	// flight is closed when the fetch under way ends; nil if there is none.
	flight chan struct{}
}

func (k *knownKeys) snapshot() keySet {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.set
}

// A keySet is what is known at some time. Wall-clock times: monotonic ones
// stand still while a machine sleeps.
type keySet struct {
	keys []verifyKey
	// fetched is when the keys came, zero if none ever did; tried is when the
	// last attempt ended.
	fetched, tried time.Time
	// failure is what came of the last attempt, nil if it gave the keys, and
	// nextTry when the issuer may be asked again after it failed.
	failure *token.Error
	nextTry time.Time
	// refilled is when all of fetchBurst is there again.
	refilled time.Time
}

// usable tells whether the keys are still in force.
func (s keySet) usable(now time.Time) bool {
	return !s.fetched.IsZero() && now.Sub(s.fetched) < keysEnd
}

// due tells whether it is time to fetch them anew, by their age.
func (s keySet) due(now time.Time) bool {
	age := now.Sub(s.fetched)
	return (age < 0 || age >= keysAge) && s.mayFetch(now)
}

// mayFetch heeds the pause after a failure. A clock that was set back since
// then ends it, because nobody knows how long ago that was.
func (s keySet) mayFetch(now time.Time) bool {
	return now.Before(s.tried) || !now.Before(s.nextTry)
}

// takeLook tells whether the issuer may be asked for a key that is not among
// the known ones, and counts it: tokens with invented key IDs must not make a
// request each, and one of them must not hide a new key for long.
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

// after is what is known once a fetch has ended.
func (s keySet) after(keys []verifyKey, err error, now time.Time) keySet {
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
	s.nextTry = now.Add(emptyPause)
	if s.usable(now) {
		s.nextTry = now.Add(fetchPause)
	}
	if failure.RetryAt.After(s.nextTry) {
		s.nextTry = failure.RetryAt
	}
	if last := now.Add(maxRetry); s.nextTry.After(last) {
		s.nextTry = last
	}
	failure.RetryAt = s.nextTry
	s.failure = &failure
	return s
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

// key gives the key that a token must be signed with. The error is a flaw if
// the issuer has no such key, and ErrUnavailable if that is not known.
func (k *issuerKeys) key(ctx context.Context, id, algorithm string) (verifyKey, error) {
	now := time.Now().Round(0)
	set := k.known.snapshot()
	if key, found := set.find(id, algorithm); found && set.usable(now) {
		if set.due(now) {
			k.refresh(ctx, now)
		}
		return key, nil
	}
	set, err := k.look(ctx, set, now)
	if err != nil {
		return verifyKey{}, err
	}
	key, found := set.find(id, algorithm)
	switch {
	case found:
		return key, nil
	case id != "":
		return verifyKey{}, flawed(reasonUnknownKey, "the issuer has no key %s", shown(id))
	}
	return verifyKey{}, flawed(reasonUnknownKey, "the token names no key, and the issuer has not exactly one for %s", shown(algorithm))
}

// refresh fetches keys that are due. Nobody waits for it.
func (k *issuerKeys) refresh(ctx context.Context, now time.Time) {
	k.known.mu.Lock()
	defer k.known.mu.Unlock()
	if k.known.flight == nil && k.known.set.due(now) {
		k.start(ctx)
	}
}

// look gives the keys as they are after another look at the issuer, if one is
// allowed, and ErrUnavailable if the last one failed or takes too long. seen is
// what was not enough.
func (k *issuerKeys) look(ctx context.Context, seen keySet, now time.Time) (keySet, error) {
	if flight := k.startLook(ctx, seen, now); flight != nil {
		var enough <-chan time.Time
		if seen.usable(now) { // or a slow issuer lets a stranger occupy all connections
			enough = time.After(patience)
		}
		select {
		case <-flight:
		case <-enough:
			return keySet{}, unavailable(k.issuer, finding{topicTimeout, "was not waited for: its keys are being fetched"}, nil)
		case <-ctx.Done():
			return keySet{}, unavailable(k.issuer, finding{topicTimeout, "was not waited for: its keys are being fetched"}, ctx.Err())
		}
	}
	set := k.known.snapshot()
	if set.failure != nil {
		return keySet{}, set.failure
	}
	return set, nil
}

// startLook gives the fetch under way, and starts one if there is none, none
// has ended since seen, and one is allowed; nil if there is nothing to wait for.
func (k *issuerKeys) startLook(ctx context.Context, seen keySet, now time.Time) <-chan struct{} {
	k.known.mu.Lock()
	defer k.known.mu.Unlock()
	if k.known.flight == nil && k.known.set.tried.Equal(seen.tried) && k.known.set.takeLook(now) {
		k.start(ctx)
	}
	return k.known.flight
}

// start starts a fetch, whether or not whoever needs it goes on waiting. The
// mutex must be held, and no other fetch be under way.
func (k *issuerKeys) start(ctx context.Context) {
	k.known.flight = make(chan struct{})
	go k.fetch(context.WithoutCancel(ctx), k.known)
}

func (k *issuerKeys) fetch(ctx context.Context, into *knownKeys) {
	ctx, cancel := context.WithTimeout(ctx, fetchLimit)
	defer cancel()
	keys, err := k.ask(ctx)
	into.mu.Lock()
	defer into.mu.Unlock()
	into.set = into.set.after(keys, err, time.Now().Round(0))
	close(into.flight)
	into.flight = nil
}

// same tells whether other reads the same keys in the same way.
func (k *issuerKeys) same(other *issuerKeys) bool {
	return k.issuer == other.issuer &&
		slices.Equal(k.metadata.urls, other.metadata.urls) && k.metadata.keysMember == other.metadata.keysMember && k.metadata.mustName == other.metadata.mustName &&
		slices.Equal(k.policy.algorithms, other.policy.algorithms) && k.policy.explicit == other.policy.explicit
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
		return nil, unavailable(address, finding{"issuer-keys", fmt.Sprintf("answered with %v", err)}, nil)
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
		return "", unavailable(from, finding{topicMetadata, fmt.Sprintf("has metadata of another issuer, %s", shown(issuer))}, nil)
	}
	address := m.text(k.metadata.keysMember)
	if u, err := url.Parse(address); err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil {
		return "", unavailable(from, finding{topicMetadata, fmt.Sprintf("has metadata in which %s is no https URL", k.metadata.keysMember)}, nil)
	}
	return address, nil
}

func (k *issuerKeys) get(ctx context.Context, address string) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return answer{}, unavailable(address, finding{topicMetadata, "cannot be asked"}, err)
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
	f := finding{topicMetadata, "answered " + statusText(a.status)}
	switch {
	case 300 <= a.status && a.status < 400:
		f = finding{topicRedirect, fmt.Sprintf("answered with a redirect (%s), which is not followed", statusText(a.status))}
	case overloaded(a.status):
		f.topic = overload(a.status)
	case a.status == http.StatusOK:
		m, err := a.members(media...)
		if err == nil {
			return m, nil
		}
		f = finding{nonsenseTopic(err), fmt.Sprintf("%s with %v", f.words, err)}
	}
	err := unavailable(address, f, nil)
	err.RetryAt = a.retryAt()
	return nil, err
}

// topicMetadata is the topic of an issuer's metadata that leads to no keys.
const topicMetadata = "issuer-metadata"

// unavailable tells of a URL that did not give what it should.
func unavailable(address string, f finding, cause error) *token.Error {
	address, _, _ = strings.Cut(address, "?")
	return &token.Error{Code: token.ErrUnavailable, Topic: f.topic, Message: cut(printable(address), maxQuote) + " " + f.words, Cause: cause}
}
