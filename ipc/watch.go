package ipc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"time"

	"tokend/providers/token"
)

// Heartbeat is how often, at least, a stream of events has an empty line, so that
// either side notices when the other is gone.
const Heartbeat = 15 * time.Second

// Watch streams what happens from now on to the named profiles, or if you name
// none to all that you may see, and to the daemon itself. After the event
// "stopping" Next returns io.EOF; ErrNoDaemon says that the stream broke off.
func (c *Client) Watch(ctx context.Context, profiles []string) (token.Events, error) {
	a, err := c.open(ctx, call{method: "GET", path: EventsPath, query: url.Values{"profile": profiles}.Encode()})
	if err != nil {
		return nil, err
	}
	if a.status/100 != 2 {
		_, err := a.body(ctx)
		return nil, errors.Join(err, a.conn.Close())
	}
	return &stream{answer: a}, nil
}

// A stream reads events.
type stream struct {
	*answer
	stopped bool // the last event said that tokend stops
}

// Next implements token.Events. When its ctx ends, so does the stream: it may have
// read a part of a line by then.
func (s *stream) Next(ctx context.Context) (token.Event, error) {
	defer context.AfterFunc(ctx, s.conn.interrupt)()
	for {
		s.conn.timeout(3 * Heartbeat)
		line, err := s.in.ReadSlice('\n')
		switch {
		case err != nil && ctx.Err() != nil:
			return token.Event{}, ctx.Err()
		case errors.Is(err, io.EOF) && len(line) == 0 && s.stopped:
			return token.Event{}, io.EOF
		case err != nil:
			return token.Event{}, &token.Error{Code: token.ErrNoDaemon, Message: "tokend at " + s.client.Socket + " went away"}
		}
		if line = bytes.TrimSpace(line); len(line) == 0 { // a heartbeat
			continue
		}
		var e token.Event
		if err := json.Unmarshal(line, &e); err != nil {
			return token.Event{}, s.client.nonsense(err)
		}
		s.stopped = e.Kind == token.EventStopping
		return e, nil
	}
}

// Close implements token.Events.
func (s *stream) Close() { _ = s.conn.Close() }
