package main

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A dam is a log that blocks while its gate is closed, and fails while it is
// broken.
type dam struct {
	gate   chan struct{} // holds one value
	broken bool
	text   strings.Builder
}

func newDam() *dam { return &dam{gate: make(chan struct{}, 1)} }

func (d *dam) close() { d.gate <- struct{}{} }
func (d *dam) open()  { <-d.gate }

func (d *dam) Write(line []byte) (int, error) {
	d.close()
	defer d.open()
	if d.broken {
		return 0, errors.New("no space left on device")
	}
	return d.text.Write(line)
}

// wantLines compares what a log holds, but for its times.
func (d *dam) wantLines(t *testing.T, want ...string) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(d.text.String(), "\n"), "\n")
	for i := range max(len(lines), len(want)) {
		if i >= len(lines) || i >= len(want) || !strings.HasSuffix(lines[i], want[i]) {
			t.Fatalf("%d lines, want %d; of the %dth on: %.300q", len(lines), len(want), i, lines[min(i, len(lines)):])
		}
	}
}

// A log that blocks holds up nothing. Lines without room are dropped and counted;
// the others come in order.
func TestLogThatBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := newDam()
		log, end := newLog(out, false, "text", slog.LevelInfo)
		log.Info("first")
		synctest.Wait()
		out.wantLines(t, "msg=first") // it does not wait for a second one

		out.close()
		const lines = 10_000
		long := strings.Repeat("x", 500)
		for i := range lines {
			log.Info(long, "n", i)
		}
		log.Info("short")
		out.open()
		synctest.Wait()
		kept := strings.Count(out.text.String(), long)
		if kept < maxLogLines || kept > maxLogLines+1 {
			t.Errorf("%d lines waited", kept)
		}
		log.Info("last")
		_ = end()
		want := []string{"msg=first"}
		for i := range kept {
			want = append(want, fmt.Sprintf(" n=%d", i))
		}
		out.wantLines(t, append(want, fmt.Sprintf("level=WARN msg=%q lines=%d", "lines of the log are missing", lines+1-kept), "msg=last")...)
	})
}

// Close waits for the log, but not for one that blocks.
func TestCloseOfALogThatBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := newDam()
		log, end := newLog(out, false, "text", slog.LevelInfo)
		out.close()
		log.Info("one")
		log.Info("two")
		begin := time.Now()
		_ = end()
		if took := time.Since(begin); took != logTimeout {
			t.Errorf("it took %v", took)
		}
		out.open()
		synctest.Wait()
		out.wantLines(t, "msg=one", "msg=two")
	})
}

// Lines that a full disk did not take are counted too.
func TestLogThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := newDam()
		out.broken = true
		log, end := newLog(out, false, "json", slog.LevelInfo)
		for range 3 {
			log.Info("lost")
			synctest.Wait()
		}
		out.broken = false
		log.Info("written")
		_ = end()
		out.wantLines(t, `"msg":"written"}`, `"msg":"lines of the log are missing","lines":3}`)
	})
}
