package main

import (
	"bufio"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"

	"tokend/providers/token"
)

// logged returns what a log writes to the journal, or elsewhere.
func logged(format string, journal bool) string {
	var text strings.Builder
	log, end := newLog(&text, journal, format, slog.LevelInfo)
	log = log.With("a", 1)
	log.Debug("too detailed")
	log.Info("one", "time", "b")
	log.Warn("two\nlines")
	log.WithGroup("g").Error("three", "level", "c")
	_ = end()
	return text.String()
}

func TestLogForTheJournal(t *testing.T) {
	if got, want := logged("text", true), "<6>msg=one a=1 time=b\n<4>msg=\"two\\nlines\" a=1\n<3>msg=three a=1 g.level=c\n"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if got := logged("json", true); !strings.HasPrefix(got, `<6>{"msg":"one","a":1,"time":"b"}`) {
		t.Errorf("JSON: %s", got)
	}
	if got := logged("text", false); !strings.HasPrefix(got, "time=") || !strings.Contains(got, " level=WARN msg=") || strings.Contains(got, "<4>") {
		t.Errorf("elsewhere: %s", got)
	}
}

// fullPipe is a pipe that takes nothing until it is read.
func fullPipe(t testing.TB) (reader, writer *os.File) {
	t.Helper()
	reader, writer, err := os.Pipe()
	check(t, err)
	t.Cleanup(func() { reader.Close(); writer.Close() })
	raw, err := writer.SyscallConn()
	check(t, err)
	page := []byte(strings.Repeat(strings.Repeat("-", 63)+"\n", 64))
	var full error
	if err := raw.Write(func(fd uintptr) bool { // it does not block yet
		for full == nil {
			_, full = syscall.Write(int(fd), page)
		}
		return true
	}); err != nil || !errors.Is(full, syscall.EAGAIN) {
		t.Fatal(err, full)
	}
	return reader, writer
}

// startBlocked starts a daemon whose log takes nothing, and has it log more
// than it can hold.
func (h *home) startBlocked() (log *os.File) {
	h.t.Helper()
	reader, writer := fullPipe(h.t)
	cmd := h.tokend("run")
	cmd.Stderr = writer
	h.startAs(cmd)
	writer.Close()
	const each = 100
	for i := range each {
		h.write(fmt.Sprintf("config/profiles.d/bad%d.toml", i), strings.Repeat("x", 300)+" = 1\n")
	}
	for range 3 * maxLogLines / each {
		if err := h.client.Reload(h.t.Context()); !errors.Is(err, token.ErrInvalid) {
			h.t.Fatalf("reload: %v", err)
		}
	}
	return reader
}

// A standard error that takes nothing holds up nothing: tokens are served,
// obtained, invalidated, profiles added, and the stop is one like any other.
func TestStandardErrorThatTakesNothing(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.setupSealed()
	h.startBlocked()
	h.add(h.clms("clms", 2048))
	tok := h.get("clms", token.Query{})
	check(t, h.client.Invalidate(t.Context(), "clms", token.Secret{}))
	if h.get("clms", token.Query{}) == tok {
		t.Error("no new token")
	}
	if st, err := h.client.Status(t.Context()); err != nil || st.Profiles[0].Tokens[0].State != token.Fresh.String() {
		t.Errorf("%v, %+v", err, st.Profiles)
	}
	h.interrupt()

	// When it is read again, it says what it lacks, and goes on.
	log := bufio.NewScanner(h.startBlocked())
	until := func(text string) (lines int) {
		t.Helper()
		for log.Scan() {
			if strings.Contains(log.Text(), text) {
				return lines
			}
			lines++
		}
		t.Fatalf("the log ends without %q: %v", text, log.Err())
		return 0
	}
	until("tokend serves")
	if lines := until("lines of the log are missing"); lines < maxLogLines*3/4 {
		t.Errorf("%d lines were kept", lines)
	}
	check(t, h.client.Invalidate(t.Context(), "clms", token.Secret{}))
	until("token invalidated by a caller")
	h.interrupt()
	until("tokend stops")
}

// A log whose reader has gone does not end tokend.
func TestStandardErrorThatNobodyReadsAnyMore(t *testing.T) {
	h := newHome(t)
	h.setupSealed()
	cmd := h.tokend("run")
	log, err := cmd.StderrPipe()
	check(t, err)
	h.startAs(cmd)
	log.Close()
	h.add(h.clms("clms", 2048))
	h.get("clms", token.Query{})
	h.interrupt()
}
