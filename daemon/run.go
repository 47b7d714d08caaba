package daemon

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
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
	// saveApart is how far apart the cache is written: tokens that come
	// meanwhile are written together, the first one at once.
	saveApart = 100 * time.Millisecond
	// saveAgain is how soon a cache write that failed is tried again.
	saveAgain = 30 * time.Second
	// warnAgain is how often the log repeats what status warns of.
	warnAgain = 24 * time.Hour
)

// loadLimit bounds LoadCache: a keyring may hang.
const loadLimit = 5 * time.Second

// LoadCache reads the tokens that the last daemon left in the cache, before
// anything is served. If the keystore does not answer or is locked, Run tries again.
func (d *Daemon) LoadCache(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, loadLimit)
	defer cancel()
	d.readCache(ctx)
}

// Run obtains and renews tokens until ctx ends. Every goroutine of the daemon
// starts here and has ended when Run returns. Run releases everybody who still
// waits with an error, and saves what was obtained.
func (d *Daemon) Run(ctx context.Context) error {
	var flights, keeper sync.WaitGroup
	saving, saved := context.WithCancel(context.WithoutCancel(ctx))
	keeper.Go(func() { d.keepCache(saving) })
	keeper.Go(func() { d.keepSinks(saving) })
	defer keeper.Wait()
	defer saved()
	defer flights.Wait()
	defer d.stop()

	timer := time.NewTimer(0)
	defer timer.Stop()
	var warned time.Time
	for last, lastWall := time.Now(), d.wall(); ; {
		now, wall := time.Now(), d.wall()
		d.noticeStep(wall.Sub(lastWall)-now.Sub(last), wall)
		last, lastWall = now, wall
		if now.Sub(warned) >= warnAgain {
			d.logWarnings(wall)
			warned = now
		}
		d.deps.Alive()
		launches, sleep := d.due(wall)
		if d.deps.Pulse > 0 {
			sleep = min(sleep, d.deps.Pulse)
		}
		for _, l := range launches {
			flights.Go(func() { d.fly(ctx, l) })
		}
		timer.Reset(sleep)
		select {
		case <-ctx.Done():
			return nil
		case <-d.wake:
		case <-timer.C:
		}
	}
}

// stop refuses further flights and releases the callers of those that were
// never launched.
func (d *Daemon) stop() {
	close(d.ending)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopped = true
	grounded := d.asked
	for _, l := range d.lanes {
		grounded = append(grounded, l.waiting()...)
	}
	for _, s := range grounded {
		if s.flight != nil && !s.flight.launched {
			d.end(s, token.Token{}, errStopping)
		}
	}
}

// noticeStep plans anew when the wall clock has moved by step more than the
// monotonic one: it was set, or the machine slept.
func (d *Daemon) noticeStep(step time.Duration, now time.Time) {
	if step.Abs() < clockStep {
		return
	}
	d.deps.Log.Info("the clock moved", "by", step.Round(time.Second).String())
	d.mu.Lock()
	defer d.mu.Unlock()
	d.clock = clock{}
	for s := range d.allSlots() {
		if soon := now.Add(slowRetry); s.nextTry.After(soon) {
			s.nextTry = soon
		}
		if step < 0 { // what was moments ago must not lie in the future now
			s.invalidated, s.failedAt = time.Time{}, time.Time{}
		}
		d.plan(s)
	}
}

// logWarnings tells those who read logs and not status what needs them.
func (d *Daemon) logWarnings(now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, p := range d.profiles {
		for _, text := range d.warnings(p, now) {
			d.deps.Log.Warn("needs attention", "profile", name, "warning", text)
		}
	}
}

// A launch is a flight that starts: the profile as it is then, and the lane in
// which it has its place. A renewal is one that no caller waited for.
type launch struct {
	slot    *slot
	profile *profile
	lane    *lane
	renewal bool
	trace   *token.Trace
}

// due takes what is to be launched now, and says how long to sleep after that.
func (d *Daemon) due(now time.Time) (launches []launch, sleep time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	sleep = longestSleep
	asked := d.asked
	d.asked = nil
	for _, s := range asked {
		d.plan(s)
		switch wait := s.rest(now); {
		case s.flight == nil || s.flight.launched:
		case wait > 0:
			d.asked = append(d.asked, s)
			sleep = min(sleep, wait)
		default:
			l := d.lane(s)
			l.urgent = append(l.urgent, s)
		}
	}
	for len(d.agenda) > 0 && !d.agenda[0].at.After(now) {
		d.attend(d.agenda[0], now)
	}
	for issuer, l := range d.lanes {
		s, renewal, again := l.next(now, d.renewals < maxRenewals)
		for ; s != nil; s, renewal, again = l.next(now, d.renewals < maxRenewals) {
			s.flight.launched = true
			l.running++
			if renewal {
				d.renewals++
			}
			launches = append(launches, launch{s, s.profile, l, renewal, s.flight.trace})
		}
		if !again.IsZero() {
			sleep = min(sleep, again.Sub(now))
		}
		if l.done(now) {
			delete(d.lanes, issuer)
		}
	}
	if len(d.agenda) > 0 {
		sleep = min(sleep, d.agenda[0].at.Sub(now))
	}
	return launches, max(0, sleep)
}

// attend does what is due about s: have its next token obtained, or forget it.
// d.mu is held.
func (d *Daemon) attend(s *slot, now time.Time) {
	switch {
	case s.wanted(now):
		s.flight = &flight{done: make(chan struct{})}
		d.lane(s).queue(s, now)
		d.plan(s)
	case s.forgottenAt().After(now): // not wanted any more, still good
		s.at = s.forgottenAt()
		heap.Fix(&d.agenda, s.place)
	default:
		d.forget(s)
	}
}

// lane finds or makes the lane of the issuer of s. d.mu is held.
func (d *Daemon) lane(s *slot) *lane {
	l := d.lanes[s.profile.issuer]
	if l == nil {
		l = &lane{}
		d.lanes[s.profile.issuer] = l
	}
	return l
}

// fly obtains a token for a slot.
func (d *Daemon) fly(ctx context.Context, l launch) {
	began := time.Now()
	l.trace.Add("attempt", "it is the turn of this one at %s", l.profile.issuer)
	tok, err := d.mint(token.WithTrace(ctx, l.trace), l.profile, l.slot.target)
	if err != nil && ctx.Err() != nil {
		err = errStopping
	}
	d.land(l, tok, err, time.Since(began))
}

// mint asks the issuer once. A fault in a provider is that profile's error and
// nobody else's.
func (d *Daemon) mint(ctx context.Context, p *profile, t token.Target) (tok token.Token, err error) {
	defer func() {
		if r := recover(); r != nil {
			d.deps.Log.Error("a provider panicked", "profile", p.name, "stack", string(debug.Stack()))
			err = &token.Error{Code: token.ErrInternal, Message: fmt.Sprintf("the %s provider failed; tokend's log tells more", p.kind)}
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, flightLimit)
	defer cancel()
	return p.minter.Mint(ctx, t)
}

// forget drops a slot that nobody wants. d.mu is held.
func (d *Daemon) forget(s *slot) {
	d.unsave(s)
	p := s.profile
	p.slots = slices.DeleteFunc(p.slots, func(other *slot) bool { return other == s })
	d.plan(s)
}

// keepCache is the one goroutine that touches the cache while the daemon runs:
// it writes what is obtained, behind. When ctx ends it saves what is left.
func (d *Daemon) keepCache(ctx context.Context) {
	tries := 1
	d.readCache(ctx)
	if d.heedNotices() {
		d.save()
	}
	dirty, rested := d.dirty, (<-chan time.Time)(nil)
	for {
		var again <-chan time.Time
		if d.cacheTroubled() {
			again = time.After(min(saveAgain, doubled(firstKeystoreRetry, lastKeystoreRetry, tries)))
		}
		select {
		case <-ctx.Done():
			d.write()
			return
		case job := <-d.jobs:
			job()
		case <-dirty:
			dirty, rested = nil, time.After(saveApart)
		case <-rested:
			dirty, rested = d.dirty, nil
			continue
		case <-again:
			tries++
		}
		if !d.readCache(ctx) {
			continue
		}
		if d.write() {
			tries = 1
		}
	}
}

// write saves what waits for it, and again what the cache has lost.
func (d *Daemon) write() (ok bool) {
	d.heedNotices()
	ok = d.save()
	if d.heedNotices() {
		d.save()
	}
	return ok
}

// heedNotices logs what happened to the cache file, and if anything did, has
// all tokens at hand written again: the file may be a new one. It tells whether
// anything did.
func (d *Daemon) heedNotices() bool {
	notices := d.deps.Cache.Notices()
	if len(notices) == 0 {
		return false
	}
	for _, text := range notices {
		d.deps.Log.Warn("token cache", "notice", text)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for s := range d.allSlots() {
		if s.tok.State(d.wall()) != token.Expired {
			d.unsaved[s.key()] = s.record()
		}
	}
	return true
}

// readCache takes over the tokens that outlived the last daemon, once. It
// tells whether that is done.
func (d *Daemon) readCache(ctx context.Context) bool {
	if d.cacheIsIn() {
		return true
	}
	records, err := d.deps.Cache.Load(ctx, d.wall())
	d.noteCache(err)
	if err != nil && ctx.Err() != nil || fromKeystore(err) {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	taken := 0
	for _, r := range records {
		if d.takeOver(r) {
			taken++
		} else {
			d.dropped = append(d.dropped, r)
		}
	}
	d.cacheIn = true
	d.deps.Log.Info("token cache read", "tokens", taken, "dropped", len(d.dropped))
	return true
}

// takeOver puts the token of a record into its slot, unless that has a newer one
// or has had this one. It tells whether the record belongs to a profile as it is
// now. d.mu is held.
func (d *Daemon) takeOver(r token.Record) bool {
	p := d.profiles[r.Profile]
	if p == nil || p.fingerprint.String() != r.Fingerprint || p.minter == nil {
		return false
	}
	s, err := d.slot(p, r.Target, r.Token.Issued)
	if err == nil && s.tok.Issued.Before(r.Token.Issued) {
		s.tok = r.Token
		d.plan(s)
	}
	return true
}

// save writes what waits to be written. What cannot be written waits on: the
// tokens are served from memory all the same.
func (d *Daemon) save() bool {
	d.mu.Lock()
	dropped, unsaved := d.dropped, d.unsaved
	d.dropped, d.unsaved = nil, map[slotKey]token.Record{}
	d.saving = true
	if len(dropped)+len(unsaved) > 0 {
		d.writes++
	}
	d.mu.Unlock()

	records := make([]token.Record, 0, len(unsaved))
	for _, r := range unsaved {
		records = append(records, r)
	}
	var err error
	if len(dropped) > 0 {
		err = d.deps.Cache.Drop(dropped...)
	}
	if err == nil && len(records) > 0 {
		err = d.deps.Cache.Save(records...)
	}
	if len(dropped)+len(records) > 0 {
		d.noteCache(err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.saving = false
	if err == nil {
		return true
	}
	d.dropped = append(dropped, d.dropped...)
	for k, r := range unsaved {
		p := d.profiles[k.profile]
		if _, newer := d.unsaved[k]; newer || p == nil {
			continue
		}
		if s := p.slotFor(k.target); s != nil && s.tok == r.Token {
			d.unsaved[k] = r
		}
	}
	return false
}

// unsave takes the token of s out of the cache. d.mu is held.
func (d *Daemon) unsave(s *slot) {
	delete(d.unsaved, s.key())
	if !s.tok.Secret.IsZero() {
		d.dropped = append(d.dropped, s.record())
		d.soil()
	}
}

// soil tells the cache's goroutine that there is something to write.
func (d *Daemon) soil() {
	select {
	case d.dirty <- struct{}{}:
	default:
	}
}

// askCache has the cache's goroutine do a job and waits for its answer.
func (d *Daemon) askCache(ctx context.Context, job func() error) error {
	answer := make(chan error, 1)
	select {
	case d.jobs <- func() { answer <- job() }:
	case <-d.ending:
		return errStopping
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// noteCache remembers how the cache is, and logs a change for the worse once.
func (d *Daemon) noteCache(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	before := d.cacheErr
	d.cacheErr = err
	if errors.Is(err, token.ErrLocked) {
		d.noteKeyring(true)
	}
	switch {
	case err != nil && (before == nil || before.Error() != err.Error()):
		d.deps.Log.Warn("token cache", "error", err.Error())
		d.publish(nil, token.Event{Kind: token.EventCache, State: err.Error()})
	case err == nil && before != nil:
		d.deps.Log.Info("token cache works again")
		d.publish(nil, token.Event{Kind: token.EventCache, State: "ok"})
	}
}

func (d *Daemon) cacheTroubled() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.cacheErr != nil
}

func (d *Daemon) cacheIsIn() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.cacheIn
}
