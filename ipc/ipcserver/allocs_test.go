//go:build linux

package ipcserver

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"tokend/ipc"
	"tokend/providers/token"
)

// mostAllocs is how many allocations answering a get may take, with policy and
// audit, beside net/http's own: seven, and one more under the race detector.
// If you need more, say what for in the commit.
const mostAllocs = 8

func TestAllocationsOfAGet(t *testing.T) {
	b := newMemory()
	tok := b.tokens["clms"]
	tok.Issued, tok.Expiry = time.Now(), time.Now().Add(time.Hour)
	b.tokens["clms"] = tok
	events := 0
	o := Options{Audit: func(token.AuditEntry) { events++ }}
	h := newHandler(quiet{b}, o)
	r := httptest.NewRequest("GET", "/v1/token/clms", nil)
	who := &conn{peer: ipc.Peer{UID: os.Getuid(), PID: os.Getpid()}, program: "test"}
	r = r.WithContext(context.WithValue(r.Context(), connKey{}, who))
	w := &discard{header: http.Header{}}
	got := testing.AllocsPerRun(100, func() {
		clear(w.header)
		h.ServeHTTP(w, r)
	})
	if w.status != http.StatusOK || w.size < 100 || events < 100 {
		t.Fatalf("status %d, %d bytes, %d events", w.status, w.size, events)
	}
	t.Logf("%v allocations", got)
	if got > mostAllocs {
		t.Errorf("a get takes %v allocations, at most %d are allowed", got, mostAllocs)
	}
}

// discard is a ResponseWriter that allocates nothing.
type discard struct {
	header       http.Header
	status, size int
}

func (d *discard) Header() http.Header              { return d.header }
func (d *discard) SetWriteDeadline(time.Time) error { return nil }
func (d *discard) WriteHeader(status int)           { d.status = status }
func (d *discard) Write(b []byte) (int, error)      { d.size += len(b); return len(b), nil }

// quiet has one token and does not remember who asked.
type quiet struct{ *memory }

func (q quiet) Get(context.Context, string, token.Query) (token.Grant, error) {
	return token.Grant{Token: q.tokens["clms"], Profile: "clms"}, nil
}
