package mint

import (
	"slices"
	"sort"
	"time"

	"tokend/providers/token"
)

// An issuer decides when renewals at one host start: as slowly as their tokens
// allow, and no faster than the host takes them. So one that hangs delays no
// other's tokens, and a storm of renewals delays no caller. Mint.mu guards it.
type issuer struct {
	profiles int     // that have tokens of it
	running  int     // flights
	due      []*slot // renewals that wait; the one that has to start first is in front
	times
	// minInterval bounds the gap between renewals for an issuer that says that it is
	// asked too often; zero for one that does not.
	minInterval time.Duration
}

// times are when an issuer was last asked for a renewal, and said that it is asked
// too often; until when it is not asked for any; and its last failure and success.
type times struct {
	launched, slowed, paused, failed, answered time.Time
}

const (
	// Attempts at one issuer at a time: until a renewal starts, and until one
	// that callers wait for does.
	issuerRenewals = 16
	issuerFlights  = 32
	// maxRenewals bounds the renewals at all issuers together. Attempts that
	// callers wait for do not count: the socket bounds those.
	maxRenewals = 64
	// Renewals at one issuer start this far apart, so that a start or a wake
	// with many profiles is no storm; less if the queue would take too long.
	pace    = 100 * time.Millisecond
	fastest = 5 * time.Millisecond
	// longestQueue is how long those may wait that have no token to serve.
	longestQueue = 100 * time.Second

	// When an issuer says that it is asked too often, we ask a quarter less, down
	// to slowest, but not again within slowAgain: its answers lag behind. Then we
	// ask for one renewal a second more with each second without a complaint.
	slowAgain = time.Second
	slowest   = time.Second
	// longestPause bounds how long one Retry-After holds up all renewals.
	longestPause = time.Minute
)

// queue adds the renewal of s to those that wait. Half of what is left of its token
// is a reserve for failures.
func (i *issuer) queue(s *slot, now time.Time) {
	s.renewBy = now.Add(longestQueue)
	if left := s.tok.ServeUntil().Sub(now); left > 0 { // there is one
		s.renewBy = now.Add(left / 2)
	}
	at := sort.Search(len(i.due), func(n int) bool { return i.due[n].renewBy.After(s.renewBy) })
	i.due = slices.Insert(i.due, at, s)
}

// unqueue takes the renewal of s out of those that wait, if it is one.
func (i *issuer) unqueue(s *slot) {
	if !s.renewBy.IsZero() {
		s.renewBy = time.Time{}
		at := slices.Index(i.due, s)
		i.due = slices.Delete(i.due, at, at+1)
	}
}

// gap returns how far apart renewals start.
func (i *issuer) gap(now time.Time) time.Duration {
	if len(i.due) == 0 {
		return max(pace, i.minInterval)
	}
	return max(min(pace, i.due[0].renewBy.Sub(now)/time.Duration(len(i.due))), fastest, i.minInterval)
}

// nextAt returns when to launch the first renewal: a pause ends early where it
// would cost a token.
func (i *issuer) nextAt(now time.Time) time.Time {
	return later(i.launched.Add(i.gap(now)), earlier(i.paused, i.due[0].renewBy))
}

// learn adapts to an attempt's outcome.
func (i *issuer) learn(err *token.Error, now time.Time) {
	if err != nil {
		i.failed = now
	}
	switch {
	case err == nil && i.minInterval > fastest:
		perSecond := float64(time.Second) / float64(i.minInterval)
		i.minInterval = time.Duration(float64(time.Second) / (perSecond + 1/perSecond))
	case err == nil:
		i.minInterval = 0
	case err.Topic == token.RateLimited || !err.RetryAt.IsZero():
		if now.Sub(i.slowed) >= slowAgain {
			i.minInterval = min(i.gap(now)*4/3, slowest)
			i.slowed = now
		}
		i.paused = later(i.paused, now.Add(min(err.RetryAt.Sub(now), longestPause)))
	}
}
