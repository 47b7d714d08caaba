package mint

import (
	"math/rand/v2"
	"testing"
	"time"

	"tokend/providers/token"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// tokenOf lives for life from noon on.
func tokenOf(life time.Duration) token.Token {
	return token.Token{Secret: token.NewSecret("t"), Issued: noon, Expiry: noon.Add(life)}
}

func TestRenewAt(t *testing.T) {
	const day = 24 * time.Hour
	tests := []struct {
		name   string
		life   time.Duration
		advice time.Duration
		u      float64
		want   time.Duration
	}{
		{"an hour, early", time.Hour, 0, 0, 42 * time.Minute},
		{"an hour, middle", time.Hour, 0, 0.5, 45 * time.Minute},
		{"an hour, late", time.Hour, 0, 1, 48 * time.Minute},
		{"a day", day, 0, 0.5, 18 * time.Hour},
		{"twenty minutes: six before the end", 20 * time.Minute, 0, 0.5, 14 * time.Minute},
		{"five minutes: half the life", 5 * time.Minute, 0, 0.5, 150 * time.Second},
		{"a second: not twice within one", time.Second, 0, 0.9, time.Second},
		{"advice to renew every second", time.Hour, time.Second, 0.5, 6 * time.Minute},
		{"the issuer's advice", time.Hour, 20 * time.Minute, 0.5, 20 * time.Minute},
		{"advice past the end does not count", time.Hour, 2 * time.Hour, 0.5, 45 * time.Minute},
	}
	for _, tt := range tests {
		tok := tokenOf(tt.life)
		if tt.advice > 0 {
			tok.RenewAt = noon.Add(tt.advice)
		}
		if got := renewAt(tok, 0, tt.u).Sub(noon); got != tt.want {
			t.Errorf("%s: renewed after %v, want %v", tt.name, got, tt.want)
		}
	}
}

// Many tokens of one issuer are renewed a pace apart, as far as the second half
// of their life allows that.
func TestManyTokensAreRenewedOverALongerSpan(t *testing.T) {
	for _, c := range []struct {
		life         time.Duration
		others       int
		opens, close time.Duration
	}{
		{time.Hour, 9, 42 * time.Minute, 48 * time.Minute},
		{time.Hour, 3600, 42 * time.Minute, 48 * time.Minute},
		{time.Hour, 6000, 38 * time.Minute, 48 * time.Minute},
		{time.Hour, 100_000, 30 * time.Minute, 48 * time.Minute},
		{20 * time.Minute, 1200, 12 * time.Minute, 14 * time.Minute},
		{10 * time.Minute, 10_000, 5 * time.Minute, 5 * time.Minute},
	} {
		tok := tokenOf(c.life)
		if first, last := renewAt(tok, c.others, 0).Sub(noon), renewAt(tok, c.others, 1).Sub(noon); first != c.opens || last != c.close {
			t.Errorf("%d tokens of %v beside: between %v and %v, want %v and %v", c.others, c.life, first, last, c.opens, c.close)
		}
	}
}

// Azure SDKs discard a token with under 300 s left.
func TestRenewalLeavesAzureSDKsContent(t *testing.T) {
	for life := 12 * time.Minute; life <= 24*time.Hour; life += time.Minute {
		for _, u := range []float64{0, 0.5, 0.999} {
			tok := tokenOf(life)
			if left := tok.Expiry.Sub(renewAt(tok, 0, u)); left < 300*time.Second {
				t.Fatalf("a token of %v is renewed with %v left", life, left)
			}
		}
	}
}

func TestRetryAt(t *testing.T) {
	unavailable := &token.Error{Code: token.ErrUnavailable}
	asks := func(after time.Duration) *token.Error {
		return &token.Error{Code: token.ErrUnavailable, RetryAt: noon.Add(after)}
	}
	none := token.Token{}
	tests := []struct {
		name     string
		err      *token.Error
		failures int
		tok      token.Token
		u        float64
		want     time.Duration
	}{
		{"first", unavailable, 1, none, 0.9, time.Second},
		{"fourth, least", unavailable, 4, none, 0, time.Second},
		{"fourth, most", unavailable, 4, none, 1, 8 * time.Second},
		{"hundredth, most", unavailable, 100, none, 1, 5 * time.Minute},
		{"Retry-After", asks(90 * time.Second), 1, none, 0.5, 90 * time.Second},
		{"Retry-After of the past", asks(-time.Hour), 1, none, 0.5, time.Second},
		{"Retry-After of ten years", asks(10 * 365 * 24 * time.Hour), 1, none, 0.5, time.Hour},
		{"Retry-After past a token's end", asks(50 * time.Minute), 1, tokenOf(10 * time.Minute), 0.5, 9 * time.Minute},
		{"Retry-After within a token's life", asks(5 * time.Minute), 1, tokenOf(10 * time.Minute), 0.5, 5 * time.Minute},
		{"own wait past a token's end", unavailable, 9, tokenOf(4 * time.Minute), 0.99, 4*time.Minute - 24*time.Second},
		{"Retry-After past the end of a token about to end", asks(time.Hour), 9, tokenOf(4 * time.Minute), 0.99, 4*time.Minute - 24*time.Second},
		{"rejected", &token.Error{Code: token.ErrRejected}, 1, none, 0, 5 * time.Minute},
		{"rejected, most", &token.Error{Code: token.ErrRejected}, 9, none, 1, 10 * time.Minute},
		{"locked", &token.Error{Code: token.ErrLocked}, 1, none, 0.5, 5 * time.Second},
		{"long locked", &token.Error{Code: token.ErrLocked}, 50, none, 0.5, time.Minute},
	}
	for _, tt := range tests {
		if got := retryAt(tt.err, tt.failures, tt.tok, noon, tt.u).Sub(noon); got != tt.want {
			t.Errorf("%s: tried again after %v, want %v", tt.name, got, tt.want)
		}
	}
}

// An outage must not become a flood: at most 20 attempts in ten minutes, by
// the least patient of 200 profiles.
func TestOutageIsNotHammered(t *testing.T) {
	err := &token.Error{Code: token.ErrUnavailable}
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		attempts, now := 0, noon
		for now.Before(noon.Add(10 * time.Minute)) {
			attempts++
			now = retryAt(err, attempts, token.Token{}, now, random.Float64())
		}
		if attempts > 20 {
			t.Fatalf("%d attempts in ten minutes", attempts)
		}
	}
}

func TestDecide(t *testing.T) {
	unavailable := &token.Error{Code: token.ErrUnavailable}
	rejected := &token.Error{Code: token.ErrRejected}
	locked := &token.Error{Code: token.ErrLocked}
	tests := []struct {
		name string
		slot slot
		q    token.Query
		at   time.Duration // after noon, when a token of an hour was issued
		want verdict
	}{
		{"no token", slot{}, token.Query{}, 0, wait},
		{"fresh", slot{tok: tokenOf(time.Hour)}, token.Query{}, 10 * time.Minute, serve},
		{"expired", slot{tok: tokenOf(time.Hour)}, token.Query{}, time.Hour, wait},
		{"dying", slot{tok: tokenOf(time.Hour)}, token.Query{}, time.Hour - 10*time.Second, wait},
		{"last served", slot{tok: tokenOf(time.Hour)}, token.Query{}, time.Hour - 11*time.Second, serve},
		{"from the future: the clock was set back", slot{tok: tokenOf(time.Hour)}, token.Query{}, -2 * time.Hour, wait},
		{"ten years later", slot{tok: tokenOf(time.Hour)}, token.Query{}, 10 * 365 * 24 * time.Hour, wait},
		{"enough life", slot{tok: tokenOf(time.Hour)}, token.Query{MinTTL: 20 * time.Minute}, 40 * time.Minute, serve},
		{"too little life", slot{tok: tokenOf(time.Hour)}, token.Query{MinTTL: 20 * time.Minute}, 41 * time.Minute, wait},
		{"more life than the issuer gives", slot{tok: tokenOf(time.Hour)}, token.Query{MinTTL: 2 * time.Hour}, time.Second, serve},
		{"a fresh one, please", slot{tok: tokenOf(time.Hour)}, token.Query{Fresh: true}, time.Minute, wait},
		{"a fresh one that just came", slot{tok: tokenOf(time.Hour)}, token.Query{Fresh: true}, time.Second / 2, serve},
		{"valid while the issuer is down", slot{tok: tokenOf(time.Hour), err: unavailable, nextTry: noon.Add(2 * time.Hour)}, token.Query{}, 50 * time.Minute, serve},
		{"expired while the issuer is down", slot{tok: tokenOf(time.Hour), err: unavailable, failedAt: noon.Add(time.Hour), nextTry: noon.Add(2 * time.Hour)}, token.Query{}, time.Hour, refuse},
		{"time for another try", slot{err: unavailable, nextTry: noon}, token.Query{}, 0, wait},
		{"during an outage, moments after an attempt", slot{err: unavailable, failedAt: noon, nextTry: noon.Add(time.Hour)}, token.Query{}, outageAgain - 1, refuse},
		{"during an outage", slot{err: unavailable, failedAt: noon, nextTry: noon.Add(time.Hour)}, token.Query{}, outageAgain, wait},
		{"after a refusal, too soon", slot{err: rejected, failedAt: noon, nextTry: noon.Add(time.Hour)}, token.Query{}, refusalAgain - 1, refuse},
		{"after a refusal", slot{err: rejected, failedAt: noon, nextTry: noon.Add(time.Hour)}, token.Query{}, refusalAgain, wait},
		{"insisting after an outage", slot{err: unavailable, failedAt: noon, nextTry: noon.Add(time.Hour)}, token.Query{Fresh: true}, 0, wait},
		{"insisting after a refusal", slot{err: rejected, failedAt: noon, nextTry: noon.Add(time.Hour)}, token.Query{Fresh: true}, 0, wait},
		{"against Retry-After", slot{err: unavailable, retryAfter: noon.Add(time.Hour), failedAt: noon, nextTry: noon.Add(time.Hour)}, token.Query{}, 30 * time.Minute, refuse},
		{"insisting against Retry-After", slot{err: unavailable, retryAfter: noon.Add(time.Hour), failedAt: noon, nextTry: noon.Add(time.Hour)}, token.Query{Fresh: true}, 30 * time.Minute, refuse},
		{"after Retry-After", slot{err: unavailable, retryAfter: noon.Add(time.Minute), failedAt: noon, nextTry: noon.Add(time.Hour)}, token.Query{}, time.Minute, wait},
		{"perhaps unlocked by now", slot{err: locked, failedAt: noon, nextTry: noon.Add(time.Hour)}, token.Query{}, 0, wait},
		{"under way", slot{flight: &flight{}, err: unavailable, nextTry: noon.Add(time.Hour)}, token.Query{}, 0, wait},
		{"a renewal under way delays no one", slot{tok: tokenOf(time.Hour), flight: &flight{}}, token.Query{}, 50 * time.Minute, serve},
	}
	for _, tt := range tests {
		if got := decide(&tt.slot, tt.q, noon.Add(tt.at)); got != tt.want {
			t.Errorf("%s: verdict %d, want %d", tt.name, got, tt.want)
		}
	}
}

func TestNextAt(t *testing.T) {
	const hour = time.Hour
	always := &Tokens{src: Source{Always: true, Idle: hour}}
	used := &Tokens{src: Source{Idle: hour}}
	renewing := tokenOf(hour)
	renewing.RenewAt = noon.Add(45 * time.Minute)
	scoped := token.Target{Scope: "s"}
	tests := []struct {
		name string
		slot slot
		now  time.Duration
		want time.Duration
	}{
		{"never obtained", slot{of: always}, 0, 0},
		{"to be renewed", slot{of: always, tok: renewing}, 0, 45 * time.Minute},
		{"failed", slot{of: always, tok: renewing, nextTry: noon.Add(50 * time.Minute)}, 46 * time.Minute, 50 * time.Minute},
		{"used lately", slot{of: used, tok: renewing, used: Use{At: noon}}, 0, 45 * time.Minute},
		{"not used for long: forgotten when it expires", slot{of: used, tok: renewing, used: Use{At: noon.Add(-hour)}}, 0, hour},
		{"a scope asked for by hand", slot{of: always, target: scoped, tok: renewing, used: Use{At: noon.Add(-hour)}}, 0, hour},
		{"a scope that was refused", slot{of: always, target: scoped, used: Use{At: noon}, err: &token.Error{Code: token.ErrRejected}}, 0, forgetAfter},
		{"a scope in use", slot{of: always, target: scoped, tok: renewing, used: Use{At: noon}}, 0, 45 * time.Minute},
		{"the clock went back", slot{of: always, tok: renewing}, -2 * hour, -2 * hour},
	}
	for _, tt := range tests {
		if got := tt.slot.nextAt(noon.Add(tt.now)).Sub(noon); got != tt.want {
			t.Errorf("%s: next after %v, want %v", tt.name, got, tt.want)
		}
	}
}
