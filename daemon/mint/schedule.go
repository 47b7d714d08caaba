package mint

import (
	"errors"
	"math"
	"slices"
	"time"

	"tokend/providers/token"
)

// When to renew and when to try again, as pure functions of now. Chance comes
// in as u, uniform in [0,1), so that every outcome can be written in a table.

const (
	// renewAhead leaves Azure SDKs content: they discard a token with under
	// 300 s left.
	renewAhead = 6 * time.Minute

	firstRetry = time.Second
	lastRetry  = 5 * time.Minute
	// longestRetryAfter bounds what an issuer may ask for.
	longestRetryAfter = time.Hour
	// slowRetry is for refusals that more attempts will not fix.
	slowRetry = 5 * time.Minute

	firstKeystoreRetry = 5 * time.Second
	lastKeystoreRetry  = time.Minute
)

// renewAt returns when to obtain the successor of t: when the issuer advised it
// (refresh_in, but not before a tenth of its life), else at 75 % ± 5 % of its
// life or six minutes before its end, whichever is earlier, but not before half
// its life. Never twice within a second.
//
// Where others have tokens of the same issuer, perhaps obtained at the same
// moment, the span of that opens earlier, so that one renewal every pace fits
// into it.
func renewAt(t token.Token, others int, u float64) time.Time {
	life := t.Life()
	if t.RenewAt.After(t.Issued) && t.RenewAt.Before(t.Expiry) {
		return later(t.RenewAt, t.Issued.Add(life/10), t.Issued.Add(firstRetry))
	}
	closes := max(life/2, min(fraction(life, 0.80), life-renewAhead))
	opens := max(life/2, min(fraction(life, 0.70), closes-time.Duration(others)*pace))
	return later(t.Issued.Add(opens+fraction(closes-opens, u)), t.Issued.Add(firstRetry))
}

// retryAt returns when to try again after err, the failures-th failure in a row
// (1 is the first), while t is cached (the zero Token if there is none).
func retryAt(err *token.Error, failures int, t token.Token, now time.Time, u float64) time.Time {
	switch {
	case errors.Is(err, token.ErrLocked), errors.Is(err, token.ErrKeystore):
		return now.Add(doubled(firstKeystoreRetry, lastKeystoreRetry, failures))
	case !errors.Is(err, token.ErrUnavailable):
		return now.Add(slowRetry + fraction(slowRetry, u))
	}
	// Full jitter, yet never two attempts within a second.
	ceiling := doubled(firstRetry, lastRetry, failures)
	at := later(now.Add(firstRetry+fraction(ceiling-firstRetry, u)), earlier(err.RetryAt, now.Add(longestRetryAfter)))
	// A long wait must not cost a token that still lives its last try, shortly before
	// it can no longer be served.
	last := t.Expiry.Add(-max(min(time.Minute, t.Life()/10), 2*t.Expiry.Sub(t.ServeUntil())))
	if last.After(now.Add(firstRetry)) && last.Before(at) {
		at = last
	}
	return at
}

// doubled is first × 2^(n-1), at most last.
func doubled(first, last time.Duration, n int) time.Duration {
	for ; n > 1 && first < last; n-- {
		first *= 2
	}
	return min(first, last)
}

func fraction(d time.Duration, f float64) time.Duration {
	return time.Duration(math.Round(float64(d) * f))
}

// A verdict is what to do with a caller.
type verdict int

const (
	serve  verdict = iota // hand out the cached token, if it lives as long as asked
	wait                  // join or start a flight, answer with what it brings
	refuse                // answer with the remembered error
)

const (
	// freshAgain is how soon a caller who insists on a new token, or on a
	// longer-lived one, gets the one that just came.
	freshAgain = time.Second
	// noBetter is the age under which a new token would be no better: it would
	// not live longer either.
	noBetter = time.Minute
	// insistAgain is how soon after a profile's last attempt a caller who insists
	// on a new token makes tokend ask the issuer again.
	insistAgain = time.Second
	// outageAgain and refusalAgain are how soon after a failure a caller without a
	// token does.
	outageAgain  = 5 * time.Second
	refusalAgain = 30 * time.Second
)

// decide returns what to do at now with a caller who asks q of s.
func decide(s *slot, q token.Query, now time.Time) verdict {
	need := s.tok.State(now) == token.Expired
	switch {
	case need:
	case q.Fresh:
		need = now.Sub(s.tok.Issued) >= freshAgain
	case s.tok.Expiry.Sub(now) < q.MinTTL:
		need = s.flight != nil || now.Sub(s.tok.Issued) >= min(noBetter, s.tok.Life()/2)
	}
	switch {
	case !need:
		return serve
	case s.flight != nil, s.err == nil, !now.Before(s.askAgain()), q.Fresh && !now.Before(s.retryAfter),
		fromKeystore(s.err): // refusing spares no issuer, and the person may just have unlocked the keyring
		return wait
	}
	return refuse
}

// askAgain returns from when on a caller makes tokend ask the issuer again after
// the last failure: not before the issuer wants it.
func (s *slot) askAgain() time.Time {
	pause := refusalAgain
	if errors.Is(s.err, token.ErrUnavailable) {
		pause = outageAgain
	}
	return later(earlier(s.nextTry, s.failedAt.Add(pause)), s.retryAfter)
}

// refusal is the last failure as callers learn it: with when to ask again.
func (s *slot) refusal() *token.Error {
	err := *s.err
	err.RetryAt = s.askAgain()
	return &err
}

// keystoreAgain is how soon after a keystore's refusal it is asked again for
// callers who wait: they may be many, and ask again and again.
const keystoreAgain = 250 * time.Millisecond

// rest returns how much longer to hold back a flight that callers wait for.
func (f *flight) rest(now time.Time) time.Duration {
	s := f.slot
	switch {
	case s.err != nil && fromKeystore(s.err) && !now.Before(s.failedAt):
		return s.failedAt.Add(keystoreAgain).Sub(now)
	case f.insisted && !now.Before(s.of.launched):
		return s.of.launched.Add(insistAgain).Sub(now)
	}
	return 0
}

// fromKeystore reports whether an error is this machine's keystore's and not the
// issuer's.
func fromKeystore(err error) bool {
	return errors.Is(err, token.ErrLocked) || errors.Is(err, token.ErrKeystore)
}

// forgetAfter is how long we remember a target that no one wants renewed after
// its last use, to report its last error.
const forgetAfter = 10 * time.Minute

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
	due := s.tok.RenewAt
	if lead := s.of.src.Lead; lead > 0 && s.target == (token.Target{}) {
		due = earlier(due, later(s.tok.Expiry.Add(-lead), s.tok.Issued.Add(s.tok.Life()/2)))
	}
	if s.tok.State(now) == token.Expired {
		due = now
	}
	if due = later(due, s.nextTry); s.wanted(later(due, now)) {
		return due
	}
	return later(s.tok.Expiry, s.nextTry, s.used.At.Add(forgetAfter))
}

func later(times ...time.Time) time.Time { return slices.MaxFunc(times, time.Time.Compare) }

func earlier(times ...time.Time) time.Time { return slices.MinFunc(times, time.Time.Compare) }
