package daemon_test

import (
	"context"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"tokend/daemon"
	"tokend/providers/token"
)

// A get of a cached token allocates nothing.
func TestAllocationsOfAGet(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.profile("p", ordinary+"allow_users = [\"root\"]\n")
		in.start()
		in.get("p", token.Query{})
		ctx := context.WithValue(t.Context(), callerKey{}, daemon.Caller{UID: os.Getuid(), Groups: []int{1, 2, 3}})
		got := testing.AllocsPerRun(100, func() {
			if _, err := in.daemon.Get(ctx, "p", token.Query{}); err != nil {
				t.Fatal(err)
			}
		})
		if got > 0 {
			t.Errorf("a get takes %v allocations, want none", got)
		}
	})
}

// Gets of cached tokens leave the loop asleep, even of the token that is due next.
func TestGetsDoNotWakeTheLoop(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.profile("p", ordinary)
		in.start()
		in.get("p", token.Query{})
		synctest.Wait()
		before := in.turns.Load()
		for range 10 {
			in.get("p", token.Query{})
			synctest.Wait()
		}
		if n := in.turns.Load() - before; n > 0 {
			t.Errorf("%d turns of the loop for 10 gets", n)
		}
	})
}

// With nothing to do the loop turns once in longestSleep.
func TestAnIdleDaemonSleeps(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.profile("p", ordinary)
		in.start()
		in.get("p", token.Query{})
		time.Sleep(70 * time.Second) // the loop wakes at :00 and :30
		before := in.turns.Load()
		time.Sleep(10 * time.Minute)
		if turns := in.turns.Load() - before; turns > 20 {
			t.Errorf("the loop turned %d times in ten idle minutes, want 20", turns)
		}
	})
}
