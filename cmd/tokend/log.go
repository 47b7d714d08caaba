package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"strconv"
	"sync"
	"time"
)

// newLog makes a log whose lines go to out through a queue, so that logging never
// waits for out. The caller closes the queue.
func newLog(out io.Writer, journal bool, format string, level slog.Leveler) (*slog.Logger, *logQueue) {
	direct := newHandler(out, journal, format, level)
	queue := newLogQueue(out, func(lines int) error {
		r := slog.NewRecord(time.Now(), slog.LevelWarn, "lines of the log are missing before this one", 0)
		r.Add("lines", lines)
		return direct.Handle(context.Background(), r)
	})
	return slog.New(newHandler(queue, journal, format, level)), queue
}

// newHandler writes a line for each entry: text or JSON. systemd's journal gets
// lines without the time, which it adds, and with a priority (sd-daemon(3)).
func newHandler(out io.Writer, journal bool, format string, level slog.Leveler) slog.Handler {
	made := func(w io.Writer, options *slog.HandlerOptions) slog.Handler {
		if format == "json" {
			return slog.NewJSONHandler(w, options)
		}
		return slog.NewTextHandler(w, options)
	}
	if !journal {
		return made(out, &slog.HandlerOptions{Level: level})
	}
	line := &bytes.Buffer{}
	return journalHandler{&sync.Mutex{}, out, line, made(line, &slog.HandlerOptions{Level: level, ReplaceAttr: withoutTimeAndLevel})}
}

func withoutTimeAndLevel(groups []string, a slog.Attr) slog.Attr {
	_, isLevel := a.Value.Any().(slog.Level)
	if len(groups) == 0 && (a.Key == slog.TimeKey && a.Value.Kind() == slog.KindTime || a.Key == slog.LevelKey && isLevel) {
		return slog.Attr{}
	}
	return a
}

// A journalHandler begins each line with its priority.
type journalHandler struct {
	mu      *sync.Mutex
	out     io.Writer
	line    *bytes.Buffer // guarded by mu
	handler slog.Handler  // writes to line
}

func (h journalHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.handler.Enabled(ctx, level)
}

func (h journalHandler) Handle(ctx context.Context, r slog.Record) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.line.Reset()
	h.line.WriteString("<" + strconv.Itoa(priority(r.Level)) + ">")
	if err := h.handler.Handle(ctx, r); err != nil {
		return err
	}
	_, err := h.out.Write(h.line.Bytes())
	return err
}

func (h journalHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	h.handler = h.handler.WithAttrs(attrs)
	return h
}

func (h journalHandler) WithGroup(name string) slog.Handler {
	h.handler = h.handler.WithGroup(name)
	return h
}

// priority returns syslog's number for a level.
func priority(level slog.Level) int {
	switch {
	case level >= slog.LevelError:
		return 3
	case level >= slog.LevelWarn:
		return 4
	case level >= slog.LevelInfo:
		return 6
	}
	return 7
}
