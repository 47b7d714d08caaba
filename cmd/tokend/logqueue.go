package main

import (
	"bytes"
	"io"
	"sync"
	"time"
)

const (
	// maxLogWaiting is how many bytes of lines wait for a log that takes none;
	// as much again may be on its way there.
	maxLogWaiting = 1 << 20
	// logPatience is how long the end of the process waits for such a log:
	// service managers wait a minute or more before they kill.
	logPatience = 2 * time.Second
)

// A logQueue passes lines on to a log that may block: a journal that stands
// still, a pipe that nobody reads, a terminal after ^S. Nobody waits for it but a
// goroutine of the queue's own. Lines for which there is no room are lost; how
// many, the log is told when it takes lines again. A crash costs those of its last
// moment, some 0.2 ms.
type logQueue struct {
	log    io.Writer
	missed func(lines int) error // tells log of them
	passed chan struct{}         // closed when nothing more comes

	mu      sync.Mutex
	changed sync.Cond
	lines   [][]byte
	size    int // of lines, in bytes
	lost    int // lines for which there was no room after those
	ended   bool
}

func newLogQueue(log io.Writer, missed func(lines int) error) *logQueue {
	q := &logQueue{log: log, missed: missed, passed: make(chan struct{})}
	q.changed.L = &q.mu
	go q.pass()
	return q
}

// Write implements io.Writer for one line. It does not fail.
func (q *logQueue) Write(line []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.lost > 0 || q.size+len(line) > maxLogWaiting {
		q.lost++ // also a short line that would have room: they stay in order
	} else {
		q.lines = append(q.lines, bytes.Clone(line))
		q.size += len(line)
	}
	q.changed.Signal()
	return len(line), nil
}

// pass passes on what was written, until the end.
func (q *logQueue) pass() {
	defer close(q.passed)
	missing := 0
	for {
		lines, lost := q.take()
		if len(lines) == 0 && lost == 0 {
			return
		}
		for _, line := range lines {
			if _, err := q.log.Write(line); err != nil {
				missing++ // there is no better place to tell of it
			}
		}
		if missing += lost; missing > 0 && q.missed(missing) == nil {
			missing = 0
		}
	}
}

// take waits for lines and takes them all; none: this is the end.
func (q *logQueue) take() (lines [][]byte, lost int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.lines) == 0 && q.lost == 0 && !q.ended {
		q.changed.Wait()
	}
	lines, lost = q.lines, q.lost
	q.lines, q.size, q.lost = nil, 0, 0
	return lines, lost
}

// Close waits until what was written is in the log, for logPatience at most.
// What is written afterwards is lost.
func (q *logQueue) Close() error {
	q.mu.Lock()
	q.ended = true
	q.mu.Unlock()
	q.changed.Signal()
	withTimeout(func() { <-q.passed })
	return nil
}

// withTimeout does what may wait for a log, and waits logPatience at most for
// that.
func withTimeout(do func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		do()
	}()
	select {
	case <-done:
	case <-time.After(logPatience):
	}
}
