package daemon

import (
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
	// saveAgain is how soon a cache write that failed is tried again.
	saveAgain = 30 * time.Second
	// warnAgain is how often the log repeats what status warns of.
	warnAgain = 24 * time.Hour
)

// Run obtains and renews tokens until ctx ends. Every goroutine of the daemon
// starts here and has ended when Run returns; whoever still waits is released
// with an error, and what was obtained is saved.
func (d *Daemon) Run(ctx context.Context) error {
	var flights, keeper sync.WaitGroup
	saving, saved := context.WithCancel(context.WithoutCancel(ctx))
	keeper.Go(func() { d.keepCache(saving) })
	defer keeper.Wait()
	defer saved()
	defer flights.Wait()
	defer d.stop()

	timer := time.NewTimer(0)
	defer timer.Stop()
	select {
	case <-d.loaded:
	case <-ctx.Done():
		return nil
	}
	var warned time.Time
	for last := time.Now(); ; {
		now := time.Now()
		d.noticeStep(last, now)
		last = now
		if now.Sub(warned) >= warnAgain {
			d.logWarnings(now.Round(0))
			warned = now
		}
		launch, sleep := d.due(now.Round(0))
		for _, s := range launch {
			flights.Go(func() { d.fly(ctx, s) })
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
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopped = true
	grounded := d.asked
	for _, l := range d.lanes {
		grounded = slices.Concat(grounded, l.urgent, l.background)
	}
	for _, s := range grounded {
		if s.flight != nil && !s.flight.launched {
			d.end(s, token.Token{}, errStopping)
		}
	}
}

// noticeStep plans anew when the wall clock did not move as the monotonic one
// did: the clock was set, or the machine slept.
func (d *Daemon) noticeStep(last, now time.Time) {
	step := now.Round(0).Sub(last.Round(0)) - now.Sub(last)
	if step.Abs() < clockStep {
		return
	}
	d.world.Log.Info("the clock moved", "by", step.Round(time.Second).String())
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.slots {
		if soon := now.Round(0).Add(slowRetry); s.nextTry.After(soon) {
			s.nextTry = soon
		}
		d.plan(s)
	}
}

// logWarnings tells those who read logs and not status what needs them.
func (d *Daemon) logWarnings(now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	slots := d.slotsByProfile()
	for name, p := range d.profiles {
		for _, text := range d.warnings(p, slots[name], now) {
			d.world.Log.Warn("needs attention", "profile", name, "warning", text)
		}
	}
}

// due takes what is to be launched now, and says how long to sleep after that.
func (d *Daemon) due(now time.Time) (launch []*slot, sleep time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	touched := map[*lane]bool{}
	for _, s := range d.asked {
		if s.flight != nil && !s.flight.launched {
			l := d.lane(s)
			l.urgent = append(l.urgent, s)
			touched[l] = true
		}
		d.plan(s)
	}
	d.asked = nil
	for len(d.agenda) > 0 && !d.agenda[0].at.After(now) {
		s := d.agenda[0]
		if !s.wanted(now) {
			d.forget(s)
			continue
		}
		s.flight = &flight{done: make(chan struct{})}
		l := d.lane(s)
		l.background = append(l.background, s)
		touched[l] = true
		d.plan(s)
	}
	for l := range touched {
		launch = append(launch, l.start()...)
	}
	sleep = longestSleep
	if len(d.agenda) > 0 {
		sleep = max(0, min(sleep, d.agenda[0].at.Sub(now)))
	}
	return launch, sleep
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

// start marks as launched what the lane has room for.
func (l *lane) start() (launch []*slot) {
	for s := l.next(); s != nil; s = l.next() {
		s.flight.launched = true
		l.running++
		launch = append(launch, s)
	}
	return launch
}

// fly obtains a token for s, and goes on with what its lane has room for then.
func (d *Daemon) fly(ctx context.Context, s *slot) {
	for s != nil {
		tok, err := d.mint(ctx, s)
		if err != nil && ctx.Err() != nil {
			err = errStopping
		}
		d.land(s, tok, err)
		s = d.follow(s)
	}
}

// follow gives up the place of s in its lane, or hands it to the next slot.
func (d *Daemon) follow(s *slot) *slot {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.lane(s)
	l.running--
	if !d.stopped {
		if next := l.next(); next != nil {
			next.flight.launched = true
			l.running++
			return next
		}
	}
	if l.running == 0 && len(l.urgent) == 0 && len(l.background) == 0 {
		delete(d.lanes, s.profile.issuer)
	}
	return nil
}

// mint asks the issuer once. A fault in a provider is that profile's error and
// nobody else's.
func (d *Daemon) mint(ctx context.Context, s *slot) (tok token.Token, err error) {
	defer func() {
		if r := recover(); r != nil {
			d.world.Log.Error("a provider panicked", "profile", s.profile.name, "stack", string(debug.Stack()))
			err = &token.Error{Code: token.ErrInternal, Message: fmt.Sprintf("the %s provider failed; tokend's log tells more", s.profile.kind)}
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, flightLimit)
	defer cancel()
	return s.profile.minter.Mint(ctx, s.target)
}

// forget drops a slot that nobody wants. d.mu is held.
func (d *Daemon) forget(s *slot) {
	d.unsave(s)
	delete(d.slots, s.key())
	d.plan(s)
}

// keepCache is the one goroutine that touches the cache: it reads it, then
// writes what is obtained, behind. When ctx ends it saves what is left.
func (d *Daemon) keepCache(ctx context.Context) {
	tries := 1
	d.readCache(ctx)
	close(d.loaded)
	for {
		var again <-chan time.Time
		if d.cacheTroubled() {
			again = time.After(min(saveAgain, doubled(firstKeystoreRetry, lastKeystoreRetry, tries)))
		}
		select {
		case <-ctx.Done():
			d.save()
			return
		case job := <-d.jobs:
			job()
		case <-d.dirty:
		case <-again:
			tries++
		}
		if !d.readCache(ctx) {
			continue
		}
		if d.save() {
			tries = 1
		}
	}
}

// readCache takes over the tokens that outlived the last daemon, once. It
// tells whether that is done.
func (d *Daemon) readCache(ctx context.Context) bool {
	if d.cacheIsIn() {
		return true
	}
	records, err := d.world.Cache.Load(ctx, wall())
	d.noteCache(err)
	if errors.Is(err, token.ErrLocked) || errors.Is(err, token.ErrKeystore) {
		return false
	}
	d.takeOver(records)
	return true
}

// takeOver puts records into their slots and has the cache drop those that
// belong to no profile as it is now.
func (d *Daemon) takeOver(records []token.Record) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cacheIn = true
	taken := 0
	for _, r := range records {
		p := d.profiles[r.Profile]
		if p == nil || p.fingerprint != r.Fingerprint || p.minter == nil {
			d.dropped = append(d.dropped, r)
			continue
		}
		s, err := d.slot(r.Profile, r.Target, r.Token.Issued)
		if err != nil || !s.tok.Issued.Before(r.Token.Issued) {
			continue
		}
		s.tok = r.Token
		d.plan(s)
		taken++
	}
	d.world.Log.Info("token cache read", "tokens", taken, "dropped", len(d.dropped))
}

// save writes what waits to be written. What cannot be written waits on: the
// tokens are served from memory all the same.
func (d *Daemon) save() bool {
	d.mu.Lock()
	dropped, unsaved := d.dropped, d.unsaved
	d.dropped, d.unsaved = nil, map[slotKey]token.Record{}
	d.saving = true
	d.mu.Unlock()

	records := make([]token.Record, 0, len(unsaved))
	for _, r := range unsaved {
		records = append(records, r)
	}
	var err error
	if len(dropped) > 0 {
		err = d.world.Cache.Drop(dropped...)
	}
	if err == nil && len(records) > 0 {
		err = d.world.Cache.Save(records...)
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
		if _, newer := d.unsaved[k]; !newer && d.slots[k] != nil && d.slots[k].tok == r.Token {
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
	before := d.cacheErr
	d.cacheErr = err
	d.mu.Unlock()
	switch {
	case err != nil && (before == nil || before.Error() != err.Error()):
		d.world.Log.Warn("token cache", "error", err.Error())
	case err == nil && before != nil:
		d.world.Log.Info("token cache works again")
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
