package store

import (
	"context"
	"fmt"
	"sync"
	"time"

	"tokend/providers/token"
)

// callLimit is how long a caller waits for the OS keyring.
const callLimit = 3 * time.Second

// A gate lets one call at a time through to something that may hang for ever
// and cannot be cancelled. A caller waits callLimit at most; the call that he
// gave up on keeps its one goroutine and the gate, and while it hangs everybody
// else is refused at once. Once it ends, the gate is open again.
type gate struct {
	turn chan struct{} // full while a call is under way

	mu    sync.Mutex
	since time.Time // when the call under way began; zero if there is none
	late  error     // what its being late means
}

func newGate() *gate { return &gate{turn: make(chan struct{}, 1)} }

// pass runs op through g. late is the error for a caller whose time ran out.
// op's context ends when its caller stops waiting, so that an op of several
// steps can stop between two of them.
func pass[T any](ctx context.Context, g *gate, late error, op func(context.Context) (T, error)) (T, error) {
	var none T
	if err := g.stuck(); err != nil {
		return none, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, callLimit, late)
	defer cancel()
	select {
	case g.turn <- struct{}{}:
	case <-ctx.Done():
		return none, context.Cause(ctx)
	}

	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	g.begin(late)
	go func() {
		var r result
		defer func() {
			if p := recover(); p != nil {
				r = result{err: about("keyring-error", fail(token.ErrKeystore, fmt.Errorf("%v", p), "the OS keyring gave an answer that makes no sense"))}
			}
			g.end()
			done <- r
		}()
		r.value, r.err = op(ctx)
	}()

	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		return none, context.Cause(ctx)
	}
}

// stuck is the error of a call that has been under way for too long.
func (g *gate) stuck() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.since.IsZero() || time.Since(g.since) < callLimit {
		return nil
	}
	return g.late
}

func (g *gate) begin(late error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.since, g.late = time.Now(), late
}

func (g *gate) end() {
	g.mu.Lock()
	g.since, g.late = time.Time{}, nil
	g.mu.Unlock()
	<-g.turn
}
