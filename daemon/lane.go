package daemon

import (
	"container/heap"
	"slices"
	"time"

	"tokend/providers/token"
)

// A lane is what happens at one issuer, so that an issuer that hangs delays
// nobody else's tokens, and a storm of renewals no caller's. How fast renewals
// follow each other is decided here: as slowly as their tokens allow, and no
// faster than the issuer was found to take.
type lane struct {
	running    int
	urgent     []*slot // callers wait for these
	background queue
	paced      time.Time // when the last background one was launched

	// wider is how many renewals may be under way beside the usual number,
	// because the issuer answers and the queue is long.
	wider float64
	// cramped: a renewal waits for others to land, not for its time.
	cramped bool
	// usual is the time from one renewal to the next, lately.
	usual time.Duration
	// least is the same for the issuer that says that it is asked too often;
	// zero for one that does not. It did so last at slowed, and is not asked
	// for renewals until paused.
	least          time.Duration
	slowed, paused time.Time
}

const (
	// Attempts at one issuer at a time: renewals, usually and at most, and with
	// the ones that callers wait for.
	usualFlights = 8
	mostRenewals = 24
	allFlights   = 32
	// maxRenewals bounds the renewals at all issuers together. Attempts that
	// callers wait for do not count: the socket bounds those.
	maxRenewals = 64
	// Renewals at one issuer start this far apart, so that a start or a wake
	// with many profiles is no storm; less if the queue would take too long.
	pace    = 100 * time.Millisecond
	fastest = 5 * time.Millisecond
	// longestQueue is how long those may wait that have no token to serve.
	longestQueue = 100 * time.Second

	// An issuer that is asked too often is asked a quarter less, at most once a
	// second for what it says meanwhile is about the past, down to slowest; and
	// then a renewal a second more with each second in which it does not say so.
	slowAgain = time.Second
	slowest   = time.Second
	// longestPause bounds how long all renewals wait because one was told to.
	longestPause = time.Minute
	// limitMemory is how long it is remembered of an idle lane what its issuer
	// takes.
	limitMemory = 10 * time.Minute
)

// renewBy says until when the renewal of t that is queued at now is to start:
// with half of what is left of t as a reserve, for failures.
func renewBy(t token.Token, now time.Time) time.Time {
	if left := t.ServeUntil().Sub(now); !t.Secret.IsZero() && left > 0 {
		return now.Add(left / 2)
	}
	return now.Add(longestQueue)
}

// queue puts a renewal in its place.
func (l *lane) queue(s *slot, now time.Time) {
	heap.Push(&l.background, turn{s, s.flight, renewBy(s.tok, now)})
}

// next takes the next slot to launch out of the lane, nil if there is none
// now: one that callers wait for, or, if there is room for it, a renewal. again
// says when to look anew even if nothing lands before; zero if nothing waits
// for its time.
func (l *lane) next(now time.Time, room bool) (s *slot, renewal bool, again time.Time) {
	for l.running < allFlights && len(l.urgent) > 0 {
		s, l.urgent = l.urgent[0], l.urgent[1:]
		if s.flight != nil && !s.flight.launched {
			return s, false, again
		}
	}
	l.background.prune()
	if len(l.background) == 0 {
		return nil, false, again
	}
	if at := l.nextAt(now); now.Before(at) {
		return nil, false, at
	}
	l.cramped = l.running >= l.width()
	if l.cramped || !room {
		return nil, false, again
	}
	l.usual = (7*l.usual + min(now.Sub(l.paced), pace)) / 8
	l.paced = now
	return heap.Pop(&l.background).(turn).slot, true, again
}

// nextAt says when the first of the queue is to be launched: a pause ends early
// where it would cost a token. Times that lie too far ahead are from before the
// clock was set back.
func (l *lane) nextAt(now time.Time) (at time.Time) {
	if paced := l.paced.Add(l.gap(now)); !paced.After(now.Add(slowest)) {
		at = paced
	}
	if !l.paused.After(now.Add(longestPause)) {
		at = later(at, earlier(l.paused, l.background[0].by))
	}
	return at
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// gap is how far apart renewals start now.
func (l *lane) gap(now time.Time) time.Duration {
	left := l.background[0].by.Sub(now)
	return max(min(pace, left/time.Duration(len(l.background))), fastest, l.least)
}

// width is how many renewals may be under way.
func (l *lane) width() int { return usualFlights + int(l.wider) }

// learn makes of an attempt's outcome how many the issuer may be asked for.
func (l *lane) learn(err *token.Error, now time.Time) {
	switch {
	case err == nil:
		if l.cramped {
			l.wider = min(l.wider+1/float64(l.width()), mostRenewals-usualFlights)
		}
		if l.least > 0 {
			perSecond := float64(time.Second) / float64(l.least)
			l.least = time.Duration(float64(time.Second) / (perSecond + 1/perSecond))
		}
		if l.least <= fastest {
			l.least = 0
		}
	case err.Topic == token.RateLimited || !err.RetryAt.IsZero():
		if now.Sub(l.slowed).Abs() >= slowAgain {
			l.least = min(max(l.usual, l.least, fastest)*4/3, slowest)
			l.slowed = now
		}
		l.paused = later(l.paused, now.Add(min(err.RetryAt.Sub(now), longestPause)))
		fallthrough
	default:
		l.wider /= 2
	}
}

// done tells that nothing of the lane is worth keeping.
func (l *lane) done(now time.Time) bool {
	idle := l.running == 0 && len(l.urgent) == 0 && len(l.background) == 0
	return idle && now.Sub(l.paced).Abs() > pace && (l.least == 0 || now.Sub(l.slowed).Abs() > limitMemory)
}

// waiting yields the slots that wait to be launched, some perhaps twice.
func (l *lane) waiting() []*slot {
	slots := slices.Clone(l.urgent)
	for _, t := range l.background {
		slots = append(slots, t.slot)
	}
	return slots
}

// A turn is a renewal that waits for its time.
type turn struct {
	slot   *slot
	flight *flight
	by     time.Time
}

// A queue is a heap of turns, the most pressing one first.
type queue []turn

// prune drops what was launched for a caller meanwhile, as far as it stands in
// front.
func (q *queue) prune() {
	for len(*q) > 0 {
		if t := (*q)[0]; t.slot.flight == t.flight && !t.flight.launched {
			return
		}
		heap.Pop(q)
	}
}

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].by.Before(q[j].by) }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }

// Push and Pop are heap.Interface's.
func (q *queue) Push(x any) { *q = append(*q, x.(turn)) }

func (q *queue) Pop() any {
	last := len(*q) - 1
	t := (*q)[last]
	(*q)[last] = turn{}
	*q = (*q)[:last]
	return t
}
