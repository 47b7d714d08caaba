package mint

import (
	"container/heap"
	"slices"
	"time"

	"tokend/providers/token"
)

// An issuerQueue holds the attempts at one issuer, so that an issuer that hangs
// delays no other issuer's tokens, and a storm of renewals delays no caller. It
// decides how fast renewals follow each other: as slowly as their tokens allow,
// and no faster than the issuer takes them.
type issuerQueue struct {
	running    int
	urgent     []*slot // callers wait for these
	background heapOf[renewal]
	launched   time.Time // when the last background one was launched

	// interval is the time from one renewal to the next, lately.
	interval time.Duration
	// minInterval bounds it for an issuer that says that it is asked too often;
	// zero for one that does not. It did so last at slowed, and is not asked
	// for renewals until paused.
	minInterval    time.Duration
	slowed, paused time.Time
}

// A renewal is a flight that waits for its time.
type renewal struct {
	slot   *slot
	flight *flight
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
	// limitMemory is how long we remember what an idle issuer takes.
	limitMemory = 10 * time.Minute
)

// renewBy returns when the renewal of t that is queued at now has to start: half
// of what is left of t is a reserve for failures.
func renewBy(t token.Token, now time.Time) time.Time {
	if left := t.ServeUntil().Sub(now); !t.Secret.IsZero() && left > 0 {
		return now.Add(left / 2)
	}
	return now.Add(longestQueue)
}

// add queues a renewal.
func (q *issuerQueue) add(s *slot, now time.Time) {
	heap.Push(&q.background, timed[renewal]{renewBy(s.tok, now), renewal{s, s.flight}})
}

// next takes the next slot to launch out of the queue, nil if there is none now:
// one that callers wait for, or, if there is room for it, a renewal. again is
// when to look again even if nothing lands before; zero if nothing waits for its
// time.
func (q *issuerQueue) next(now time.Time, room bool) (s *slot, background bool, again time.Time) {
	for q.running < issuerFlights && len(q.urgent) > 0 {
		s, q.urgent = q.urgent[0], q.urgent[1:]
		if s.flight != nil && !s.flight.launched {
			return s, false, again
		}
	}
	q.prune()
	if len(q.background) == 0 {
		return nil, false, again
	}
	if at := q.nextAt(now); now.Before(at) {
		return nil, false, at
	}
	if q.running >= issuerRenewals || !room {
		return nil, false, again
	}
	q.interval = (7*q.interval + min(now.Sub(q.launched), pace)) / 8
	q.launched = now
	return heap.Pop(&q.background).(timed[renewal]).of.slot, true, again
}

// prune drops renewals in front that were launched for a caller.
func (q *issuerQueue) prune() {
	for len(q.background) > 0 {
		if r := q.background[0].of; r.slot.flight == r.flight && !r.flight.launched {
			return
		}
		heap.Pop(&q.background)
	}
}

// nextAt returns when to launch the first renewal: a pause ends early where it
// would cost a token. Times too far ahead are from before the clock was set back.
func (q *issuerQueue) nextAt(now time.Time) (at time.Time) {
	if paced := q.launched.Add(q.gap(now)); !paced.After(now.Add(slowest)) {
		at = paced
	}
	if !q.paused.After(now.Add(longestPause)) {
		at = later(at, earlier(q.paused, q.background[0].at))
	}
	return at
}

// gap returns how far apart renewals start now.
func (q *issuerQueue) gap(now time.Time) time.Duration {
	left := q.background[0].at.Sub(now)
	return max(min(pace, left/time.Duration(len(q.background))), fastest, q.minInterval)
}

// learn adapts to an attempt's outcome.
func (q *issuerQueue) learn(err *token.Error, now time.Time) {
	switch {
	case err == nil && q.minInterval > fastest:
		perSecond := float64(time.Second) / float64(q.minInterval)
		q.minInterval = time.Duration(float64(time.Second) / (perSecond + 1/perSecond))
	case err == nil:
		q.minInterval = 0
	case err.Topic == token.RateLimited || !err.RetryAt.IsZero():
		if now.Sub(q.slowed).Abs() >= slowAgain {
			q.minInterval = min(max(q.interval, q.minInterval, fastest)*4/3, slowest)
			q.slowed = now
		}
		q.paused = later(q.paused, now.Add(min(err.RetryAt.Sub(now), longestPause)))
	}
}

// done reports that nothing of the queue is worth keeping.
func (q *issuerQueue) done(now time.Time) bool {
	idle := q.running == 0 && len(q.urgent) == 0 && len(q.background) == 0
	return idle && now.Sub(q.launched).Abs() > pace && (q.minInterval == 0 || now.Sub(q.slowed).Abs() > limitMemory)
}

// waiting returns the slots that wait to be launched, some perhaps twice.
func (q *issuerQueue) waiting() []*slot {
	slots := slices.Clone(q.urgent)
	for _, r := range q.background {
		slots = append(slots, r.of.slot)
	}
	return slots
}
