package main

import (
	"bytes"
	"io"
	"sync"
	"time"
)

const (
	// maxLogLines is how many lines wait for a log that blocks.
	maxLogLines = 4096
	// logTimeout is how long the end of the process waits for such a log:
	// service managers wait a minute or more before they kill.
	logTimeout = 2 * time.Second
)

// A logQueue passes lines on to a log that may block: a full journal, a pipe
// that nothing reads, a terminal after ^S. Only its own goroutine waits. It drops
// lines for which there is no room, and logs how many before the next one. A
// crash loses those of its last moment, some 0.2 ms.
type logQueue struct {
	log    io.Writer
	missed func(lines int) error // logs that lines were dropped
	lines  chan logLine
	passed chan struct{} // closed when nothing more comes

	mu     sync.Mutex // guards what follows, and sending to lines
	lost   int        // lines dropped since the last one in lines
	closed bool
}

// A logLine is a line, and how many were dropped before it.
type logLine struct {
	text []byte
	lost int
}

func newLogQueue(log io.Writer, missed func(lines int) error) *logQueue {
	q := &logQueue{log: log, missed: missed, lines: make(chan logLine, maxLogLines), passed: make(chan struct{})}
	go q.pass()
	return q
}

// Write implements io.Writer for one line. It does not fail.
func (q *logQueue) Write(line []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return len(line), nil
	}
	select {
	case q.lines <- logLine{bytes.Clone(line), q.lost}:
		q.lost = 0
	default:
		q.lost++
	}
	return len(line), nil
}

// pass passes on what was written, until the end.
func (q *logQueue) pass() {
	defer close(q.passed)
	missing := 0
	report := func(lost int) {
		if missing += lost; missing > 0 && q.missed(missing) == nil {
			missing = 0
		}
	}
	for line := range q.lines {
		report(line.lost)
		if _, err := q.log.Write(line.text); err != nil {
			missing++ // there is no better place to report it
		}
		if len(q.lines) == 0 {
			report(q.takeLost())
		}
	}
	report(q.takeLost())
}

func (q *logQueue) takeLost() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	lost := q.lost
	q.lost = 0
	return lost
}

// Close waits until what was written is in the log, for logTimeout at most. What
// is written afterwards is lost.
func (q *logQueue) Close() error {
	q.mu.Lock()
	if !q.closed {
		q.closed = true
		close(q.lines)
	}
	q.mu.Unlock()
	withTimeout(func() { <-q.passed })
	return nil
}

// withTimeout does what may wait for a log, and waits logTimeout at most for it.
func withTimeout(do func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		do()
	}()
	select {
	case <-done:
	case <-time.After(logTimeout):
	}
}
