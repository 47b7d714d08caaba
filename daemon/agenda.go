package daemon

import (
	"container/heap"
	"errors"
	"time"

	"tokend/providers/token"
)

// forgetAfter is how long a target that nobody wants renewed is remembered
// after its last use, so that its last error can be told.
const forgetAfter = 10 * time.Minute

// dueAt says when the next token of s is to be obtained.
func (s *slot) dueAt(now time.Time) time.Time {
	at := s.tok.RenewAt
	if lead := s.profile.lead(); lead > 0 && s.target == (token.Target{}) {
		early := later(s.tok.Expiry.Add(-lead), s.tok.Issued.Add(s.tok.Life()/2))
		if early.Before(at) {
			at = early
		}
	}
	if s.tok.State(now) == token.Expired {
		at = now
	}
	return later(at, s.nextTry)
}

// wanted says whether s is to be renewed at the given moment, asked or not.
func (s *slot) wanted(at time.Time) bool {
	if (s.profile.renew == RenewAlways || s.profile.sinks != nil) && s.target == (token.Target{}) {
		return true
	}
	if s.tok.Secret.IsZero() && s.err != nil && !errors.Is(s.err, token.ErrUnavailable) && !fromKeystore(s.err) {
		return false // a scope that was refused is not asked for again by itself
	}
	return at.Before(s.used.at.Add(s.profile.idle))
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
	return s.forgottenAt()
}

// forgottenAt says when a slot that nobody wants is of no use any more.
func (s *slot) forgottenAt() time.Time {
	return later(s.tok.Expiry, s.nextTry, s.used.at.Add(forgetAfter))
}

func later(t time.Time, others ...time.Time) time.Time {
	for _, o := range others {
		if o.After(t) {
			t = o
		}
	}
	return t
}

// others says how many profiles beside p have tokens of its issuer. d.mu is
// held.
func (d *Daemon) others(p *profile) int {
	if d.crowds == nil {
		d.crowds = map[string]int{}
		for _, p := range d.profiles {
			if p.minter != nil {
				d.crowds[p.issuer]++
			}
		}
	}
	return max(0, d.crowds[p.issuer]-1)
}

// plan puts s in its place in the agenda, or takes it out when there is
// nothing to do about it. d.mu is held.
func (d *Daemon) plan(s *slot) {
	if s.profile.sinks != nil {
		d.sink()
	}
	var at time.Time
	if d.held(s) {
		at = s.nextAt(d.wall())
	}
	listed, first := s.place >= 0, d.agenda.first()
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
	if s.place == 0 && (first.IsZero() || s.at.Before(first)) { // else Run wakes up in time
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

// first is when the earliest is due; the zero time if there is none.
func (a agenda) first() time.Time {
	if len(a) == 0 {
		return time.Time{}
	}
	return a[0].at
}
