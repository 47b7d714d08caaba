package mint

import (
	"slices"
	"testing"
	"time"

	"tokend/providers/token"
)

// A limitedIssuer answers after some time, and takes so many requests a second
// (a token bucket that holds what a second brings); zero for any number.
type limitedIssuer struct {
	thinks    time.Duration
	perSecond float64
	asksFor   time.Duration // Retry-After; zero: it does not say when

	bucket float64
	filled time.Time
}

func (i *limitedIssuer) ask(now time.Time) *token.Error {
	if i.perSecond == 0 {
		return nil
	}
	i.bucket = min(i.perSecond, i.bucket+i.perSecond*now.Sub(i.filled).Seconds())
	i.filled = now
	if i.bucket < 1 {
		e := &token.Error{Code: token.ErrUnavailable, Topic: token.RateLimited}
		if i.asksFor > 0 {
			e.RetryAt = now.Add(i.asksFor)
		}
		return e
	}
	i.bucket--
	return nil
}

// A course is how the renewals of a queue went.
type course struct {
	done     []time.Duration // when each token was renewed
	refused  int
	together int // most at a time
	inSecond int // most started within a second
}

// runQueue plays n renewals that come due at noon, of tokens that can be served
// for so long, until all are done or that time is over.
func runQueue(n int, served time.Duration, host *limitedIssuer) (c course) {
	host.bucket, host.filled = host.perSecond, noon
	type landing struct {
		at  time.Time
		s   *slot
		err *token.Error
	}
	again := map[*slot]time.Time{}
	i := &issuer{}
	for range n {
		i.queue(&slot{tok: token.Token{Secret: token.NewSecret("t"), Issued: noon.Add(-time.Hour), Expiry: noon.Add(served + 10*time.Second)}}, noon)
	}
	var air []landing
	var started []time.Time
	for now := noon; now.Before(noon.Add(served)) && len(c.done) < n; now = now.Add(time.Millisecond) {
		for len(air) > 0 && !air[0].at.After(now) {
			f := air[0]
			air = air[1:]
			i.running--
			i.learn(f.err, now)
			if f.err == nil {
				c.done = append(c.done, now.Sub(noon))
				continue
			}
			c.refused++
			f.s.failures++
			again[f.s] = retryAt(f.err, f.s.failures, f.s.tok, now, 0.5)
		}
		for s, at := range again {
			if !at.After(now) {
				delete(again, s)
				i.queue(s, now)
			}
		}
		if len(i.due) == 0 || i.running >= issuerRenewals || i.nextAt(now).After(now) {
			continue
		}
		s := i.due[0]
		i.unqueue(s)
		i.launched = now
		i.running++
		started = append(started, now)
		air = append(air, landing{now.Add(host.thinks), s, host.ask(now)})
		c.together = max(c.together, i.running)
	}
	for j, from := range started {
		k, _ := slices.BinarySearchFunc(started, from.Add(time.Second), time.Time.Compare)
		c.inSecond = max(c.inSecond, k-j)
	}
	return c
}

// Ten thousand tokens that end at the same moment are renewed before that, by
// no more requests than it takes, at an issuer that has a limit and at one that
// has none.
func TestStormOfRenewals(t *testing.T) {
	const n = 10_000
	for name, c := range map[string]struct {
		served   time.Duration
		issuer   limitedIssuer
		inSecond int // most that may start within a second
		refused  int // most that may be refused
	}{
		"an hour's tokens, no limit":           {15 * time.Minute, limitedIssuer{thinks: 100 * time.Millisecond}, 25, 0},
		"an hour's tokens, a tight limit":      {15 * time.Minute, limitedIssuer{thinks: 100 * time.Millisecond, perSecond: 15, asksFor: time.Second}, 25, 200},
		"an hour's tokens, and no Retry-After": {15 * time.Minute, limitedIssuer{thinks: 100 * time.Millisecond, perSecond: 15}, 25, 200},
		"an hour's tokens, a long Retry-After": {15 * time.Minute, limitedIssuer{thinks: 100 * time.Millisecond, perSecond: 20, asksFor: 30 * time.Second}, 30, 200},
		"ten minutes' tokens, a limit":         {290 * time.Second, limitedIssuer{thinks: 100 * time.Millisecond, perSecond: 50, asksFor: time.Second}, 75, 200},
		"five minutes' tokens, no limit":       {140 * time.Second, limitedIssuer{thinks: 100 * time.Millisecond}, 175, 0},
		"five minutes' tokens, a limit":        {140 * time.Second, limitedIssuer{thinks: 100 * time.Millisecond, perSecond: 100, asksFor: time.Second}, 150, 200},
	} {
		t.Run(name, func(t *testing.T) {
			got := runQueue(n, c.served, &c.issuer)
			if len(got.done) < n {
				t.Fatalf("%d of %d tokens were renewed in time; %d refused", len(got.done), n, got.refused)
			}
			t.Logf("half after %v, the last after %v; %d refused, %d at a time, %d in a second", got.done[n/2], got.done[n-1], got.refused, got.together, got.inSecond)
			if got.together > issuerRenewals || got.inSecond > c.inSecond || got.refused > c.refused {
				t.Errorf("%d at a time, at most %d; %d in a second, at most %d; %d refused, at most %d",
					got.together, issuerRenewals, got.inSecond, c.inSecond, got.refused, c.refused)
			}
		})
	}
}

// An issuer that hangs gets few attempts at a time, however long the queue.
func TestAHungIssuerGetsFewAttempts(t *testing.T) {
	if got := runQueue(10_000, 100*time.Second, &limitedIssuer{thinks: time.Hour}); got.together != issuerRenewals {
		t.Errorf("%d attempts at a time, want %d", got.together, issuerRenewals)
	}
}

// Whose token ends first is renewed first, even if the issuer asked for a pause
// that would cost it.
func TestTheTokenThatEndsFirstGoesFirst(t *testing.T) {
	i := &issuer{}
	i.learn(&token.Error{Code: token.ErrUnavailable, RetryAt: noon.Add(50 * time.Second)}, noon)
	soon, none := &slot{tok: tokenOf(time.Minute)}, &slot{}
	for _, s := range []*slot{none, soon, {tok: tokenOf(time.Hour)}} {
		i.queue(s, noon)
	}
	if at := i.nextAt(noon).Sub(noon); i.due[0] != soon || at < 24*time.Second || at > 29*time.Second {
		t.Errorf("the first one starts after %v", at)
	}
	i.unqueue(soon)
	if at := i.nextAt(noon).Sub(noon); i.due[0] != none || at != 50*time.Second {
		t.Errorf("one without a token starts after %v", at)
	}
}
