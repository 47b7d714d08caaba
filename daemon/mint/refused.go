package mint

import (
	"fmt"
	"slices"
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

// An asker is what is known of a token.Asker that was given the slot's token.
type asker struct {
	key          string
	issued       time.Time // of that token
	before, last time.Time // the last two times
	// refused is when it had the token refused whose predecessor was refused too.
	refused time.Time
}

// askerOf returns what is known of key with the token of s, nil if there is
// nothing.
func (s *slot) askerOf(key string) *asker {
	i := slices.IndexFunc(s.askers, func(a asker) bool { return a.key == key && a.issued.Equal(s.tok.Issued) })
	if i < 0 {
		return nil
	}
	return &s.askers[i]
}

// makeAsker is askerOf, but makes what is missing, in place of the oldest if need be.
func (s *slot) makeAsker(key string) *asker {
	if a := s.askerOf(key); a != nil {
		return a
	}
	s.askers = slices.DeleteFunc(s.askers, func(a asker) bool { return !a.issued.Equal(s.tok.Issued) })
	s.askers = append(s.askers[max(0, len(s.askers)+1-maxAskers):], asker{key: key, issued: s.tok.Issued})
	return &s.askers[len(s.askers)-1]
}

// gave remembers that by was given the token of s at now.
func (s *slot) gave(by token.Asker, now time.Time) {
	if by.Key != "" {
		a := s.makeAsker(by.Key)
		a.before, a.last = a.last, now
	}
}

// question looks at the question of by before it is answered: it may mean that the
// token was refused, and the answer may be that there is none. Mint.mu is held.
func (s *slot) question(by token.Asker, now time.Time) error {
	a := s.askerOf(by.Key)
	if a == nil || s.tok.State(now) == token.Expired {
		return nil
	}
	if now.Before(a.refused.Add(refusedPause)) {
		return s.refusedTwice(a)
	}
	switch by.Again {
	case 1, -1:
	case 2, -2:
		if now.Sub(a.before) > askedAgain {
			return nil
		}
	default:
		return nil
	}
	if err := s.refuse(by, now); by.Again > 0 {
		return err
	}
	return nil
}

// refuse drops the token of s, which by had refused, unless its predecessor was
// refused moments ago. Mint.mu is held.
func (s *slot) refuse(by token.Asker, now time.Time) error {
	if now.Before(s.invalidated.Add(refusedPause)) {
		a := &asker{refused: now}
		if by.Key != "" && by.Again >= 0 {
			a = s.makeAsker(by.Key)
			a.refused = now
			s.of.mint.Log.Warn("token refused, and so was the one before", s.attrs()...)
		}
		return s.refusedTwice(a)
	}
	s.invalidate(now)
	return nil
}

func (s *slot) refusedTwice(a *asker) error {
	return &token.Error{Code: token.ErrUnavailable, Topic: token.RefusedTwice, RetryAt: a.refused.Add(refusedPause).UTC(), Message: fmt.Sprintf(
		"the token of profile %q was refused, and so was the one before: the cause lies elsewhere", s.of.src.Name)}
}

// Refused reports whether one of the tokens was refused like its predecessor.
func (t *Tokens) Refused() bool {
	t.mint.mu.Lock()
	defer t.mint.mu.Unlock()
	return slices.ContainsFunc(t.slots, func(s *slot) bool {
		return slices.ContainsFunc(s.askers, func(a asker) bool { return a.issued.Equal(s.tok.Issued) && !a.refused.IsZero() })
	})
}
