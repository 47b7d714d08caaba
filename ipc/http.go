package ipc

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

const (
	// maxLine bounds a line of an answer's head, maxHead all of it, in bytes.
	maxLine = 4 << 10
	maxHead = 16 << 10
)

// errNoAnswer: the connection ended before the answer began.
var errNoAnswer = errors.New("no answer")

func writeRequest(method, path string, body []byte) []byte {
	b := make([]byte, 0, 256+len(path)+len(body))
	b = append(b, method+" "+path+" HTTP/1.1\r\nHost: tokend\r\nConnection: close\r\nAccept: application/json\r\n"...)
	if method == "POST" {
		b = append(b, "Content-Type: application/json\r\nContent-Length: "...)
		b = append(strconv.AppendInt(b, int64(len(body)), 10), "\r\n"...)
	}
	b = append(b, "\r\n"...)
	return append(b, body...)
}

// An answer is the head of an HTTP/1.1 answer (RFC 9112), and in what its body
// comes from.
type answer struct {
	status  int
	length  int // -1 if the head names none
	chunked bool
	in      *bufio.Reader
}

// readHead reads the status line and the header.
func readHead(br *bufio.Reader) (*answer, error) {
	line, err := br.ReadSlice('\n')
	if len(line) == 0 && errors.Is(err, io.EOF) {
		return nil, errNoAnswer
	}
	if err != nil {
		return nil, headError(err)
	}
	a := &answer{length: -1, in: br}
	if a.status, err = parseStatus(line); err != nil {
		return nil, err
	}
	for size := len(line); ; {
		if line, err = br.ReadSlice('\n'); err != nil {
			return nil, headError(err)
		}
		if size += len(line); size > maxHead {
			return nil, headError(bufio.ErrBufferFull)
		}
		text := strings.TrimRight(string(line), "\r\n")
		if text == "" {
			return a, nil
		}
		if err := a.parseField(text); err != nil {
			return nil, err
		}
	}
}

// parseStatus reads "HTTP/1.1 200 OK".
func parseStatus(line []byte) (int, error) {
	rest, ok := bytes.CutPrefix(line, []byte("HTTP/1.1 "))
	if !ok || len(rest) < 4 || (rest[3] != ' ' && rest[3] != '\r') {
		return 0, errors.New("not an HTTP/1.1 answer")
	}
	status, err := strconv.ParseUint(string(rest[:3]), 10, 16)
	if err != nil || status < 200 {
		return 0, errors.New("not a final HTTP status")
	}
	return int(status), nil
}

// parseField reads a line of the header.
func (a *answer) parseField(line string) error {
	name, value, ok := strings.Cut(line, ":")
	value = strings.TrimSpace(value)
	switch {
	case !ok:
		return errors.New("a header line without a colon")
	case strings.EqualFold(name, "Transfer-Encoding"):
		if a.chunked = strings.EqualFold(value, "chunked"); !a.chunked {
			return errors.New("a transfer coding other than chunked")
		}
	case strings.EqualFold(name, "Content-Length"):
		n, err := strconv.ParseUint(value, 10, 31)
		if err != nil || n > MaxAnswer || a.length >= 0 {
			return fmt.Errorf("a Content-Length that is not a number up to %d, or given twice", MaxAnswer)
		}
		a.length = int(n)
	}
	return nil
}

// body reads the whole body.
func (a *answer) body() (body []byte, err error) {
	switch {
	case a.chunked: // a long list, from the first versions of tokend
		body, err = io.ReadAll(io.LimitReader(&chunks{in: a.in}, MaxAnswer+1))
		if len(body) > MaxAnswer {
			return nil, fmt.Errorf("a body of more than %d bytes", MaxAnswer)
		}
	case a.length < 0:
		return nil, errors.New("no Content-Length")
	default:
		body = make([]byte, a.length)
		_, err = io.ReadFull(a.in, body)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the body: %w", unexpected(err))
	}
	return body, nil
}

func headError(err error) error {
	if errors.Is(err, bufio.ErrBufferFull) {
		return fmt.Errorf("a header of more than %d bytes", maxHead)
	}
	return fmt.Errorf("reading the header: %w", unexpected(err))
}

// unexpected names the end of input where more must follow.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// chunks reads a body in chunked transfer coding (RFC 9112 §7.1). A body that
// ends before its last chunk is io.ErrUnexpectedEOF.
type chunks struct {
	in   *bufio.Reader
	left int // of the current chunk
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
		return errors.New("a chunk whose size is not a number")
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
