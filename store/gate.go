package store

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"tokend/providers/token"
)

// callLimit is how long a caller waits for the OS keyring.
const callLimit = 3 * time.Second

// A gate lets one call at a time through to something that may hang for ever and
// cannot be cancelled. A caller waits no longer than limit. The call that it gave up
// on keeps one goroutine and the gate; while it hangs, the gate refuses everyone
// else at once. When it ends, the gate opens again.
type gate struct {
	limit time.Duration
	late  error                     // for a caller whose time ran out
	turn  chan struct{}             // full while a call is under way
	due   atomic.Pointer[time.Time] // when that is late, nil if there is none
}

func newGate(limit time.Duration, late error) *gate {
	return &gate{limit: limit, late: late, turn: make(chan struct{}, 1)}
}

// pass runs op through g. op's context ends when its caller stops waiting, so that an op of several
// steps can stop between two of them. op may still run after pass failed.
func (g *gate) pass(ctx context.Context, op func(context.Context) error) error {
	if due := g.due.Load(); due != nil && !time.Now().Before(*due) {
		return g.late
	}
	ctx, cancel := context.WithTimeoutCause(ctx, g.limit, g.late)
	defer cancel()
	select {
	case g.turn <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	done := make(chan error, 1)
	g.due.Store(new(time.Now().Add(g.limit)))
	go func() {
		var err error
		defer func() {
			if p := recover(); p != nil {
				err = fail(token.ErrKeystore, "keyring-error", fmt.Errorf("%v", p), "the OS keyring's answer makes no sense")
			}
			g.due.Store(nil)
			<-g.turn
			done <- err
		}()
		err = op(ctx)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
