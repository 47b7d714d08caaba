//go:build linux

package ipcserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"reflect"
	"strings"
	"testing"
	"time"

	"tokend/ipc"
	"tokend/providers/token"
)

// A longBook has many profiles, which it makes as they are asked for.
type longBook struct {
	*book
	profiles int
	// spoil changes the i-th.
	spoil func(i int, p *token.ProfileStatus)
	// told is how many were told of when the list ended.
	told chan int
}

func newLongBook(profiles int) *longBook {
	return &longBook{book: newBook(), profiles: profiles, spoil: func(int, *token.ProfileStatus) {}, told: make(chan int, 100)}
}

func (b *longBook) profile(i int) token.ProfileStatus {
	p := b.book.profile(fmt.Sprintf("profile-%05d", i))
	p.Warnings = []string{`"<&>" ` + strings.Repeat("\u00e9\n", i%7)}
	b.spoil(i, &p)
	return p
}

func (b *longBook) StatusInParts(context.Context) (token.Status, iter.Seq[token.ProfileStatus], error) {
	return token.Status{Version: "1.2.3", Started: noon}, func(yield func(token.ProfileStatus) bool) {
		n := 0
		defer func() { b.told <- n }()
		for ; n < b.profiles; n++ {
			if !yield(b.profile(n)) {
				return
			}
		}
	}, nil
}

// whole is what the book tells, as one value.
func (b *longBook) whole() token.Status {
	st := token.Status{Version: "1.2.3", Started: noon, Profiles: []token.ProfileStatus{}}
	for i := range b.profiles {
		st.Profiles = append(st.Profiles, b.profile(i))
	}
	return st
}

// A list is the same JSON whether it leaves in pieces or not.
func TestListsOfAnyLength(t *testing.T) {
	for _, profiles := range []int{0, 1, 20, 5000} {
		b := newLongBook(profiles)
		s := start(t, b, Options{})
		for path, whole := range map[string]any{ipc.StatusPath: b.whole(), ipc.ProfilesPath: ipc.ProfileList{Profiles: b.whole().Profiles}} {
			answer, body := s.say(t, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n")
			if long := profiles == 5000; long != (answer.ContentLength < 0) || answer.Header.Get("Content-Type") != "application/json" || answer.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s of %d profiles: header %v, length %d", path, profiles, answer.Header, answer.ContentLength)
			}
			want, err := json.Marshal(whole)
			if err != nil {
				t.Fatal(err)
			}
			var gotValue, wantValue any
			if err := errors.Join(json.Unmarshal([]byte(body), &gotValue), json.Unmarshal(want, &wantValue)); err != nil || !reflect.DeepEqual(gotValue, wantValue) {
				t.Errorf("%s of %d profiles: %v; got %.300s", path, profiles, err, body)
			}
		}
		if st, err := s.client.Status(t.Context()); err != nil || !reflect.DeepEqual(st, b.whole()) {
			t.Errorf("the client has %d profiles of %d, %v", len(st.Profiles), profiles, err)
		}
	}
}

// What fails on the way is never taken for a whole answer.
func TestListsThatBreakOff(t *testing.T) {
	beyondJSON := time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, fault := range map[string]func(*token.ProfileStatus){
		"no JSON": func(p *token.ProfileStatus) { p.LastUsed = beyondJSON },
		"panic":   func(*token.ProfileStatus) { panic("a fault") },
	} {
		for _, at := range []int{0, 4999} {
			b := newLongBook(5000)
			b.spoil = func(i int, p *token.ProfileStatus) {
				if i == at {
					fault(p)
				}
			}
			s := start(t, b, Options{})
			_, err := s.client.Status(t.Context())
			want := token.ErrInternal // nothing has left yet
			if at > 0 {
				want = token.ErrNoDaemon
			}
			if !errors.Is(err, want) {
				t.Errorf("%s at %d: got %v, want %v", name, at, err, want)
			}
			if at == 0 {
				continue
			}
			conn := s.dial(t)
			_, _ = io.WriteString(conn, statusRequest)
			answer := hearHead(t, conn)
			if body, err := io.ReadAll(answer.Body); !errors.Is(err, io.ErrUnexpectedEOF) || strings.Contains(string(body), `"error"`) {
				t.Errorf("%s: a plain reader gets %d bytes, %v", name, len(body), err)
			}
			if s.promptly(t); !strings.Contains(s.log.String(), "broke off") {
				t.Errorf("%s: logged %s", name, s.log.String())
			}
		}
	}
}

// A caller that goes away is told no more.
func TestListForACallerWhoLeaves(t *testing.T) {
	b := newLongBook(200_000)
	s := start(t, b, Options{})
	conn := s.dial(t)
	_, _ = io.WriteString(conn, statusRequest)
	answer := hearHead(t, conn)
	if _, err := io.CopyN(io.Discard, answer.Body, 1<<20); err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	if told := <-b.told; told == b.profiles {
		t.Error("the whole list was told to nobody")
	}
	s.promptly(t)
}

// A list holds up the end no longer than other requests, and is not taken for a
// whole one then.
func TestListsAtTheEnd(t *testing.T) {
	t.Parallel()
	s := start(t, newLongBook(1<<30), Options{})
	conn := s.dial(t)
	_, _ = io.WriteString(conn, statusRequest)
	answer := hearHead(t, conn)
	_ = conn.SetReadDeadline(time.Time{})
	read := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, answer.Body)
		read <- err
	}()
	s.endsBeside(t, conn)
	if err := <-read; !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the reader got %v", err)
	}
	if text := s.log.String(); strings.Contains(text, "broke off") {
		t.Errorf("logged as a fault: %s", text)
	}
}

// Pieces are small however long the list.
func TestPiecesAreSmall(t *testing.T) {
	b := newLongBook(20_000)
	w := &pieces{discard: discard{header: map[string][]string{}}}
	st, profiles, _ := b.StatusInParts(t.Context())
	st.Profiles = []token.ProfileStatus{}
	if err := sendList(t.Context(), w, st, profiles); err != nil {
		t.Fatal(err)
	}
	if w.largest > pieceSize+4096 || w.size < 100*pieceSize {
		t.Errorf("%d bytes left, at most %d of them together", w.size, w.largest)
	}
}

// pieces is a ResponseWriter that looks at what is written together.
type pieces struct {
	discard
	largest int
}

func (p *pieces) Write(b []byte) (int, error) {
	p.largest = max(p.largest, len(b))
	return p.discard.Write(b)
}
