//go:build linux

package ipcserver

import (
	"bufio"
	"bytes"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
)

// The answers to garbage are well-formed, and none is tokend's own fault.
func FuzzHandler(f *testing.F) {
	for _, raw := range []string{
		"GET /v1/token/clms?scope=a&min_ttl=5m HTTP/1.1\r\nHost: x\r\nAccept: text/plain\r\n\r\n",
		"POST /v1/token/clms/invalidate HTTP/1.1\r\nHost: x\r\nContent-Length: 22\r\n\r\n{\"access_token\":\"abc\"}",
		"POST /v1/profiles HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nd\r\n{\"name\":\"new\"}\r\n0\r\n\r\n",
		"POST /v1/profiles/x/rotate HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
		"DELETE /v1/profiles/%2e%2e HTTP/1.1\r\nHost: x\r\n\r\n",
		"POST /v1/sign/clms HTTP/1.1\r\nHost: x\r\nContent-Length: 19\r\n\r\n{\"url\":\"https://x\"}",
		"POST /v1/verify/clms HTTP/1.1\r\nHost: x\r\nContent-Length: 30\r\n\r\n{\"token\":\"good\",\"remote\":true}",
		"GET /v1/authorize/clms HTTP/1.1\r\nHost: x\r\nX-API-Key: good\r\nAuthorization: Bearer good\r\n\r\n",
		"GET /v1/authorize/clms HTTP/1.1\r\nHost: x\r\nAuthorization: bearer expired\r\n\r\n",
		"PUT /v1/status HTTP/1.1\r\nHost: x\r\nOrigin: y\r\n\r\n",
	} {
		f.Add([]byte(raw))
	}
	f.Fuzz(fuzzHandler)
}

func fuzzHandler(t *testing.T, raw []byte) {
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
	if err != nil {
		return
	}
	answer, text := askAs(newHandler(newMemory(), Options{}), os.Getuid(), r)
	body := []byte(text)
	if answer.StatusCode >= 500 && !turnedAway(answer.StatusCode, body) {
		t.Fatalf("%s: %s", answer.Status, body)
	}
	if answer.StatusCode == http.StatusNoContent {
		if len(body) > 0 || !verdicts[r.Header.Get("X-Api-Key")].Valid && !verdicts[strings.TrimSpace(bearer(r))].Valid {
			t.Fatalf("let through: %q", raw)
		}
		return
	}
	if answer.Header.Get("Content-Length") != strconv.Itoa(len(body)) {
		t.Fatalf("Content-Length %q for %d bytes", answer.Header.Get("Content-Length"), len(body))
	}
	if answer.StatusCode >= 400 && len(body) == 0 {
		t.Fatalf("%s without a word", answer.Status)
	}
}

// turnedAway reports the one status from 500 on that garbage can lead to: a
// web page's request to authorize.
func turnedAway(status int, body []byte) bool {
	return status == http.StatusInternalServerError && bytes.Contains(body, []byte(`"code":"denied"`))
}

// bearer is the last bearer token in the header; garbage may hold several, and
// authorize lets none of those through that differ.
func bearer(r *http.Request) (text string) {
	for _, value := range r.Header.Values("Authorization") {
		if scheme, rest, _ := strings.Cut(strings.TrimSpace(value), " "); strings.EqualFold(scheme, "bearer") && strings.TrimSpace(rest) != "" {
			text = rest
		}
	}
	return text
}
