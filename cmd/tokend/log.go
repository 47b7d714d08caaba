package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"slices"
	"time"
)

// newLog makes a log whose lines go to out through a queue, so that logging never
// waits for out. systemd's journal gets lines without the time, which it adds, and
// with a priority. The caller closes the queue.
func newLog(out io.Writer, journal bool, format string, level slog.Leveler) (*slog.Logger, *logQueue) {
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
	direct := newHandler(out, format, options)
	missed := func(lines int64) error {
		r := slog.NewRecord(time.Now(), slog.LevelWarn, "lines of the log are missing", 0)
		r.Add("lines", lines)
		return direct.Handle(context.Background(), r)
	}
	queue := &logQueue{log: out, missed: missed, lines: make(chan []byte, maxLogLines), end: make(chan struct{}), passed: make(chan struct{})}
	go queue.run()
	return slog.New(newHandler(queue, format, options)), queue
}

func newHandler(out io.Writer, format string, options *slog.HandlerOptions) slog.Handler {
	if format == "json" {
		return slog.NewJSONHandler(out, options)
	}
	return slog.NewTextHandler(out, options)
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
