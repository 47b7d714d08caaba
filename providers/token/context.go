package token

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// A Step is one thing that tokend did to get a token, for people who look for a
// fault. It contains no secret.
type Step struct {
	// At is the time since the beginning.
	At time.Duration `json:"at_ns"`
	// What is one word, such as "keystore" or "answer".
	What string `json:"step"`
	Text string `json:"text"`
}

// A Trace collects the steps of one request. A nil Trace collects nothing.
// Goroutines may share a Trace.
type Trace struct {
	mu    sync.Mutex
	begun time.Time
	steps []Step
}

// maxSteps bounds a trace.
const maxSteps = 64

// NewTrace returns a trace that begins now.
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

// Steps returns the steps so far.
func (t *Trace) Steps() []Step {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]Step(nil), t.steps...)
}

// Take replaces the steps by those of another process.
func (t *Trace) Take(steps []Step) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.steps = steps
}

type traceKey struct{}

// WithTrace returns a context that carries t.
func WithTrace(ctx context.Context, t *Trace) context.Context {
	return context.WithValue(ctx, traceKey{}, t)
}

// TraceOf returns the trace of ctx, nil if it has none.
func TraceOf(ctx context.Context) *Trace {
	t, _ := ctx.Value(traceKey{}).(*Trace)
	return t
}

// An Asker is what a credential helper says of the tool that asks. Tools do not say
// that a server refused a token: they ask again.
type Asker struct {
	// Key tells what the tool asks for, and mostly its process, apart from others.
	Key string
	// Again is how many times in ten seconds the same token may be the answer before
	// a further question means that it was refused, and is answered by an error with
	// the Detail AskedAgain. With 1 the time makes no difference: the tool keeps a
	// token for as long as it is good. With 0 the tool says itself what was refused.
	Again int
}

type askerKey struct{}

// WithAsker returns a context that carries a.
func WithAsker(ctx context.Context, a Asker) context.Context {
	return context.WithValue(ctx, askerKey{}, a)
}

// AskerOf returns the Asker of ctx, the zero Asker if it has none.
func AskerOf(ctx context.Context) Asker {
	a, _ := ctx.Value(askerKey{}).(Asker)
	return a
}
