//go:build linux

package ipcserver

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"tokend/providers/token"
)

// No request on loopback gets a token but one that knows the secret and comes
// from no web page and no proxy.
func FuzzMSI(f *testing.F) {
	const secret = "0123456789abcdef"
	const host = "127.0.0.1:40000"
	const good = "GET /msi/token?resource=https://vault.azure.net HTTP/1.1\r\nHost: " + host + "\r\nX-Identity-Header: " + secret + "\r\n\r\n"
	f.Add([]byte(good))
	for _, change := range [][2]string{
		{"X-Identity-Header: " + secret, "X-Identity-Header: x"}, {"X-Identity-Header", "X-Identity-Header: " + secret + "\r\nX-Identity-Header"},
		{"Host: " + host, "Host: attacker.example"}, {"\r\n\r\n", "\r\nOrigin: null\r\n\r\n"}, {"\r\n\r\n", "\r\nx-forwarded-for: 1.1.1.1\r\n\r\n"},
		{"GET", "POST"}, {"/msi/token", "//msi/token"}, {"resource=", "resource=a&resource="}, {"resource=", "client_id=x&resource="},
	} {
		f.Add([]byte(strings.Replace(good, change[0], change[1], 1)))
	}
	b := newMemory()
	e := &msi{h: newHandler(b, Options{}), secret: secret, address: host,
		profiles: []token.ProfileStatus{{Name: "clms", Provider: msiProvider, Settings: map[string]any{"client_id": "c"}}}}
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
		if err != nil {
			return
		}
		w := httptest.NewRecorder()
		e.ServeHTTP(w, r)
		body, _ := io.ReadAll(w.Result().Body)
		if w.Code >= 500 {
			t.Fatalf("%d %s", w.Code, body)
		}
		if !bytes.Contains(body, []byte("tok-1")) {
			return
		}
		for name := range r.Header {
			if strings.HasPrefix(strings.ToLower(name), "x-forwarded") || name == "Origin" || name == "Referer" {
				t.Fatalf("a token for a web page: %q", raw)
			}
		}
		if len(r.Header["X-Identity-Header"]) != 1 || r.Header["X-Identity-Header"][0] != secret || r.Method != "GET" || r.Host != host && r.Host != "localhost:40000" {
			t.Fatalf("a token for a stranger: %q", raw)
		}
	})
}
