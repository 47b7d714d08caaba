package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"tokend/cmd/tokenctl/cli"
)

const (
	// maxLogLines is how many lines wait for a log that blocks.
	maxLogLines = 4096
	// logTimeout is how long the end of the process waits for such a log:
	// service managers wait a minute or more before they kill.
	logTimeout = 2 * time.Second
)

// newLog makes a log whose lines go to out through a queue, so that logging never
// waits for out. systemd's journal gets lines without the time, which it adds, and
// with a priority, and a terminal lines that fit. end waits until what was logged is in out, for logTimeout at most;
// what is logged afterwards is lost.
func newLog(out io.Writer, journal bool, format string, level slog.Leveler) (log *slog.Logger, end func() error) {
	options := &slog.HandlerOptions{Level: level}
	if journal {
		out = journalWriter{out}
		options.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey && a.Value.Kind() == slog.KindTime {
				return slog.Attr{}
			}
			return a
		}
	}
	if format != "json" && cli.IsTerminal(out) {
		out = cli.Prose(out)
	}
	handler := func(out io.Writer) slog.Handler {
		if format == "json" {
			return slog.NewJSONHandler(out, options)
		}
		return slog.NewTextHandler(out, options)
	}
	queue := &logQueue{log: out, direct: handler(out), lines: make(chan []byte, maxLogLines)}
	var running sync.WaitGroup
	running.Go(queue.run)
	return slog.New(handler(queue)), func() error {
		withTimeout(func() {
			queue.lines <- nil
			running.Wait()
		})
		return nil
	}
}

// A journalWriter writes the level that begins each line as a priority
// (sd-daemon(3)).
type journalWriter struct{ io.Writer }

var priorities = map[slog.Level]string{slog.LevelError: "<3>", slog.LevelWarn: "<4>", slog.LevelInfo: "<6>", slog.LevelDebug: "<7>"}

func (w journalWriter) Write(line []byte) (int, error) {
	for level, priority := range priorities {
		if rest, ok := bytes.CutPrefix(line, []byte("level="+level.String()+" ")); ok {
			return w.Writer.Write(slices.Concat([]byte(priority), rest))
		}
		if rest, ok := bytes.CutPrefix(line, []byte(`{"level":"`+level.String()+`",`)); ok {
			return w.Writer.Write(slices.Concat([]byte(priority+"{"), rest))
		}
	}
	return w.Writer.Write(line)
}

// A logQueue passes lines on to a log that may block: a full journal, a pipe
// that nothing reads, a terminal after ^S. Only its own goroutine waits. It drops
// lines for which there is no room, and logs how many after those that it kept. A
// crash loses those of its last moment, some 0.2 ms.
type logQueue struct {
	log    io.Writer
	direct slog.Handler // logs past the queue
	lines  chan []byte  // nil ends it
	lost   atomic.Int64
}

// Write implements io.Writer for one line. It does not fail.
func (q *logQueue) Write(line []byte) (int, error) {
	select {
	case q.lines <- bytes.Clone(line):
	default:
		q.lost.Add(1)
	}
	return len(line), nil
}

func (q *logQueue) run() {
	for line := <-q.lines; line != nil; line = <-q.lines {
		if _, err := q.log.Write(line); err != nil {
			q.lost.Add(1) // there is no better place to report it
		}
		if len(q.lines) == 0 {
			q.reportLost()
		}
	}
	q.reportLost()
}

func (q *logQueue) reportLost() {
	lost := q.lost.Load()
	r := slog.NewRecord(time.Now(), slog.LevelWarn, "lines of the log are missing", 0)
	r.Add("lines", lost)
	if lost > 0 && q.direct.Handle(context.Background(), r) == nil {
		q.lost.Add(-lost)
	}
}

// withTimeout does what may wait for a log, and waits logTimeout at most for it.
func withTimeout(do func()) {
	ctx, done := context.WithTimeout(context.Background(), logTimeout)
	go func() {
		defer done()
		do()
	}()
	<-ctx.Done()
}
