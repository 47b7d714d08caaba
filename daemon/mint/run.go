package mint

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"tokend/providers/token"
)

const (
	// longestSleep bounds how late a resumed laptop or a set clock is noticed:
	// timers stand still in suspend.
	longestSleep = 30 * time.Second
	// clockStep is the difference between wall and monotonic time that counts
	// as the clock having been set.
	clockStep = 5 * time.Second
	// flightLimit bounds one attempt: the HTTP round trip has a tighter limit
	// of its own, the keystore too.
	flightLimit = 30 * time.Second
)

// Run obtains and renews tokens until ctx ends. Every goroutine of the Mint
// starts here and has ended when Run returns. Run then releases with an error
// everyone who still waits, and saves what was obtained.
func (m *Mint) Run(ctx context.Context) {
	var flights, keeper sync.WaitGroup
	saving, saved := context.WithCancel(context.WithoutCancel(ctx))
	keeper.Go(func() { m.keepCache(saving) })
	defer keeper.Wait()
	defer saved()
	defer flights.Wait()
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.stopped = true // no more flights
		for _, f := range m.asked {
			f.land(token.Token{}, errStopping)
		}
	}()

	timer := time.NewTimer(0)
	defer timer.Stop()
	for last, lastWall := time.Now(), m.now(); ; {
		now, wall := time.Now(), m.now()
		m.noticeStep(wall.Sub(lastWall) - now.Sub(last))
		last, lastWall = now, wall
		m.Alive()
		launches, sleep := m.due(wall)
		if m.Pulse > 0 {
			sleep = min(sleep, m.Pulse)
		}
		for _, f := range launches {
			flights.Go(func() { m.fly(ctx, f) })
		}
		timer.Reset(sleep)
		select {
		case <-ctx.Done():
			return
		case <-m.wake:
		case <-m.Network:
			m.mu.Lock()
			m.retry(isUnavailable)
			m.mu.Unlock()
		case <-timer.C:
		}
	}
}

// noticeStep plans everything again when the wall clock has moved by step more
// than the monotonic one: it was set, or the machine slept.
func (m *Mint) noticeStep(step time.Duration) {
	if step.Abs() < clockStep {
		return
	}
	m.Log.Info("the clock moved", "by", step.Round(time.Second).String())
	m.mu.Lock()
	defer m.mu.Unlock()
	// After a step back, what was moments ago must not lie in the future.
	for _, t := range m.tokens {
		if step < 0 {
			t.launched, t.issuer.times = time.Time{}, times{}
		}
		for _, s := range t.slots {
			if step < 0 {
				s.invalidated, s.failing, s.failedAt, s.askers = time.Time{}, time.Time{}, time.Time{}, nil
				s.retryAfter = s.retryAfter.Add(step)
			}
			m.plan(s)
		}
	}
	m.retry(func(*slot) bool { return true })
}

// due returns what to launch now, and how long to sleep then.
func (m *Mint) due(now time.Time) (launches []*flight, sleep time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	sleep = longestSleep
	m.asked = slices.DeleteFunc(m.asked, func(f *flight) bool {
		wait := f.rest(now)
		switch {
		case wait > 0:
			sleep = min(sleep, wait)
		case f.slot.of.issuer.running < issuerFlights: // else a landing wakes Run
			launches = append(launches, m.launch(f))
			return true
		}
		return false
	})
	if !now.Before(m.next) {
		m.find(now)
	}
	sleep = min(sleep, m.next.Sub(now))
	for _, i := range m.issuers {
		for len(i.due) > 0 && i.running < issuerRenewals && m.renewals < maxRenewals { // else a landing wakes Run
			if wait := i.nextAt(now).Sub(now); wait > 0 {
				sleep = min(sleep, wait)
				break
			}
			f := i.due[0].fly()
			f.renewal = true
			m.renewals++
			i.launched = now
			launches = append(launches, m.launch(f))
		}
	}
	return launches, max(0, sleep)
}

// find queues the renewals that are due, forgets the slots that no one wants, and
// sets m.next. It looks at every slot: with 10,000 of them that takes one or two
// milliseconds. m.mu is held.
func (m *Mint) find(now time.Time) {
	m.next = now.Add(longestSleep)
	for _, t := range m.tokens {
		for _, s := range slices.Backward(t.slots) {
			if s.flight != nil || !s.renewBy.IsZero() {
				continue
			}
			if !s.next.After(now) {
				s.next = s.nextAt(now) // it may have been used since
			}
			switch {
			case s.next.After(now):
				m.next = earlier(m.next, s.next)
			case s.wanted(now):
				t.issuer.queue(s, now)
			default:
				m.forget(s)
			}
		}
	}
}

// launch counts f among the flights of its issuer. m.mu is held.
func (m *Mint) launch(f *flight) *flight {
	f.src = f.slot.of.src
	f.slot.of.issuer.unqueue(f.slot)
	f.slot.of.issuer.running++
	f.slot.of.launched = m.now()
	return f
}

// plan sets when to do something about s. m.mu is held.
func (m *Mint) plan(s *slot) {
	s.next = s.nextAt(m.now())
	if s.flight == nil && s.renewBy.IsZero() && s.next.Before(m.next) {
		m.next = s.next
		nudge(m.wake)
	}
}

// fly obtains a token for a slot.
func (m *Mint) fly(ctx context.Context, f *flight) {
	began := time.Now()
	f.trace.Add("attempt", "it is the turn of this one at %s", f.src.Issuer)
	tok, err := m.obtain(token.WithTrace(ctx, f.trace), f.src, f.slot.target)
	if err != nil && ctx.Err() != nil {
		err = errStopping
	}
	m.land(f, tok, err, time.Since(began))
}

// obtain asks the issuer once. A fault in a provider is an error of that profile
// alone.
func (m *Mint) obtain(ctx context.Context, src Source, target token.Target) (tok token.Token, err error) {
	defer func() {
		if r := recover(); r != nil {
			m.Log.Error("a provider panicked", "profile", src.Name, "stack", string(debug.Stack()))
			err = &token.Error{Code: token.ErrInternal, Message: fmt.Sprintf("the %s provider failed; tokend's log has more", src.Kind)}
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, flightLimit)
	defer cancel()
	return src.Minter.Mint(ctx, target)
}

// land takes the outcome of a flight, and how long that took: into the slot, to
// the waiters, and to the cache.
func (m *Mint) land(f *flight, tok token.Token, err error, took time.Duration) {
	now, s := m.now(), f.slot
	m.mu.Lock()
	defer m.mu.Unlock()
	defer nudge(m.wake)
	s.of.issuer.running--
	if f.renewal {
		m.renewals--
	}
	switch {
	case err == errStopping:
		f.land(token.Token{}, errStopping)
	case err != nil:
		failure := AsError(err)
		s.of.issuer.learn(failure, now)
		s.fail(failure, now)
		m.noteFailure(s, took)
		f.land(token.Token{}, s.refusal())
		if !m.cache.loaded && !fromKeystore(s.err) {
			nudge(m.dirty) // the keystore can be read by now
		}
		if errors.Is(s.err, token.ErrInvalid) && s.target != (token.Target{}) && !s.gone {
			m.forget(s) // a scope or audience that makes no sense here
		}
	default:
		s.of.issuer.learn(nil, now)
		tok.RenewAt = renewAt(tok, s.of.issuer.profiles-1, rand.Float64())
		s.tok, s.err, s.failures, s.nextTry, s.retryAfter, s.askers = tok, nil, 0, time.Time{}, time.Time{}, nil
		if i := s.of.issuer; !i.failed.Before(i.answered) {
			// What has failed since its last answer is tried again; what fails all the
			// same has a cause of its own.
			m.retry(func(s *slot) bool { return s.of.issuer == i && isUnavailable(s) && !s.failing.Before(i.answered) })
		}
		s.of.issuer.answered = now
		m.clock = clock{tok.Skew, f.src.Issuer, now, m.Steady()}
		m.noteSuccess(s, took)
		if !s.gone {
			m.recache(s)
		}
		f.land(tok, nil)
	}
	m.plan(s)
}

func isUnavailable(s *slot) bool { return errors.Is(s.err, token.ErrUnavailable) }

// fail remembers a failure and when to try again.
func (s *slot) fail(err *token.Error, now time.Time) {
	if s.err != nil && fromKeystore(s.err) != fromKeystore(err) {
		s.failures = 0 // another cause: the number of failures before says nothing about it
	}
	if s.err == nil {
		s.failing = now
	}
	s.failures++
	s.failedAt = now
	s.retryAfter = earlier(err.RetryAt, now.Add(longestRetryAfter))
	s.nextTry = retryAt(err, s.failures, s.tok, now, rand.Float64())
	remembered := *err
	remembered.RetryAt = s.nextTry
	s.err = &remembered
}
