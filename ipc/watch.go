package ipc

import (
	"bufio"
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
	return c.stream(ctx, call{method: "GET", path: EventsPath, query: url.Values{"profile": profiles}.Encode()})
}

// AuditLog calls each for the entries of the audit log that you may see, the oldest
// first, until it returns an error.
func (c *Client) AuditLog(ctx context.Context, each func(token.AuditEntry) error) error {
	s, err := c.stream(ctx, call{method: "GET", path: AuditPath})
	if err != nil {
		return err
	}
	defer s.Close()
	for {
		var e token.AuditEntry
		if err := s.next(ctx, &e); err != nil || e.Time.IsZero() { // the end
			return err
		}
		if err := each(e); err != nil {
			return err
		}
	}
}

// A stream reads lines of JSON.
type stream struct {
	*answer
	stopped bool // the last event said that tokend stops
}

func (c *Client) stream(ctx context.Context, k call) (*stream, error) {
	a, err := c.open(ctx, k)
	if err != nil {
		return nil, err
	}
	if a.status/100 != 2 {
		_, err := a.body(ctx)
		return nil, errors.Join(err, a.conn.Close())
	}
	a.in = bufio.NewReaderSize(a.in, maxLine)
	return &stream{answer: a}, nil
}

// Next implements token.Events. When its ctx ends, so does the stream: it may have
// read a part of a line by then.
func (s *stream) Next(ctx context.Context) (e token.Event, err error) {
	err = s.next(ctx, &e)
	s.stopped = err == nil && e.Kind == token.EventStopping
	return e, err
}

// next reads a line that is not a heartbeat into v.
func (s *stream) next(ctx context.Context, v any) error {
	defer context.AfterFunc(ctx, s.conn.interrupt)()
	for {
		s.conn.timeout(3 * Heartbeat)
		line, err := s.in.ReadSlice('\n')
		switch {
		case err != nil && ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, io.EOF) && len(line) == 0 && s.stopped:
			return io.EOF
		case err != nil:
			return &token.Error{Code: token.ErrNoDaemon, Message: "tokend at " + s.client.Socket + " went away"}
		}
		if line = bytes.TrimSpace(line); len(line) == 0 { // a heartbeat
			continue
		}
		if err := json.Unmarshal(line, v); err != nil {
			return s.client.nonsense(err)
		}
		return nil
	}
}

// Close implements token.Events.
func (s *stream) Close() { _ = s.conn.Close() }
