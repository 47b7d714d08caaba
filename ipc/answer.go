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
// gives: with a Content-Length and no transfer coding.
func readAnswer(r io.Reader) (status int, body []byte, err error) {
	br := bufio.NewReaderSize(r, maxHead)
	line, err := br.ReadSlice('\n')
	if len(line) == 0 && errors.Is(err, io.EOF) {
		return 0, nil, errNoAnswer
	}
	if err != nil {
		return 0, nil, headError(err)
	}
	status, err = parseStatus(line)
	if err != nil {
		return 0, nil, err
	}
	length, err := readLength(br, len(line))
	if err != nil {
		return 0, nil, err
	}
	body = make([]byte, length)
	if _, err := io.ReadFull(br, body); err != nil {
		return 0, nil, fmt.Errorf("reading the body: %w", unexpected(err))
	}
	return status, body, nil
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

// readLength reads the header, of which size bytes were used up by the status
// line, and returns the length of the body that follows.
func readLength(br *bufio.Reader, size int) (int, error) {
	length := -1
	for {
		line, err := br.ReadSlice('\n')
		if err != nil {
			return 0, headError(err)
		}
		if size += len(line); size > maxHead {
			return 0, headError(bufio.ErrBufferFull)
		}
		text := strings.TrimRight(string(line), "\r\n")
		if text == "" {
			break
		}
		name, value, ok := strings.Cut(text, ":")
		switch {
		case !ok:
			return 0, errors.New("a header line without a colon")
		case strings.EqualFold(name, "Transfer-Encoding"):
			return 0, errors.New("a body with a transfer coding")
		case strings.EqualFold(name, "Content-Length"):
			n, err := strconv.ParseUint(strings.TrimSpace(value), 10, 31)
			if err != nil || n > MaxBody || length >= 0 {
				return 0, fmt.Errorf("a Content-Length that is no number up to %d, or given twice", MaxBody)
			}
			length = int(n)
		}
	}
	if length < 0 {
		return 0, errors.New("no Content-Length")
	}
	return length, nil
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
