package ipc

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"time"

	"tokend/providers/token"
)

const (
	// Heartbeat is how often a stream of events has an empty line at least, so
	// that either side notices when the other is gone.
	Heartbeat = 15 * time.Second
	// maxEvent bounds an event's line, in bytes.
	maxEvent = 64 << 10
)

// Watch gives what happens from now on: to the named profiles, or if none are
// named to all that the caller may see, and to the daemon itself. After the
// event "stopping" Next returns io.EOF; ErrNoDaemon says that the stream broke
// off.
func (c *Client) Watch(ctx context.Context, profiles []string) (token.Events, error) {
	for _, name := range profiles {
		if err := CheckName(name); err != nil {
			return nil, err
		}
	}
	path := EventsPath
	if len(profiles) > 0 {
		path += "?" + url.Values{"profile": profiles}.Encode()
	}
	conn, err := c.connect(ctx)
	if err != nil {
		return nil, err
	}
	w := &watching{client: c, conn: conn, in: bufio.NewReaderSize(conn, maxHead)}
	if err := w.begin(ctx, request("GET", path, nil)); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return w, nil
}

// DecodeWatch reads the query of GET /v1/events strictly.
func DecodeWatch(raw string) (profiles []string, err error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return nil, invalid("", "the query is not in the form name=value&name=value")
	}
	for name := range values {
		if name != "profile" {
			return nil, invalid(name, "unknown query parameter %q", name)
		}
	}
	for _, name := range values["profile"] {
		if err := CheckName(name); err != nil {
			return nil, err
		}
	}
	return values["profile"], nil
}

// A watching reads a stream of events.
type watching struct {
	client *Client
	conn   connection
	in     *bufio.Reader // of the connection
	lines  *bufio.Reader // of the body
}

// begin sends the request and reads the answer's head.
func (w *watching) begin(ctx context.Context, request []byte) error {
	stop := context.AfterFunc(ctx, w.conn.interrupt)
	defer stop()
	_, writeErr := w.conn.Write(request)
	status, h, err := readHead(w.in)
	switch {
	case err != nil && ctx.Err() != nil:
		return fmt.Errorf("waiting for tokend at %s: %w", w.client.Socket, ctx.Err())
	case err != nil:
		return w.broken(errors.Join(err, writeErr))
	case status == 200 && h.chunked:
		w.lines = bufio.NewReaderSize(&chunks{in: w.in}, maxEvent)
		return nil
	}
	body, err := h.body(w.in)
	if err != nil {
		return w.broken(err)
	}
	return w.client.refusal(status, body)
}

// Next implements token.Events. When its ctx ends, so does the stream: what was
// read of a line by then is gone.
func (w *watching) Next(ctx context.Context) (token.Event, error) {
	stop := context.AfterFunc(ctx, w.conn.interrupt)
	defer stop()
	silence := time.AfterFunc(3*Heartbeat, w.conn.interrupt)
	defer silence.Stop()
	for {
		line, err := w.lines.ReadSlice('\n')
		switch {
		case err != nil && ctx.Err() != nil:
			return token.Event{}, ctx.Err()
		case errors.Is(err, io.EOF) && len(line) == 0:
			return token.Event{}, io.EOF
		case err != nil:
			return token.Event{}, w.broken(err)
		}
		silence.Reset(3 * Heartbeat)
		if line = bytes.TrimSpace(line); len(line) == 0 { // a heartbeat
			continue
		}
		var e token.Event
		if err := json.Unmarshal(line, &e); err != nil {
			return token.Event{}, w.client.nonsense(err)
		}
		return e, nil
	}
}

// Close implements token.Events.
func (w *watching) Close() { _ = w.conn.Close() }

func (w *watching) broken(err error) error {
	return &token.Error{Code: token.ErrNoDaemon, Cause: err, Message: fmt.Sprintf("tokend at %s went away", w.client.Socket)}
}

// chunks reads a body in chunked transfer coding (RFC 9112 §7.1). A body that
// ends before its last chunk is io.ErrUnexpectedEOF.
type chunks struct {
	in   *bufio.Reader
	left int // of the chunk at hand
	open bool
	end  bool
}

func (c *chunks) Read(b []byte) (int, error) {
	for c.left == 0 {
		if c.end {
			return 0, io.EOF
		}
		if err := c.next(); err != nil {
			return 0, unexpected(err)
		}
	}
	n, err := c.in.Read(b[:min(len(b), c.left)])
	c.left -= n
	if n > 0 {
		err = nil
	}
	return n, unexpected(err)
}

// next reads the line that ends a chunk and the one that begins the next.
func (c *chunks) next() error {
	if c.open {
		if line, err := c.in.ReadSlice('\n'); err != nil || len(bytes.TrimSpace(line)) > 0 {
			return errors.Join(errors.New("a chunk longer than it says"), err)
		}
	}
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return err
	}
	size, _, _ := bytes.Cut(bytes.TrimRight(line, " \t\r\n"), []byte(";"))
	n, err := strconv.ParseUint(string(size), 16, 31)
	if err != nil {
		return errors.New("a chunk whose size is no number")
	}
	c.left, c.open = int(n), true
	if n > 0 {
		return nil
	}
	c.end = true
	if line, err := c.in.ReadSlice('\n'); err != nil || len(bytes.TrimSpace(line)) > 0 {
		return errors.Join(errors.New("a trailer"), err)
	}
	return nil
}
