package ipcserver

import (
	"bytes"
	"net/http"
	"strconv"
	"time"

	"tokend/ipc"
	"tokend/providers/token"
	"tokend/providers/token/format"
)

// A plainGet is what programs ask most: for a token, in JSON.
type plainGet struct {
	profile string // empty if it is to be found by query.URL
	query   token.Query
	// last: the caller wants the connection closed behind the answer.
	last bool
}

// parsePlain reads a plain get that is all of b, in the form that HTTP clients
// commonly give it: one Host, and of other fields only those that change
// nothing about the answer. Of whatever else it says false, also of much that
// HTTP/1.1 (RFC 9112) has mean the same: that is for net/http to judge.
func parsePlain(b []byte) (get plainGet, ok bool) {
	rest, ok := bytes.CutPrefix(b, []byte("GET "))
	if !ok {
		return get, false
	}
	target, rest, ok := bytes.Cut(rest, []byte(" HTTP/1.1\r\n"))
	if !ok || !get.parseTarget(target) {
		return get, false
	}
	hosts := 0
	for {
		var line []byte
		if line, rest, ok = bytes.Cut(rest, []byte("\r\n")); !ok {
			return get, false
		}
		if len(line) == 0 {
			return get, hosts == 1 && len(rest) == 0
		}
		field, value, _ := bytes.Cut(line, []byte(": "))
		switch string(field) {
		case "Host":
			hosts++
			ok = consists(value, plainHost)
		case "Connection":
			get.last = get.last || string(value) == "close"
			ok = string(value) == "close" || string(value) == "keep-alive"
		case "Accept":
			ok = string(value) == jsonType || string(value) == "*/*"
		case "Cache-Control":
			ok = string(value) == onlyIfCached // as all that is answered here
		case "Accept-Encoding", "User-Agent":
			ok = consists(value, visible)
		default:
			ok = false
		}
		if !ok {
			return get, false
		}
	}
}

// parseTarget reads the path and the query.
func (get *plainGet) parseTarget(target []byte) (ok bool) {
	path, query, asks := bytes.Cut(target, []byte("?"))
	if name, named := bytes.CutPrefix(path, []byte(ipc.TokenPath)); named {
		get.profile = string(name)
		ok = len(name) <= ipc.MaxName && consists(name, plainName)
	} else {
		ok = asks && string(path) == ipc.AnyTokenPath
	}
	if !ok || !asks {
		return ok
	}
	if !consists(query, plainQuery) {
		return false
	}
	q, err := ipc.DecodeQuery(string(query))
	get.query = q
	return err == nil && q.Trace == nil && (get.profile != "" || q.URL != "")
}

// consists tells whether there is something in b, and it is all of a class.
func consists(b []byte, class byte) bool {
	for _, c := range b {
		if classes[c]&class == 0 {
			return false
		}
	}
	return len(b) > 0
}

// Classes of bytes, overlapping.
const (
	plainName = 1 << iota // needs no escape in a path
	plainHost
	plainQuery
	visible // and the space
)

var classes = func() (t [256]byte) {
	for c := byte(' '); c <= '~'; c++ {
		t[c] = visible
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '-':
			t[c] |= plainName | plainHost | plainQuery
		case c == '_':
			t[c] |= plainName | plainQuery
		case c == ':':
			t[c] |= plainHost | plainQuery
		case c == '%', c == '&', c == '=', c == '+', c == '/', c == '~', c == '*':
			t[c] |= plainQuery
		}
	}
	return t
}()

// appendHead appends what net/http writes before the body of a granted token.
func appendHead(b []byte, length int, now time.Time, last bool) []byte {
	b = append(b, "HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(length), 10)
	b = append(b, "\r\nContent-Type: "+jsonType+"\r\nDate: "...)
	b = now.UTC().AppendFormat(b, http.TimeFormat)
	if last {
		b = append(b, "\r\nConnection: close"...)
	}
	return append(b, "\r\n\r\n"...)
}

// A sheet is memory to read a plain get into and to write its answer on.
type sheet struct {
	in        [1 << 10]byte // one that is longer is not plain
	body, out []byte
}

// answer makes the answer that grants g. It holds the token in the open.
func (s *sheet) answer(g token.Grant, now time.Time, last bool) []byte {
	s.body = format.AppendJSON(s.body[:0], g, now)
	s.out = append(appendHead(s.out[:0], len(s.body), now, last), s.body...)
	return s.out
}

// wipe takes the token off the sheet.
func (s *sheet) wipe() {
	clear(s.body)
	clear(s.out)
}
