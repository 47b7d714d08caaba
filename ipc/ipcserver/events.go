package ipcserver

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"tokend/ipc"
	"tokend/providers/token"
)

// events streams what happens: a line of JSON for each event, and an empty line
// where nothing happens for a while, so that a reader that is gone is noticed.
// It ends when tokend does, or when a line cannot leave in time.
func (h *handler) events(w http.ResponseWriter, r *http.Request, _ string) error {
	profiles, err := ipc.DecodeWatch(r.URL.RawQuery)
	if err != nil {
		return err
	}
	events, err := h.backend.Watch(r.Context(), profiles)
	if err != nil {
		return err
	}
	defer events.Close()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-h.ending:
			cancel()
		case <-stop:
		}
	}()

	announce(w, "application/x-ndjson")
	if !sendPart(w, nil) { // the header: from now on nothing is missed
		return nil
	}
	for {
		line, ok := nextLine(ctx, events)
		if !ok {
			break
		}
		if !sendPart(w, line) {
			return nil
		}
	}
	if r.Context().Err() == nil {
		sendPart(w, eventLine(token.Event{Time: time.Now().UTC().Round(0), Kind: token.EventStopping}))
	}
	return nil
}

// nextLine waits for an event, or for the next heartbeat; not ok when ctx ends.
func nextLine(ctx context.Context, events token.Events) (line []byte, ok bool) {
	beat, cancel := context.WithTimeout(ctx, ipc.Heartbeat)
	defer cancel()
	e, err := events.Next(beat)
	switch {
	case err == nil:
		return eventLine(e), true
	case ctx.Err() != nil || beat.Err() == nil:
		return nil, false
	}
	return []byte("\n"), true
}

func eventLine(e token.Event) []byte {
	line, err := json.Marshal(e)
	if err != nil { // a time beyond the year 9999
		line, _ = json.Marshal(token.Event{Kind: e.Kind, Profile: e.Profile, Target: e.Target})
	}
	return append(line, '\n')
}

// sendPart sends a part of a stream, and tells whether it has left.
func sendPart(w http.ResponseWriter, part []byte) bool {
	return write(w, part) == nil && http.NewResponseController(w).Flush() == nil
}

// metrics answers Prometheus.
func (h *handler) metrics(w http.ResponseWriter, r *http.Request, _ string) error {
	if h.measure == nil {
		return &token.Error{Code: token.ErrNotFound, Message: "this tokend has no metrics"}
	}
	metrics, err := h.measure(r.Context())
	if err != nil {
		return err
	}
	metrics.ServeHTTP(w, r)
	return nil
}
