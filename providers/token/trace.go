package token

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// A Step is one thing that was done to get a token, told to somebody who looks
// for a fault. It holds no secret.
type Step struct {
	// At is when, counted from the beginning.
	At time.Duration `json:"at_ns"`
	// What is a word for it, such as "keystore" or "answer".
	What string `json:"step"`
	Text string `json:"text"`
}

// A Trace collects the steps of one request. A nil Trace collects nothing. It
// may be used concurrently.
type Trace struct {
	mu    sync.Mutex
	begun time.Time
	steps []Step
}

// maxSteps bounds a trace.
const maxSteps = 64

// NewTrace begins a trace now.
func NewTrace() *Trace { return &Trace{begun: time.Now()} }

// Add adds a step.
func (t *Trace) Add(what, format string, args ...any) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.steps) < maxSteps {
		t.steps = append(t.steps, Step{time.Since(t.begun), what, fmt.Sprintf(format, args...)})
	}
}

// Steps are the steps so far.
func (t *Trace) Steps() []Step {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]Step(nil), t.steps...)
}

// Take makes steps that were collected elsewhere its own.
func (t *Trace) Take(steps []Step) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.steps = steps
}

type traceKey struct{}

// WithTrace gives ctx a trace for those who do the work.
func WithTrace(ctx context.Context, t *Trace) context.Context {
	if t == nil {
		return ctx
	}
	return context.WithValue(ctx, traceKey{}, t)
}

// TraceOf is the trace of ctx, nil if it has none.
func TraceOf(ctx context.Context) *Trace {
	t, _ := ctx.Value(traceKey{}).(*Trace)
	return t
}
