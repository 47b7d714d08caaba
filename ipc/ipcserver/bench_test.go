//go:build linux

package ipcserver

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"tokend/ipc"
	"tokend/providers/token"
	"tokend/providers/token/format"
)

// BenchmarkGet measures a token that is at hand, against the least that
// net/http can do over a Unix socket in the same run.
func BenchmarkGet(b *testing.B) {
	book := newBook()
	tok := book.tokens["clms"]
	tok.Issued, tok.Expiry = time.Now(), time.Now().Add(time.Hour)
	book.tokens["clms"] = tok
	ours := start(b, quiet{book}, Options{Log: slog.New(slog.DiscardHandler)}).socket
	bare := startBare(b, format.AppendJSON(nil, token.Grant{Token: tok, Profile: "clms"}, time.Now()))
	for _, c := range []struct {
		name, socket string
		run          func(*testing.B, string)
	}{
		{"kept/tokend", ours, getKept}, {"kept/bare", bare, getKept},
		{"new/tokend", ours, getNew}, {"new/bare", bare, getNew},
	} {
		b.Run(c.name, func(b *testing.B) { b.ReportAllocs(); c.run(b, c.socket) })
	}
}

// quiet does not remember the queries, of which there will be many.
type quiet struct{ *book }

func (q quiet) Get(context.Context, string, token.Query) (token.Grant, error) {
	return token.Grant{Token: q.tokens["clms"], Profile: "clms"}, nil
}

func startBare(b *testing.B, body []byte) (socket string) {
	socket = filepath.Join(b.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		b.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body)
	})}
	go func() { _ = srv.Serve(l) }()
	b.Cleanup(func() { _ = srv.Close() })
	return socket
}

// getKept asks over one connection. All answers have the length of the first.
func getKept(b *testing.B, socket string) {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	request := []byte("GET /v1/token/clms HTTP/1.1\r\nHost: tokend\r\n\r\n")
	answer := make([]byte, 4096)
	if _, err := conn.Write(request); err != nil {
		b.Fatal(err)
	}
	n, err := conn.Read(answer)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := conn.Write(request); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(conn, answer[:n]); err != nil {
			b.Fatal(err)
		}
	}
}

// getNew asks as tokenctl does, over a new connection each time.
func getNew(b *testing.B, socket string) {
	client := &ipc.Client{Socket: socket}
	for b.Loop() {
		if _, err := client.Get(b.Context(), "clms", token.Query{}); err != nil {
			b.Fatal(err)
		}
	}
}
