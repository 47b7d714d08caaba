package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tokend/cmd/tokenctl/ui"
	"tokend/ipc"
	"tokend/providers/token"
)

func TestALargeLogIsSetAside(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "tokend.log")
	for i, c := range []struct {
		before int
		begin  int64
	}{{0, 0}, {100, 100}, {largestLog + 1, 0}, {largestLog + 1, 0}} {
		if err := os.WriteFile(file, make([]byte, c.before), 0o600); err != nil {
			t.Fatal(err)
		}
		log, begin, err := openLog(file)
		if err != nil || begin != c.begin {
			t.Errorf("%d: what is new begins at %d, want %d (%v)", i, begin, c.begin, err)
		}
		_, _ = log.WriteString("x")
		_ = log.Close()
		if info, err := os.Stat(file); err != nil || info.Size() != c.begin+1 || info.Mode().Perm() != 0o600 {
			t.Errorf("%d: %v, %v", i, info, err)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, "tokend-old.log")); err != nil || info.Size() != largestLog+1 {
		t.Errorf("the old log: %v, %v", info, err)
	}
}

func TestTheLogSaysWhyItEnded(t *testing.T) {
	const before = "tokend: of an earlier start\n"
	for text, want := range map[string]string{
		"time=x level=INFO msg=y\ntokend: the configuration is bad\n  See: tokend --help\n": "the configuration is bad",
		"panic: x\n": "it ended; its log is FILE", "": "it ended; its log is FILE",
	} {
		log, err := os.Open(writeSecret(t, "tokend.log", before+text))
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		if got := strings.ReplaceAll(lastWords(log, int64(len(before))), log.Name(), "FILE"); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// A daemon that answers is asked, and none is started.
func TestNothingIsStartedWhereADaemonAnswers(t *testing.T) {
	started := 0
	c := ipc.Client{Socket: serve(t, newBackend()), Start: func(context.Context) error { started++; return nil }}
	if _, err := c.Status(t.Context()); err != nil || started > 0 {
		t.Errorf("%d starts, %v", started, err)
	}
}

// The request is made once more after a start, and its failure is the start's.
func TestARequestWaitsForTheStart(t *testing.T) {
	socket := filepath.Join(filepath.Dir(serve(t, newBackend())), "other")
	c := ipc.Client{Socket: socket, Start: func(context.Context) error { serveAt(t, socket, newBackend()); return nil }}
	if g, err := c.Get(t.Context(), "clms", token.Query{}); err != nil || g.Secret.IsZero() {
		t.Errorf("%v", err)
	}
	c = ipc.Client{Socket: socket + "2", Start: func(context.Context) error { return notStarted("its reasons") }}
	if _, err := c.Get(t.Context(), "clms", token.Query{}); err == nil || err.Error() != "tokend could not be started: its reasons" || ui.ExitStatus(err) != ui.ExitNoDaemon {
		t.Errorf("%v", err)
	}
}

func TestWhatStartsADaemon(t *testing.T) {
	for value, want := range map[string]bool{"": false, "0": false, "false": false, "1": true, "yes": true} {
		t.Setenv(startEnv, value)
		if got := isStartWanted(); got != want {
			t.Errorf("%s=%q: %v", startEnv, value, got)
		}
	}
	t.Setenv(startEnv, "0")
	e := &ui.Env{Out: ui.NewScreen(io.Discard)}
	if _, err := program(e).Execute(t.Context(), []string{"--start", "explain"}); err != nil || !e.Starts {
		t.Errorf("--start counts, whatever the environment says: %v", err)
	}
}
