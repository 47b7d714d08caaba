package ipc

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"testing"

	"tokend/providers/token"
)

// The bodies and queries of the smaller requests, by the path that takes them.
func FuzzDecodeBodies(f *testing.F) {
	decoders := []func(body []byte) (usable bool, err error){
		func(b []byte) (bool, error) { in, err := DecodeMSI(b); return len(in.Profiles) > 0, err },
		func(b []byte) (bool, error) { r, err := DecodeExchange(b); return token.CheckURL(r) == nil, err },
		func(b []byte) (bool, error) { _, err := DecodeKeystoreChoice(b); return true, err },
		func(b []byte) (bool, error) {
			s, err := DecodeInvalidation(b)
			return err != nil || len(b) > 0 || s.IsZero(), err
		},
		func(b []byte) (bool, error) {
			names, err := DecodeWatch(string(b))
			for _, name := range names {
				err = errors.Join(err, CheckName(name))
			}
			return true, err
		},
	}
	for which, body := range []string{
		`{"profiles":["a"],"endpoint":"http://127.0.0.1:4000/msi/token","header":"00"}`, `{"registry":"https://reg.example"}`,
		`{"keystore":"sealed","key_file":"/k"}`, `{"access_token":"abc"}`, "profile=a&profile=b",
	} {
		f.Add(uint8(which), []byte(body))
	}
	f.Add(uint8(0), []byte(`{"profiles":["a/b"]}`))
	f.Add(uint8(1), []byte(`{"registry":"http://reg.example"}`))
	f.Add(uint8(3), []byte(`{"access_token":"","access_token":null}`))
	f.Add(uint8(4), []byte("profile=%00&x=1"))
	f.Fuzz(func(t *testing.T, which uint8, body []byte) {
		usable, err := decoders[int(which)%len(decoders)](body)
		if err != nil && !errors.Is(err, token.ErrInvalid) {
			t.Fatalf("not ErrInvalid: %v", err)
		}
		if err == nil && !usable {
			t.Fatalf("%q was taken", body)
		}
	})
}

// A stream of events, as the client reads it, ends, and is not taken for whole
// where it is not.
func FuzzWatch(f *testing.F) {
	const head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	f.Add([]byte(head + "1\r\n\n\r\n" + "15\r\n{\"event\":\"stopping\"}\n\r\n0\r\n\r\n"))
	f.Add([]byte(head + "ffffffff\r\n{}"))
	f.Add([]byte(head + "7fffffff;x\r\n{\n\r\n0\r\nA: b\r\n\r\n"))
	f.Add([]byte(head + " 0\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\n{}"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		w := &watching{client: &Client{Socket: "/s"}, conn: recording{bytes.NewReader(raw)}}
		w.in = bufio.NewReaderSize(w.conn, maxHead)
		if err := w.begin(t.Context(), nil); err != nil {
			return
		}
		for n := 0; ; n++ {
			_, err := w.Next(t.Context())
			switch {
			case err == nil && n > len(raw):
				t.Fatalf("%d events in %d bytes", n, len(raw))
			case errors.Is(err, io.EOF) && !bytes.HasSuffix(bytes.TrimRight(raw, "\r\n"), []byte("0")) && !bytes.Contains(raw, []byte("\n0")):
				t.Fatalf("it was taken for whole: %q", raw)
			case err != nil:
				return
			}
		}
	})
}

// recording is a connection on which everything has been said.
type recording struct{ io.Reader }

func (recording) Write(b []byte) (int, error) { return len(b), nil }
func (recording) Close() error                { return nil }
func (recording) interrupt()                  {}
