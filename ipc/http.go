package ipc

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

const (
	// maxLine bounds a line of a stream, maxHead the head of an answer, in bytes. A
	// line of the head fits into the 4 KiB that package bufio reads at a time: more
	// memory costs a program that has just started.
	maxLine = 64 << 10
	maxHead = 16 << 10
)

// An answer is an HTTP answer whose head has been read.
type answer struct {
	client *Client
	conn   connection
	in     *bufio.Reader // of conn
	status int
	length int // -1 if the body ends with the connection
}

// readHead reads the status line and the header.
func (a *answer) readHead() error {
	for size := 0; ; {
		line, err := a.in.ReadSlice('\n')
		size += len(line)
		text := strings.TrimRight(string(line), "\r\n")
		switch {
		case errors.Is(err, bufio.ErrBufferFull), size > maxHead:
			return fmt.Errorf("a header of more than %d bytes", maxHead)
		case err != nil:
			return fmt.Errorf("reading the header: %w", err)
		case a.status == 0:
			err = a.parseStatus(text)
		case text == "":
			return nil
		default:
			err = a.parseField(text)
		}
		if err != nil {
			return err
		}
	}
}

// parseStatus reads "HTTP/1.0 200 OK". HTTP/1.1 is as good: what differs, a
// server must not use in an answer to HTTP/1.0.
func (a *answer) parseStatus(line string) error {
	version, rest, _ := strings.Cut(line, " ")
	code, _, _ := strings.Cut(rest, " ")
	status, err := strconv.ParseUint(code, 10, 16)
	if version != "HTTP/1.0" && version != "HTTP/1.1" || err != nil || len(code) != 3 || status < 200 {
		return errors.New("not an HTTP/1 answer with a final status")
	}
	a.status = int(status)
	return nil
}

// parseField reads a line of the header.
func (a *answer) parseField(line string) error {
	name, value, ok := strings.Cut(line, ":")
	value = strings.TrimSpace(value)
	switch {
	case !ok:
		return errors.New("a header line without a colon")
	case strings.EqualFold(name, "Transfer-Encoding"):
		return errors.New("a transfer coding, in answer to HTTP/1.0")
	case strings.EqualFold(name, "Content-Length"):
		n, err := strconv.ParseUint(value, 10, 31)
		if err != nil || n > MaxAnswer || a.length >= 0 {
			return fmt.Errorf("a Content-Length that is not a number up to %d, or given twice", MaxAnswer)
		}
		a.length = int(n)
	}
	return nil
}

// decode reads the body, keeping numbers as they are written.
func (a *answer) decode(ctx context.Context, into any) error {
	body, err := a.body(ctx)
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if err = d.Decode(into); err == nil && d.More() {
		err = errors.New("a body that goes on after its JSON")
	}
	if err != nil {
		return a.client.nonsense(err)
	}
	return nil
}

// body reads the whole body. If that is a refusal, it is also the error.
func (a *answer) body(ctx context.Context) ([]byte, error) {
	defer context.AfterFunc(ctx, a.conn.interrupt)()
	body := make([]byte, max(a.length, 0))
	var err error
	if a.length < 0 { // a long list, from the first versions of tokend
		body, err = io.ReadAll(io.LimitReader(a.in, MaxAnswer+1))
	} else {
		_, err = io.ReadFull(a.in, body)
	}
	switch {
	case err != nil:
		return nil, a.client.failed(ctx, fmt.Errorf("reading the body: %w", err))
	case len(body) > MaxAnswer:
		return nil, a.client.nonsense(fmt.Errorf("a body of more than %d bytes", MaxAnswer))
	case a.status/100 != 2:
		return body, a.client.refusal(a.status, body)
	}
	return body, nil
}
