package daemon

import (
	"context"
	"errors"
	"slices"
	"time"

	"tokend/providers/token"
)

// What happens is told to three: the log, the counters that metrics are made
// of, and those who watch.

const (
	// maxQueue is how many events wait for one watcher; what comes beyond is
	// lost to it, because tokend waits for nobody.
	maxQueue = 256
	// expiringAhead is how long before its end a token that could not be
	// renewed is told of; of one that lives short, the last fifth.
	expiringAhead = 5 * time.Minute
)

// A tally counts what the attempts for a profile came to, by code; "" is a
// success. It is shared by the profiles that follow each other under one name.
// There are few codes: a map would take several times the memory.
type tally struct{ counts []count }

type count struct {
	code token.Code
	n    uint64
}

func (t *tally) add(code token.Code) {
	for i := range t.counts {
		if t.counts[i].code == code {
			t.counts[i].n++
			return
		}
	}
	t.counts = append(t.counts, count{code, 1})
}

// byCode are the counts that are not zero.
func (t *tally) byCode() map[token.Code]uint64 {
	counts := make(map[token.Code]uint64, len(t.counts))
	for _, c := range t.counts {
		counts[c.code] = c.n
	}
	return counts
}

// noteSuccess tells of a token that was obtained. d.mu is held.
func (d *Daemon) noteSuccess(s *slot, took time.Duration) {
	d.deps.Log.Info("token obtained", s.attrs("expires", s.tok.Expiry.UTC(), "renew_at", s.tok.RenewAt.UTC(), "took", took)...)
	s.profile.tally.add("")
	d.noteKeyring(false)
	d.publish(s.profile, token.Event{
		Kind: token.EventObtained, Target: s.target, Expires: s.tok.Expiry.UTC(), RenewAt: s.tok.RenewAt.UTC(), Took: took,
	})
}

// noteFailure tells of an attempt that failed. d.mu is held.
func (d *Daemon) noteFailure(s *slot, took time.Duration) {
	message := "no token obtained"
	kind := token.EventFailed
	if errors.Is(s.err, token.ErrRejected) {
		message, kind = "token refused", token.EventRefused
	}
	attrs := s.attrs("code", string(s.err.Code), "error", s.err.Message, "failures", s.failures, "next_try", s.nextTry.UTC(), "took", took)
	if s.err.Topic != "" {
		attrs = append(attrs, "topic", s.err.Topic)
	}
	if s.err.Cause != nil {
		attrs = append(attrs, "cause", s.err.Cause.Error())
	}
	// Each caller makes a failure of the keystore's: its 1st, 2nd, 4th, 8th …
	// are enough.
	if !fromKeystore(s.err) || s.failures&(s.failures-1) == 0 {
		d.deps.Log.Warn(message, attrs...)
	}
	s.profile.tally.add(s.err.Code)
	if errors.Is(s.err, token.ErrLocked) {
		d.noteKeyring(true)
	}
	e := token.Event{
		Kind: kind, Target: s.target, Expires: utc(s.tok.Expiry), Took: took, Error: onWire(s.err), Failures: s.failures,
	}
	d.publish(s.profile, e)
	if now := d.wall(); expiring(s.tok, now) && !s.tok.Expiry.Equal(s.toldOf) {
		s.toldOf = s.tok.Expiry
		d.deps.Log.Warn("token expires and cannot be renewed", s.attrs("expires", s.tok.Expiry.UTC())...)
		e.Kind, e.Took = token.EventExpiring, 0
		d.publish(s.profile, e)
	}
}

// expiring tells of a token whose end is near.
func expiring(t token.Token, now time.Time) bool {
	left := t.Expiry.Sub(now)
	return !t.Secret.IsZero() && left > 0 && left <= max(t.Life()/5, min(expiringAhead, t.Life()/2))
}

// onWire is an error as others are told of it.
func onWire(e *token.Error) *token.Error {
	told := *e
	told.Cause, told.RetryAt = nil, utc(e.RetryAt)
	return &told
}

// noteKeyring tells when the keyring turns out to be locked, or not any more.
// d.mu is held.
func (d *Daemon) noteKeyring(locked bool) {
	if d.keyringLocked == locked {
		return
	}
	d.keyringLocked = locked
	kind := token.EventUnlocked
	if locked {
		kind = token.EventLocked
	}
	d.deps.Log.Info("keyring", "state", string(kind))
	d.publish(nil, token.Event{Kind: kind})
}

// noteReload tells that the configuration was read anew.
func (d *Daemon) noteReload(badFiles int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.publish(nil, token.Event{Kind: token.EventReloaded, BadFiles: badFiles})
}

// publish tells those who watch of something that happened to p, or to the
// daemon if p is nil. d.mu is held.
func (d *Daemon) publish(p *profile, e token.Event) {
	e.Time = d.wall().UTC()
	if p != nil {
		e.Profile = p.name
	}
	for w := range d.watchers {
		manages := d.mayManage(w.who)
		if p != nil && (!manages && !mayUse(w.who, p) || len(w.names) > 0 && !slices.Contains(w.names, p.name)) {
			continue
		}
		told := e
		if !manages {
			told.BadFiles = 0
		}
		w.add(told)
	}
}

// A watcher gets events. Daemon.mu guards its queue.
type watcher struct {
	daemon *Daemon
	who    who
	names  []string // of profiles; empty for all
	queue  []token.Event
	lost   int           // events for which there was no room after the queue
	more   chan struct{} // holds a value if the queue may have something
}

// Watch gives what happens from now on: to the named profiles, or if none are
// named to all that the caller may use or manage, and to the daemon itself. A
// watcher that falls behind is told how many events it has lost.
func (d *Daemon) Watch(ctx context.Context, names []string) (token.Events, error) {
	w := &watcher{daemon: d, who: d.who(ctx), names: names, more: make(chan struct{}, 1)}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, name := range names {
		if _, err := d.see(w.who, name); err != nil {
			return nil, err
		}
	}
	d.watchers[w] = struct{}{}
	return w, nil
}

// add queues an event, or counts it if there is no room. What comes after a
// loss is lost too, until the watcher has been told. d.mu is held.
func (w *watcher) add(e token.Event) {
	if len(w.queue) == maxQueue || w.lost > 0 {
		w.lost++
		return
	}
	w.queue = append(w.queue, e)
	select {
	case w.more <- struct{}{}:
	default:
	}
}

// take takes the first event.
func (w *watcher) take() (token.Event, bool) {
	w.daemon.mu.Lock()
	defer w.daemon.mu.Unlock()
	if len(w.queue) > 0 {
		e := w.queue[0]
		w.queue = w.queue[1:]
		return e, true
	}
	w.queue = nil // the array has given up its front
	if w.lost == 0 {
		return token.Event{}, false
	}
	e := token.Event{Time: w.daemon.wall().UTC(), Kind: token.EventLost, Lost: w.lost}
	w.lost = 0
	return e, true
}

// Next implements token.Events.
func (w *watcher) Next(ctx context.Context) (token.Event, error) {
	for {
		if e, ok := w.take(); ok {
			return e, nil
		}
		select {
		case <-w.more:
		case <-ctx.Done():
			return token.Event{}, ctx.Err()
		}
	}
}

// Close implements token.Events.
func (w *watcher) Close() {
	w.daemon.mu.Lock()
	defer w.daemon.mu.Unlock()
	delete(w.daemon.watchers, w)
}
