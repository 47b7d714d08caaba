package daemon

import (
	"container/heap"
	"time"

	"tokend/providers/token"
)

// forgetAfter is how long a target that nobody wants renewed is remembered
// after its last use, so that its last error can be told.
const forgetAfter = 10 * time.Minute

// dueAt says when the next token of s is to be obtained.
func (s *slot) dueAt(now time.Time) time.Time {
	at := s.tok.RenewAt
	if s.tok.State(now) == token.Expired {
		at = now
	}
	return later(at, s.nextTry)
}

// wanted says whether s is to be renewed at the given moment, asked or not.
func (s *slot) wanted(at time.Time) bool {
	if s.profile.renew == RenewAlways && s.target == (token.Target{}) {
		return true
	}
	return at.Before(s.lastUsed.Add(s.profile.idle))
}

// nextAt says when something is to be done about s: obtain its next token, or
// forget it. The zero time: nothing, its flight is under way.
func (s *slot) nextAt(now time.Time) time.Time {
	if s.flight != nil {
		return time.Time{}
	}
	if due := s.dueAt(now); s.wanted(due) {
		return due
	}
	return later(s.tok.Expiry, s.nextTry, s.lastUsed.Add(forgetAfter))
}

func later(t time.Time, others ...time.Time) time.Time {
	for _, o := range others {
		if o.After(t) {
			t = o
		}
	}
	return t
}

// plan puts s in its place in the agenda, or takes it out when there is
// nothing to do about it. d.mu is held.
func (d *Daemon) plan(s *slot) {
	var at time.Time
	if d.slots[s.key()] == s {
		at = s.nextAt(wall())
	}
	listed := s.place >= 0
	switch {
	case at.IsZero() && listed:
		heap.Remove(&d.agenda, s.place)
	case at.IsZero():
	case listed && at.Equal(s.at):
	case listed:
		s.at = at
		heap.Fix(&d.agenda, s.place)
	default:
		s.at = at
		heap.Push(&d.agenda, s)
	}
	if s.place == 0 {
		d.nudge()
	}
}

// An agenda is a heap of slots, the earliest first.
type agenda []*slot

func (a agenda) Len() int           { return len(a) }
func (a agenda) Less(i, j int) bool { return a[i].at.Before(a[j].at) }
func (a agenda) Swap(i, j int) {
	a[i], a[j] = a[j], a[i]
	a[i].place, a[j].place = i, j
}

// Push and Pop are heap.Interface's.
func (a *agenda) Push(x any) {
	s := x.(*slot)
	s.place = len(*a)
	*a = append(*a, s)
}

func (a *agenda) Pop() any {
	last := len(*a) - 1
	s := (*a)[last]
	(*a)[last] = nil
	*a = (*a)[:last]
	s.place = -1
	return s
}

// A lane is what happens at one issuer, so that an issuer that hangs delays
// nobody else's tokens, and a storm of renewals no caller's.
type lane struct {
	running    int
	urgent     []*slot // callers wait for these
	background []*slot
}

const (
	// Attempts at one issuer at a time: renewals alone, and with the ones that
	// callers wait for.
	backgroundFlights = 8
	allFlights        = 32
)

// next takes the next slot to launch out of the lane, nil if it is full or
// nothing waits.
func (l *lane) next() *slot {
	for _, q := range []struct {
		waiting *[]*slot
		limit   int
	}{{&l.urgent, allFlights}, {&l.background, backgroundFlights}} {
		for len(*q.waiting) > 0 && l.running < q.limit {
			s := (*q.waiting)[0]
			*q.waiting = (*q.waiting)[1:]
			if s.flight != nil && !s.flight.launched {
				return s
			}
		}
	}
	return nil
}
