package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tokend/cmd/tokenctl/ui"
	"tokend/providers/token"
)

func TestEventsArePrintedAsLines(t *testing.T) {
	b := newBackend()
	b.events = []token.Event{
		{Time: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), Kind: token.EventObtained, Profile: "clms", Target: token.Target{Scope: "a"}},
		{Kind: token.EventRefused, Profile: "azure", Error: &token.Error{Code: token.ErrRejected, Message: "no \x1b[2J", Topic: "AADSTS7000215"}},
	}
	socket := filepath.Join(t.TempDir(), "s")
	stop := serveAt(t, socket, b)
	b.drained = func() { go stop() }
	r := call(t, socket, nil, "events", "clms", "azure")
	if r.status != ui.ExitOK || r.err != "" {
		t.Fatalf("status %d, stderr %q", r.status, r.err)
	}
	lines := strings.Split(strings.TrimSuffix(r.out, "\n"), "\n")
	var kinds []string
	for _, line := range lines {
		var e token.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil || strings.Contains(line, "\x1b") {
			t.Errorf("%q: %v", line, err)
		}
		kinds = append(kinds, string(e.Kind))
	}
	if got := strings.Join(kinds, " "); got != "obtained refused stopping" {
		t.Errorf("got %s", got)
	}
	if want := `{"time":"2026-11-23T12:00:00Z","event":"obtained","profile":"clms","scope":"a"}`; lines[0] != want {
		t.Errorf("got  %s\nwant %s", lines[0], want)
	}
	if len(b.calls) != 1 || b.calls[0] != "watch clms azure" {
		t.Errorf("asked %q", b.calls)
	}
}

func TestEventsWithoutADaemon(t *testing.T) {
	for _, args := range [][]string{{"events"}, {"events", "--follow"}} {
		call(t, "/nonexistent/s", nil, args...).wants(t, ui.ExitNoDaemon, "", "no tokend answers")
	}
	b := newBackend()
	b.err = &token.Error{Code: token.ErrNotFound, Message: `no profile "clsm"`}
	call(t, serve(t, b), nil, "events", "clsm", "--follow").wants(t, ui.ExitNotFound, "", `Did you mean "clms"?`)
}
