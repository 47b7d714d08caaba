package main

import (
	"bytes"
	"io"
	"sync/atomic"
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
// lines for which there is no room, and logs how many after those that it kept. A
// crash loses those of its last moment, some 0.2 ms.
type logQueue struct {
	log    io.Writer
	missed func(lines int64) error // logs that lines are missing
	lines  chan []byte
	lost   atomic.Int64
	end    chan struct{} // closed to end it
	passed chan struct{} // closed when nothing more comes
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
	defer close(q.passed)
	for {
		select {
		case line := <-q.lines:
			q.pass(line)
		case <-q.end:
			for len(q.lines) > 0 {
				q.pass(<-q.lines)
			}
			return
		}
	}
}

func (q *logQueue) pass(line []byte) {
	if _, err := q.log.Write(line); err != nil {
		q.lost.Add(1) // there is no better place to report it
	}
	if len(q.lines) > 0 {
		return
	}
	if lost := q.lost.Swap(0); lost > 0 && q.missed(lost) != nil {
		q.lost.Add(lost)
	}
}

// Close waits until what was written is in the log, for logTimeout at most. What
// is written afterwards is lost.
func (q *logQueue) Close() error {
	close(q.end)
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
