package daemon

import (
	"context"
	"slices"
	"sync"
	"time"

	"tokend/providers/token"
)

// maxQueue is how many events wait for one watcher. It loses what comes beyond
// that, because tokend waits for no one.
const maxQueue = 256

// A hub passes events to those who watch.
type hub struct {
	state func() *state // who may see what
	now   func() time.Time

	mu       sync.Mutex
	watchers map[*watcher]struct{}
}

// A watcher gets events. hub.mu guards its queue.
type watcher struct {
	hub    *hub
	caller *Caller
	names  []string // of profiles; empty for all
	queue  []token.Event
	lost   int           // events for which there was no room after the queue
	more   chan struct{} // holds a value if the queue may have something
}

// publish reports to those who watch what happened to a profile, or to the
// daemon if ev names none. e is nil if there is no such profile any more.
func (h *hub) publish(e *entry, ev token.Event) {
	if ev.Time.IsZero() {
		ev.Time = h.now().UTC()
	}
	st := h.state()
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.watchers {
		admin := st.isAdmin(w.caller)
		if ev.Profile != "" && (!admin && (e == nil || !e.mayUse(w.caller)) || len(w.names) > 0 && !slices.Contains(w.names, ev.Profile)) {
			continue
		}
		shown := ev
		if !admin {
			shown.BadFiles = 0
		}
		w.add(shown)
	}
}

// count returns how many watch.
func (h *hub) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.watchers)
}

// Watch returns what happens from now on: to the named profiles, or if none are
// named to all that the caller may use or manage, and to the daemon itself. A
// watcher that falls behind learns how many events it has lost.
func (d *Daemon) Watch(ctx context.Context, names []string) (token.Events, error) {
	w := &watcher{hub: &d.events, caller: d.caller(ctx), names: names, more: make(chan struct{}, 1)}
	st := d.state.Load()
	for _, name := range names {
		if _, err := st.view(w.caller, name); err != nil {
			return nil, err
		}
	}
	d.events.mu.Lock()
	defer d.events.mu.Unlock()
	d.events.watchers[w] = struct{}{}
	return w, nil
}

// add queues an event, or counts it if there is no room. What comes after a
// loss is lost too, until the watcher knows of it. hub.mu is held.
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
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	if len(w.queue) > 0 {
		e := w.queue[0]
		w.queue = w.queue[1:]
		return e, true
	}
	w.queue = nil // the array has given up its front
	if w.lost == 0 {
		return token.Event{}, false
	}
	e := token.Event{Time: w.hub.now().UTC(), Kind: token.EventLost, Lost: w.lost}
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
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	delete(w.hub.watchers, w)
}
