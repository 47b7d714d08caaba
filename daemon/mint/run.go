package mint

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
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
	defer m.stop()

	timer := time.NewTimer(0)
	defer timer.Stop()
	for last, lastWall := time.Now(), m.now(); ; {
		now, wall := time.Now(), m.now()
		m.noticeStep(wall.Sub(lastWall)-now.Sub(last), wall)
		last, lastWall = now, wall
		if m.Alive != nil {
			m.Alive()
		}
		launches, sleep := m.due(wall)
		if m.Pulse > 0 {
			sleep = min(sleep, m.Pulse)
		}
		for _, l := range launches {
			flights.Go(func() { m.fly(ctx, l) })
		}
		timer.Reset(sleep)
		select {
		case <-ctx.Done():
			return
		case <-m.wake:
		case <-timer.C:
		}
	}
}

// stop refuses further flights and releases the callers of those that were
// never launched.
func (m *Mint) stop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stopped = true
	grounded := m.asked
	for _, q := range m.queues {
		grounded = append(grounded, q.waiting()...)
	}
	for _, s := range grounded {
		if s.flight != nil && !s.flight.launched {
			s.land(token.Token{}, errStopping)
		}
	}
}

// noticeStep plans everything again when the wall clock has moved by step more
// than the monotonic one: it was set, or the machine slept.
func (m *Mint) noticeStep(step time.Duration, now time.Time) {
	if step.Abs() < clockStep {
		return
	}
	m.Log.Info("the clock moved", "by", step.Round(time.Second).String())
	m.mu.Lock()
	defer m.mu.Unlock()
	m.clock = clock{}
	for _, t := range m.tokens {
		for _, s := range t.slots {
			s.nextTry = earlier(s.nextTry, now.Add(slowRetry))
			if step < 0 { // what was moments ago must not lie in the future now
				s.invalidated, s.failedAt = time.Time{}, time.Time{}
			}
			m.plan(s)
		}
	}
}

// A launch is a flight that starts: the profile as it is then, and the queue in
// which it counts. A renewal is one that no caller waited for.
type launch struct {
	slot    *slot
	src     Source
	queue   *issuerQueue
	renewal bool
	trace   *token.Trace
}

// due returns what to launch now, and how long to sleep then.
func (m *Mint) due(now time.Time) (launches []launch, sleep time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	sleep = longestSleep
	asked := m.asked
	m.asked = nil
	for _, s := range asked {
		switch wait := s.rest(now); {
		case s.flight == nil || s.flight.launched:
		case wait > 0:
			m.asked = append(m.asked, s)
			sleep = min(sleep, wait)
		default:
			q := m.queue(s)
			q.urgent = append(q.urgent, s)
		}
	}
	for len(m.timers) > 0 && !m.timers[0].at.After(now) {
		m.fire(heap.Pop(&m.timers).(timed[*slot]), now)
	}
	for issuer, q := range m.queues {
		s, renewal, again := q.next(now, m.renewals < maxRenewals)
		for ; s != nil; s, renewal, again = q.next(now, m.renewals < maxRenewals) {
			s.flight.launched = true
			q.running++
			if renewal {
				m.renewals++
			}
			launches = append(launches, launch{s, s.of.src, q, renewal, s.flight.trace})
		}
		if !again.IsZero() {
			sleep = min(sleep, again.Sub(now))
		}
		if q.done(now) {
			delete(m.queues, issuer)
		}
	}
	if len(m.timers) > 0 {
		sleep = min(sleep, m.timers[0].at.Sub(now))
	}
	return launches, max(0, sleep)
}

// queue returns the queue of the issuer of s and makes it if need be. m.mu is
// held.
func (m *Mint) queue(s *slot) *issuerQueue {
	q := m.queues[s.of.src.Issuer]
	if q == nil {
		q = &issuerQueue{}
		m.queues[s.of.src.Issuer] = q
	}
	return q
}

// fly obtains a token for a slot.
func (m *Mint) fly(ctx context.Context, l launch) {
	began := time.Now()
	l.trace.Add("attempt", "it is the turn of this one at %s", l.src.Issuer)
	tok, err := m.obtain(token.WithTrace(ctx, l.trace), l.src, l.slot.target)
	if err != nil && ctx.Err() != nil {
		err = errStopping
	}
	m.land(l, tok, err, time.Since(began))
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
func (m *Mint) land(l launch, tok token.Token, err error, took time.Duration) {
	now, s := m.now(), l.slot
	m.mu.Lock()
	defer m.mu.Unlock()
	defer nudge(m.wake)
	l.queue.running--
	if l.renewal {
		m.renewals--
	}
	switch {
	case err == errStopping:
		s.land(token.Token{}, errStopping)
	case err != nil:
		failure := AsError(err)
		l.queue.learn(failure, now)
		s.fail(failure, now)
		s.remember(now, took, failure.Code)
		m.noteFailure(s, took)
		s.land(token.Token{}, s.err)
		if !m.cache.loaded && !fromKeystore(s.err) {
			nudge(m.dirty) // the keystore can be read by now
		}
		if errors.Is(s.err, token.ErrInvalid) && s.target != (token.Target{}) && m.holds(s) {
			m.forget(s) // a scope or audience that makes no sense here
		}
	default:
		l.queue.learn(nil, now)
		tok.RenewAt = renewAt(tok, m.issuers[l.src.Issuer]-1, rand.Float64())
		s.tok, s.err, s.failures, s.nextTry = tok, nil, 0, time.Time{}
		s.remember(now, took, "")
		m.clock = clock{tok.Skew, l.src.Issuer, now}
		m.noteSuccess(s, took)
		if m.holds(s) {
			m.recache(s)
		}
		s.land(tok, nil)
	}
	m.plan(s)
}

// fail remembers a failure and when to try again.
func (s *slot) fail(err *token.Error, now time.Time) {
	if s.err != nil && fromKeystore(s.err) != fromKeystore(err) {
		s.failures = 0 // another cause: the number of failures before says nothing about it
	}
	s.failures++
	s.failedAt = now
	s.retryAfter = !err.RetryAt.IsZero()
	s.nextTry = retryAt(err, s.failures, s.tok, now, rand.Float64())
	remembered := *err
	remembered.RetryAt = s.nextTry
	s.err = &remembered
}
