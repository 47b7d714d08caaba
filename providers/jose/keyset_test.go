package jose

import (
	"context"
	"testing"
	"time"

	"tokend/providers/token"
)

func TestKeysAndTheTime(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	k := knownKeys{}.after(nil, nil, now)
	for _, tt := range []struct {
		at                    time.Duration
		usable, old, mayFetch bool
	}{
		{0, true, false, false},
		{fetchPause, true, false, true},
		{keysAge, true, true, true},
		{keysEnd - 1, true, true, true},
		{keysEnd, false, true, true},
		{-time.Hour, true, true, true}, // the clock was set back
	} {
		if at := now.Add(tt.at); k.usable(at) != tt.usable || k.old(at) != tt.old || k.mayFetch(at) != tt.mayFetch {
			t.Errorf("%v later: %+v", tt.at, k)
		}
	}
	if k := (knownKeys{}); k.usable(now) || !k.mayFetch(now) {
		t.Errorf("at the beginning: %+v", k)
	}
}

func TestWhenAnIssuerThatFailedIsAskedAgain(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for retryAfter, want := range map[time.Duration]time.Duration{
		0: fetchPause, time.Second: fetchPause, 10 * time.Minute: 10 * time.Minute, 10 * time.Hour: time.Hour,
	} {
		failure := &token.Error{Code: token.ErrUnavailable, Message: "answered 503", RetryAt: now.Add(retryAfter)}
		k := knownKeys{}.after(nil, failure, now)
		at := now.Add(want)
		if k.mayFetch(at.Add(-1)) || !k.mayFetch(at) || !k.mayFetch(now.Add(-1)) || !k.failure.RetryAt.Equal(at) {
			t.Errorf("Retry-After %v: %+v", retryAfter, k)
		}
		if k = k.after(nil, nil, at); k.failure != nil || !k.usable(at) {
			t.Errorf("Retry-After %v, and then keys: %+v", retryAfter, k)
		}
	}
}

func TestAnotherIssuersKeysAreNotInherited(t *testing.T) {
	open := func(issuer string, strict bool, algorithms ...string) *Verifier {
		return NewVerifier(Rules{Issuer: issuer, Strict: strict, Algorithms: algorithms}, func(context.Context) ([]Published, error) { return nil, nil })
	}
	for name, tt := range map[string]struct {
		old  *Verifier
		want bool
	}{
		"the same":          {open("https://a.example", false, "RS256"), true},
		"another issuer":    {open("https://b.example", false, "RS256"), false},
		"another algorithm": {open("https://a.example", false, "ES256"), false},
		"another kind":      {open("https://a.example", true, "RS256"), false},
	} {
		tt.old.keys.known.fetched = time.Now()
		young := open("https://a.example", false, "RS256")
		young.Inherit(tt.old)
		if got := !young.keys.known.fetched.IsZero(); got != tt.want {
			t.Errorf("%s: inherited is %v", name, got)
		}
	}
}
