package mint

import (
	"container/heap"
	"errors"
	"time"

	"tokend/providers/token"
)

// forgetAfter is how long we remember a target that no one wants renewed after
// its last use, to report its last error.
const forgetAfter = 10 * time.Minute

// dueAt returns when to obtain the next token of s.
func (s *slot) dueAt(now time.Time) time.Time {
	at := s.tok.RenewAt
	if lead := s.of.src.Lead; lead > 0 && s.target == (token.Target{}) {
		at = earlier(at, later(s.tok.Expiry.Add(-lead), s.tok.Issued.Add(s.tok.Life()/2)))
	}
	if s.tok.State(now) == token.Expired {
		at = now
	}
	return later(at, s.nextTry)
}

// wanted reports whether to renew s at the given moment even if no one asks.
func (s *slot) wanted(at time.Time) bool {
	if s.of.src.Always && s.target == (token.Target{}) {
		return true
	}
	if s.tok.Secret.IsZero() && s.err != nil && !errors.Is(s.err, token.ErrUnavailable) && !fromKeystore(s.err) {
		return false // we do not ask again for a scope that was refused
	}
	return at.Before(s.used.At.Add(s.of.src.Idle))
}

// nextAt returns when to do something about s: obtain its next token, or forget
// it.
func (s *slot) nextAt(now time.Time) time.Time {
	if due := s.dueAt(now); s.wanted(due) {
		return due
	}
	return s.forgottenAt()
}

// forgottenAt returns when to forget a slot that no one wants.
func (s *slot) forgottenAt() time.Time {
	return later(s.tok.Expiry, s.nextTry, s.used.At.Add(forgetAfter))
}

func later(t time.Time, others ...time.Time) time.Time {
	for _, o := range others {
		if o.After(t) {
			t = o
		}
	}
	return t
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// plan sets the timer of s. m.mu is held.
func (m *Mint) plan(s *slot) {
	if s.flight == nil && m.holds(s) {
		m.setTimer(s, s.nextAt(m.now()))
	}
}

// setTimer sets the timer of s, unless it fires before anyway: a timer may fire
// early. m.mu is held.
func (m *Mint) setTimer(s *slot, at time.Time) {
	if !s.timer.IsZero() && !at.Before(s.timer) {
		return
	}
	s.timer = at
	heap.Push(&m.timers, timed[*slot]{at, s})
	if m.timers[0].of == s { // else Run wakes up in time
		nudge(m.wake)
	}
}

// fire has the next token of a slot obtained, or forgets the slot. m.mu is held.
func (m *Mint) fire(t timed[*slot], now time.Time) {
	s := t.of
	if !t.at.Equal(s.timer) {
		return // there was an earlier one
	}
	s.timer = time.Time{}
	if s.flight != nil || !m.holds(s) {
		return
	}
	at, wanted := s.nextAt(now), s.wanted(now)
	if !wanted {
		at = s.forgottenAt()
	}
	switch {
	case at.After(now):
		m.setTimer(s, at)
	case wanted:
		s.flight = &flight{done: make(chan struct{})}
		m.queue(s).add(s, now)
	default:
		m.forget(s)
	}
}

// A heapOf is a heap of what has a time, the earliest first.
type heapOf[T any] []timed[T]

type timed[T any] struct {
	at time.Time
	of T
}

func (h heapOf[T]) Len() int           { return len(h) }
func (h heapOf[T]) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h heapOf[T]) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push and Pop are heap.Interface's.
func (h *heapOf[T]) Push(x any) { *h = append(*h, x.(timed[T])) }

func (h *heapOf[T]) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	(*h)[last] = timed[T]{}
	*h = (*h)[:last]
	return x
}
