package mint

import (
	"fmt"
	"time"

	"tokend/providers/token"
)

// What to do about a token that a server refuses, as helpers notice it
// (token.Asker): it is dropped once, and if its successor is refused too, the
// helpers get none for a while.

const (
	// askedAgain is in what time a tool asks once more that was refused.
	askedAgain = 10 * time.Second
	// refusedPause is how long after a token that was refused no other is dropped
	// for that reason, and how long helpers get none.
	refusedPause = time.Minute
	// maxAskers bounds those that are remembered with a token.
	maxAskers = 64
)

// An asker is what is known of a token.Asker that has the slot's token.
type asker struct {
	since time.Time
	times int // how often since then
	// refused is when it had the token refused whose predecessor was refused too.
	refused time.Time
}

// know remembers a, and forgets all others if there are too many.
func (s *slot) know(key string, a asker) {
	if s.askers == nil || len(s.askers) >= maxAskers {
		s.askers = map[string]asker{}
	}
	s.askers[key] = a
}

// gave remembers that by was given the token of s at now.
func (s *slot) gave(by token.Asker, now time.Time) {
	if by.Key == "" || by.Again < 1 {
		return
	}
	a := s.askers[by.Key]
	if now.Sub(a.since) > askedAgain {
		a.since, a.times = now, 0
	}
	a.times++
	s.know(by.Key, a)
}

// question looks at the question of by before it is answered: there may be no token
// for a while, or the helper has to find out first why the tool asks again. It does
// so once in askedAgain: of many that a tool runs at once, the last sees no other.
// Mint.mu is held.
func (s *slot) question(by token.Asker, now time.Time) error {
	a := s.askers[by.Key]
	if s.tok.State(now) == token.Expired {
		return nil
	}
	if now.Before(a.refused.Add(refusedPause)) {
		return s.refusedTwice(a)
	}
	switch {
	case by.Again == 1 && a.times > 0:
	case by.Again > 1 && a.times == by.Again && now.Sub(a.since) <= askedAgain:
		a.times++
		s.know(by.Key, a)
	default:
		return nil
	}
	return &token.Error{Code: token.ErrUnavailable, Detail: token.AskedAgain, Message: fmt.Sprintf(
		"the same tool has the token of profile %q already", s.of.src.Name)}
}

// refuse drops the token of s, which by had refused, unless its predecessor was
// refused moments ago. Mint.mu is held.
func (s *slot) refuse(by token.Asker, now time.Time) error {
	if !now.Before(s.invalidated.Add(refusedPause)) {
		s.invalidate(now)
		return nil
	}
	a := s.askers[by.Key]
	a.refused = now
	if by.Key != "" {
		s.know(by.Key, a)
		s.of.mint.Log.Warn("token refused, and so was the one before", s.attrs()...)
	}
	return s.refusedTwice(a)
}

func (s *slot) refusedTwice(a asker) error {
	return &token.Error{Code: token.ErrUnavailable, Topic: token.RefusedTwice, RetryAt: a.refused.Add(refusedPause).UTC(), Message: fmt.Sprintf(
		"the token of profile %q was refused, and so was the one before: the cause lies elsewhere", s.of.src.Name)}
}

// Refused reports whether one of the tokens was refused like its predecessor.
func (t *Tokens) Refused() bool {
	t.mint.mu.Lock()
	defer t.mint.mu.Unlock()
	for _, s := range t.slots {
		for _, a := range s.askers {
			if !a.refused.IsZero() {
				return true
			}
		}
	}
	return false
}
