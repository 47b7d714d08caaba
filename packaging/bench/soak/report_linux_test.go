package soak

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
)

// took takes note of how long an answer took.
func (l *ledger) took(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waits = append(l.waits, d)
}

// A recorder keeps what tokend's process uses over time.
type recorder struct {
	ledger  *ledger
	begin   time.Time
	samples []sample
}

type sample struct {
	at, age time.Duration // since the run began, and since tokend was started
	rss     int           // KiB
	files   int
}

func newRecorder(l *ledger) *recorder { return &recorder{ledger: l, begin: time.Now()} }

// look takes samples until ctx ends.
func (s *stage) look(ctx context.Context, r *recorder) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(500 * time.Millisecond):
		}
		p := s.process.Load()
		proc := fmt.Sprintf("/proc/%d/", p.cmd.Process.Pid)
		files, err := os.ReadDir(proc + "fd")
		if err != nil || time.Since(p.started) < time.Second {
			continue // it is gone, or has just been started
		}
		r.samples = append(r.samples, sample{time.Since(r.begin), time.Since(p.started), statusKB(proc+"status", "VmRSS:"), len(files)})
	}
}

// statusKB reads a size from /proc/PID/status, zero if it is not there.
func statusKB(path, key string) (kb int) {
	text, _ := os.ReadFile(path)
	_, rest, _ := strings.Cut(string(text), key)
	_, _ = fmt.Sscan(rest, &kb)
	return kb
}

// report describes a run in some thirty lines.
func (r *recorder) report(howLong time.Duration, done map[string]int) string {
	l := r.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "soak of %v\n\n", howLong)
	for _, name := range slices.Sorted(maps.Keys(done)) {
		fmt.Fprintf(&b, "  %4d × %s\n", done[name], name)
	}
	fmt.Fprintf(&b, "\n  requests answered with a token   %d\n", l.answers)
	for _, code := range slices.Sorted(maps.Keys(l.refusals)) {
		fmt.Fprintf(&b, "  refused without a valid token    %d (%s)\n", l.refusals[code], code)
	}
	for _, kind := range []string{"expired tokens", "foreign tokens", "lost answers", "secrets seen", "crashes", "unexpected errors", "unrecovered profiles"} {
		fmt.Fprintf(&b, "  %-32s %d\n", kind, l.fault[kind])
	}
	if slices.Sort(l.waits); len(l.waits) > 0 {
		at := func(q float64) time.Duration {
			return l.waits[int(q*float64(len(l.waits)-1))].Round(10 * time.Microsecond)
		}
		fmt.Fprintf(&b, "\n  answers took: median %v, p99 %v, longest %v (over restarts and outages)\n", at(0.5), at(0.99), at(1))
	}
	b.WriteString("\n     at     age      RSS  files\n")
	for i := range min(12, len(r.samples)) {
		s := r.samples[i*(len(r.samples)-1)/max(1, min(12, len(r.samples))-1)]
		fmt.Fprintf(&b, "  %5.0fs  %5.0fs  %5.1f MiB  %4d\n", s.at.Seconds(), s.age.Seconds(), float64(s.rss)/1024, s.files)
	}
	if len(r.samples) > 0 {
		rss := func(a, b sample) int { return a.rss - b.rss }
		files := func(a, b sample) int { return a.files - b.files }
		fmt.Fprintf(&b, "  at the most: %.1f MiB, %d files\n", float64(slices.MaxFunc(r.samples, rss).rss)/1024, slices.MaxFunc(r.samples, files).files)
	}
	return b.String()
}
