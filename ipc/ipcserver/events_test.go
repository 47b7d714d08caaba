//go:build linux

package ipcserver

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	. "tokend/providers/fixturetest"
	"tokend/providers/token"
)

// A feed is what the test has happen.
type feed struct {
	events chan token.Event
	closed chan struct{}
}

// watch has a client watch what the test has happen.
func watch(t *testing.T, profiles ...string) (*memory, *running, token.Events) {
	t.Helper()
	b := newMemory()
	b.feed = &feed{events: make(chan token.Event, 10), closed: make(chan struct{})}
	s := start(t, b, Options{})
	events, err := s.client.Watch(t.Context(), profiles)
	Must(t, err)
	return b, s, events
}

func (f *feed) Next(ctx context.Context) (token.Event, error) {
	select {
	case e := <-f.events:
		return e, nil
	case <-ctx.Done():
		return token.Event{}, ctx.Err()
	}
}

func (f *feed) Close() { close(f.closed) }

func (b *memory) Watch(_ context.Context, profiles []string) (token.Events, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, name := range profiles {
		if _, err := b.find(name); err != nil {
			return nil, err
		}
	}
	b.watched = profiles
	return b.feed, b.fail
}

func TestEventsCrossTheSocket(t *testing.T) {
	b, s, events := watch(t, "clms")
	if _, err := s.client.Watch(t.Context(), []string{"none"}); !errors.Is(err, token.ErrNotFound) {
		t.Errorf("an unknown profile: %v", err)
	}
	if len(b.watched) != 1 || b.watched[0] != "clms" {
		t.Errorf("watched are %q", b.watched)
	}
	first := token.Event{Time: noon, Kind: token.EventRefused, Profile: "clms", Target: token.Target{Scope: "a b"}, Failures: 2,
		Error: &token.Error{Code: token.ErrRejected, Topic: "invalid_client", Message: "no\nline"}}
	long := token.Event{Time: noon, Kind: token.EventCache, State: strings.Repeat("x", 20<<10)}
	b.feed.events <- first
	b.feed.events <- long
	got, err := events.Next(t.Context())
	if err != nil || got.Kind != first.Kind || got.Scope != "a b" || !got.Time.Equal(noon) || *got.Error != *first.Error {
		t.Errorf("got %+v, %v", got, err)
	}
	if got, err := events.Next(t.Context()); err != nil || got.State != long.State {
		t.Errorf("a long line: %d characters, %v", len(got.State), err)
	}
	Must(t, s.stop())
	if got, err := events.Next(t.Context()); err != nil || got.Kind != token.EventStopping {
		t.Errorf("when tokend stops: %+v, %v", got, err)
	}
	if _, err := events.Next(t.Context()); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
	events.Close()
	<-b.feed.closed
}

func TestNextEndsWithItsContext(t *testing.T) {
	b, _, events := watch(t)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	if _, err := events.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	<-b.feed.closed
}

// A watcher that leaves is noticed, though nothing happens.
func TestAWatcherThatLeavesIsLetGo(t *testing.T) {
	b, _, events := watch(t)
	events.Close()
	select {
	case <-b.feed.closed:
	case <-time.After(10 * time.Second):
		t.Error("it is still watched for")
	}
}

func TestCountsAndMetrics(t *testing.T) {
	b := newMemory()
	var mu sync.Mutex
	got := map[string]int{}
	count := func(do, result string) { mu.Lock(); got[do+" "+result]++; mu.Unlock() }
	s := start(t, b, Options{Count: count, Metrics: func(ctx context.Context) (http.Handler, error) {
		if _, _, ok := Caller(ctx); !ok {
			return nil, errors.New("there is no caller")
		}
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "a_total 1\n") }), nil
	}})
	for range 3 {
		_, _ = s.client.Get(t.Context(), "clms", token.Query{})
	}
	_, _ = s.client.Get(t.Context(), "none", token.Query{})
	_, _ = s.client.Status(t.Context())
	s.say(t, "GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n")
	if answer, body := s.say(t, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"); answer.StatusCode != 200 || body != "a_total 1\n" {
		t.Errorf("metrics: %s %s", answer.Status, body)
	}
	if err := s.stop(); err != nil { // a request is counted when it has been answered
		t.Fatal(err)
	}
	want := map[string]int{"get ok": 3, "get not_found": 1, "status ok": 1, "other not_found": 1, "metrics ok": 1}
	if !maps.Equal(got, want) {
		t.Errorf("counted: %v", got)
	}
}
