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

// maxHead bounds an answer's status line and header, in bytes.
const maxHead = 16 << 10

// errNoAnswer: the connection ended before the answer began.
var errNoAnswer = errors.New("no answer")

// A head is what the header of an HTTP/1.1 answer (RFC 9112) says of its body.
type head struct {
	length  int // -1 if it does not say
	chunked bool
}

// readHead reads the status line and the header.
func readHead(br *bufio.Reader) (status int, h head, err error) {
	line, err := br.ReadSlice('\n')
	if len(line) == 0 && errors.Is(err, io.EOF) {
		return 0, h, errNoAnswer
	}
	if err != nil {
		return 0, h, headError(err)
	}
	status, err = parseStatus(line)
	if err != nil {
		return 0, h, err
	}
	h, err = readHeader(br, len(line))
	return status, h, err
}

// body reads the body of an answer of the kind that tokend gives to most
// requests: with a Content-Length and no transfer coding.
func (h head) body(br *bufio.Reader) ([]byte, error) {
	switch {
	case h.chunked:
		return nil, errors.New("a body with a transfer coding")
	case h.length < 0:
		return nil, errors.New("no Content-Length")
	}
	body := make([]byte, h.length)
	if _, err := io.ReadFull(br, body); err != nil {
		return nil, fmt.Errorf("reading the body: %w", unexpected(err))
	}
	return body, nil
}

// stream is the body of an answer that may come in chunks, to be read while it
// arrives.
func (h head) stream(br *bufio.Reader) (io.Reader, error) {
	if h.chunked {
		return &bounded{&chunks{in: br}, MaxAnswer}, nil
	}
	body, err := h.body(br)
	return bytes.NewReader(body), err
}

// A bounded reader fails when there is more to read than left.
type bounded struct {
	in   io.Reader
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.in.Read(p)
	if b.left -= n; b.left < 0 {
		return 0, fmt.Errorf("a body of more than %d bytes", MaxAnswer)
	}
	return n, err
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

// readHeader reads the header, of which size bytes were used up by the status
// line.
func readHeader(br *bufio.Reader, size int) (head, error) {
	h := head{length: -1}
	for {
		line, err := br.ReadSlice('\n')
		if err != nil {
			return h, headError(err)
		}
		if size += len(line); size > maxHead {
			return h, headError(bufio.ErrBufferFull)
		}
		text := strings.TrimRight(string(line), "\r\n")
		if text == "" {
			return h, nil
		}
		name, value, ok := strings.Cut(text, ":")
		value = strings.TrimSpace(value)
		switch {
		case !ok:
			return h, errors.New("a header line without a colon")
		case strings.EqualFold(name, "Transfer-Encoding"):
			if h.chunked = strings.EqualFold(value, "chunked"); !h.chunked {
				return h, errors.New("a transfer coding other than chunked")
			}
		case strings.EqualFold(name, "Content-Length"):
			n, err := strconv.ParseUint(value, 10, 31)
			if err != nil || n > MaxAnswer || h.length >= 0 {
				return h, fmt.Errorf("a Content-Length that is no number up to %d, or given twice", MaxAnswer)
			}
			h.length = int(n)
		}
	}
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
