package daemon

import (
	"context"
	"slices"

	"tokend/providers/token"
)

// maxQueue is how many events wait for one watcher. It loses what comes beyond
// that, because tokend waits for no one.
const maxQueue = 256

// A watcher gets events. Daemon.watching guards what was lost.
type watcher struct {
	daemon *Daemon
	caller *Caller
	names  []string // of profiles; empty for all
	queue  chan token.Event
	lost   int // events for which there was no room after the queue
}

// publish reports to those who watch what happened to a profile, or to the
// daemon if ev names none. e is nil if there is no such profile any more.
func (d *Daemon) publish(e *entry, ev token.Event) {
	ev.Time = d.now().UTC()
	st := d.state.Load()
	d.watching.Lock()
	defer d.watching.Unlock()
	for w := range d.watchers {
		admin := st.isAdmin(w.caller)
		if ev.Profile != "" && (!admin && (e == nil || !e.mayUse(w.caller)) || len(w.names) > 0 && !slices.Contains(w.names, ev.Profile)) {
			continue
		}
		shown := ev
		if !admin {
			shown.BadFiles = 0
		}
		if w.lost > 0 || len(w.queue) == maxQueue {
			w.lost++ // and what comes after it, until the watcher knows of the loss
			continue
		}
		w.queue <- shown
	}
}

// Watch returns what happens from now on: to the named profiles, or if none are
// named to all that the caller may use or manage, and to the daemon itself. A
// watcher that falls behind learns how many events it has lost.
func (d *Daemon) Watch(ctx context.Context, names []string) (token.Events, error) {
	w := &watcher{daemon: d, caller: d.caller(ctx), names: names, queue: make(chan token.Event, maxQueue)}
	for _, name := range names {
		if _, err := d.state.Load().view(w.caller, name); err != nil {
			return nil, err
		}
	}
	d.watching.Lock()
	defer d.watching.Unlock()
	d.watchers[w] = struct{}{}
	return w, nil
}

// Next implements token.Events.
func (w *watcher) Next(ctx context.Context) (token.Event, error) {
	lost := 0
	w.daemon.watching.Lock()
	if len(w.queue) == 0 { // what was lost came after the queue
		lost, w.lost = w.lost, 0
	}
	w.daemon.watching.Unlock()
	if lost > 0 {
		return token.Event{Time: w.daemon.now().UTC(), Kind: token.EventLost, Lost: lost}, nil
	}
	select {
	case e := <-w.queue:
		return e, nil
	case <-ctx.Done():
		return token.Event{}, ctx.Err()
	}
}

// Close implements token.Events.
func (w *watcher) Close() {
	w.daemon.watching.Lock()
	defer w.daemon.watching.Unlock()
	delete(w.daemon.watchers, w)
}
