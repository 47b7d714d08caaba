package jose

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"tokend/providers/strictjson"
	"tokend/providers/token"
)

func TestKeysAndTheTime(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		at                time.Duration
		usable, due, look bool
	}{
		{0, true, false, true},
		{keysAge, true, true, true},
		{keysEnd - 1, true, true, true},
		{keysEnd, false, true, true},
		{-time.Hour, true, true, true}, // the clock was set back
	} {
		s := keySet{fetched: now, tried: now}
		at := now.Add(tt.at)
		if s.usable(at) != tt.usable || s.due(at) != tt.due || s.takeLook(at) != tt.look {
			t.Errorf("%v later: %+v", tt.at, s)
		}
	}
	s := keySet{fetched: now, tried: now, refilled: now.Add(fetchBurst * fetchPause)}
	if s.takeLook(now) || !s.takeLook(now.Add(fetchPause)) || !s.takeLook(now.Add(-time.Hour)) {
		t.Errorf("looks that were used up: %+v", s)
	}
}

func TestWhenAnIssuerThatFailedIsAskedAgain(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		known bool
		wish  time.Duration // Retry-After
		want  time.Duration
	}{
		"no keys":                 {false, 0, emptyPause},
		"no keys, Retry-After":    {false, 30 * time.Second, 30 * time.Second},
		"keys":                    {true, 0, fetchPause},
		"keys, short Retry-After": {true, time.Second, fetchPause},
		"keys, Retry-After":       {true, 10 * time.Minute, 10 * time.Minute},
		"keys, long Retry-After":  {true, 10 * time.Hour, time.Hour},
	} {
		s := keySet{tried: now}
		if tt.known {
			s.fetched = now
		}
		failure := &token.Error{Code: token.ErrUnavailable, Message: "answered 503"}
		if tt.wish > 0 {
			failure.RetryAt = now.Add(tt.wish)
		}
		s = s.after(nil, failure, now)
		at := now.Add(tt.want)
		if s.mayFetch(at.Add(-1)) || !s.mayFetch(at) || !s.mayFetch(now.Add(-1)) || !s.failure.RetryAt.Equal(at) {
			t.Errorf("%s: %+v", name, s)
		}
		if s = s.after(nil, nil, at); s.failure != nil || !s.mayFetch(at) {
			t.Errorf("%s, and then keys: %+v", name, s)
		}
	}
}

func TestAFetchThatHasJustLandedIsNotMadeAgain(t *testing.T) {
	fetches := 0
	k := NewKeySet("https://a.example", KeyPolicy{}, func(context.Context) (strictjson.Object, string, error) {
		fetches++
		return strictjson.Object{"keys": json.RawMessage("[]")}, "https://a.example/jwks", nil
	})
	before, now := k.known.snapshot(), time.Now() // and all three go by that
	for range 3 {
		if set, err := k.look(t.Context(), before, now); err != nil || !set.usable(now) || fetches != 1 {
			t.Errorf("%+v, %v after %d fetches", set, err, fetches)
		}
	}
}

func TestAnotherIssuersKeysAreNotInherited(t *testing.T) {
	open := func(issuer string, explicit bool, algorithms ...string) *KeySet {
		return NewKeySet(issuer, KeyPolicy{algorithms, explicit}, nil)
	}
	for name, tt := range map[string]struct {
		old  *KeySet
		want bool
	}{
		"the same":          {open("https://a.example", false, "RS256"), true},
		"another issuer":    {open("https://b.example", false, "RS256"), false},
		"another algorithm": {open("https://a.example", false, "ES256"), false},
		"another kind":      {open("https://a.example", true, "RS256"), false},
	} {
		young := open("https://a.example", false, "RS256")
		young.Inherit(tt.old)
		if got := young.known == tt.old.known; got != tt.want {
			t.Errorf("%s: inherited is %v", name, got)
		}
	}
}
