package store

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	. "tokend/providers/fixturetest"
	"tokend/providers/token"
)

var errTestLate = fail(token.ErrKeystore, "", nil, "late")

func passFor(ctx context.Context, g *gate, d time.Duration) error {
	return g.pass(ctx, func(context.Context) error {
		time.Sleep(d)
		return nil
	})
}

func TestGateRefusesAtOnceWhileACallHangsAndOpensAfterwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(callLimit, errTestLate)
		began := time.Now()
		if err := passFor(t.Context(), g, time.Hour); err != errTestLate || time.Since(began) != callLimit {
			t.Errorf("the hanging call: %v after %v", err, time.Since(began))
		}
		began = time.Now()
		for range 100 {
			if err := passFor(t.Context(), g, 0); err != errTestLate {
				t.Errorf("a call behind it: %v", err)
			}
		}
		if time.Since(began) != 0 {
			t.Errorf("calls behind it waited %v", time.Since(began))
		}
		time.Sleep(time.Hour)
		if err := passFor(t.Context(), g, 0); err != nil {
			t.Errorf("a call after its end: %v", err)
		}
	})
}

func TestGateLetsCallsThroughOneAfterTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, began := newGate(callLimit, errTestLate), time.Now()
		var calls sync.WaitGroup
		for range 3 {
			calls.Go(func() {
				if err := passFor(t.Context(), g, time.Second/2); err != nil {
					t.Error(err)
				}
			})
		}
		if calls.Wait(); time.Since(began) != 3*time.Second/2 {
			t.Errorf("three calls took %v", time.Since(began))
		}
	})
}

func TestGateEndsTheOpsContextWithItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		steps := 0
		err := newGate(callLimit, errTestLate).pass(t.Context(), func(ctx context.Context) error {
			for ctx.Err() == nil {
				steps++
				time.Sleep(time.Second)
			}
			return ctx.Err()
		})
		synctest.Wait()
		if err != errTestLate {
			t.Errorf("got %v", err)
		}
		if time.Sleep(time.Hour); steps > 4 {
			t.Errorf("%d steps were made", steps)
		}
	})
}

func TestGateGivesTheCallersOwnReasonWhenHeLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		g := newGate(callLimit, errTestLate)
		if err := passFor(ctx, g, 2*time.Second); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		// That call has a second to go, which is no reason to refuse the next.
		if err := passFor(t.Context(), g, 0); err != nil {
			t.Error(err)
		}
	})
}

func TestGateTurnsAPanicIntoAnError(t *testing.T) {
	g := newGate(callLimit, errTestLate)
	WantCode(t, g.pass(t.Context(), func(context.Context) error { panic("no") }), token.ErrKeystore)
	Must(t, passFor(t.Context(), g, 0))
}
