package ipcserver

import (
	"context"
	"encoding/json"
	"time"

	"tokend/ipc"
	"tokend/providers/token"
)

// events streams what happens: a line of JSON for each event, and an empty line
// where nothing happens for a while, so that a reader that is gone is noticed.
// It ends when tokend does, or when a line cannot leave in time.
func (h *handler) events(c *call) (any, error) {
	profiles, err := decodeWatch(c.URL.RawQuery)
	if err != nil {
		return nil, err
	}
	events, err := h.backend.Watch(c.Context(), profiles)
	if err != nil {
		return nil, err
	}
	defer events.Close()
	ctx, cancel := context.WithCancel(c.Context())
	defer cancel()
	defer context.AfterFunc(h.ending, cancel)()

	c.begin(linesType)
	sent := c.sendPart(nil) // the header: from now on nothing is missed
	for sent {
		line, ok := nextLine(ctx, events)
		if !ok {
			break
		}
		sent = c.sendPart(line)
	}
	if sent && c.Context().Err() == nil {
		c.sendPart(eventLine(token.Event{Time: time.Now().UTC().Round(0), Kind: token.EventStopping}))
	}
	return nil, nil
}

// nextLine waits for an event, or for the next heartbeat; not ok when ctx ends.
func nextLine(ctx context.Context, events token.Events) (line []byte, ok bool) {
	beat, cancel := context.WithTimeout(ctx, ipc.Heartbeat)
	defer cancel()
	e, err := events.Next(beat)
	if err == nil {
		return eventLine(e), true
	}
	return []byte("\n"), ctx.Err() == nil && beat.Err() != nil
}

// eventLine returns an empty line for an event that has no JSON form: a time
// beyond the year 9999.
func eventLine(e token.Event) []byte {
	line, _ := json.Marshal(e)
	return append(line, '\n')
}

// auditLog streams the audit log: a line of JSON for each entry, then an empty object.
func (h *handler) auditLog(c *call) (any, error) {
	entries, err := h.AuditLog(c.Context())
	if err != nil {
		return nil, err
	}
	c.begin(linesType)
	var part []byte
	for e := range entries {
		line, _ := json.Marshal(e) // it came as JSON
		part = append(append(part, line...), '\n')
		if len(part) < 32<<10 {
			continue
		}
		if !c.sendPart(part) {
			return nil, token.ErrUnavailable
		}
		part = part[:0]
	}
	c.sendPart(append(part, "{}\n"...))
	return nil, nil
}

// metrics answers Prometheus.
func (h *handler) metrics(c *call) (any, error) {
	if h.Metrics == nil {
		return nil, &token.Error{Code: token.ErrNotFound, Message: "this tokend has no metrics"}
	}
	metrics, err := h.Metrics(c.Context())
	if err != nil {
		return nil, err
	}
	c.begin(textType) // Prometheus' handler adds the version of its format
	metrics.ServeHTTP(c.w, c.Request)
	return nil, nil
}
