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

// readAnswer reads one HTTP/1.1 answer (RFC 9112) of the kind that tokend
// gives to all requests but one: with a Content-Length and no transfer coding.
func readAnswer(r io.Reader) (status int, body []byte, err error) {
	br := bufio.NewReaderSize(r, maxHead)
	status, h, err := readHead(br)
	if err != nil {
		return 0, nil, err
	}
	body, err = h.body(br)
	return status, body, err
}

// A head is what an answer's header says of its body.
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

// body reads the body of an answer that is not a stream.
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
