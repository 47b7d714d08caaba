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
		in.startWith(ordinary + "allow_users = [\"root\"]\n")
		in.get("p", token.Query{})
		ctx := context.WithValue(t.Context(), callerKey{}, daemon.Caller{User: token.User{UID: os.Getuid()}, Groups: []int{1, 2, 3}})
		got := testing.AllocsPerRun(100, func() {
			must(t, errOf(in.daemon.Get(ctx, "p", token.Query{})))
		})
		same(t, "allocations of a get", got, 0)
	})
}

// Gets of cached tokens leave the loop asleep, even of the token that is due next.
func TestGetsDoNotWakeTheLoop(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.startWith(ordinary)
		in.get("p", token.Query{})
		synctest.Wait()
		before := in.turns.Load()
		for range 10 {
			in.get("p", token.Query{})
			synctest.Wait()
		}
		same(t, "turns of the loop for 10 gets", in.turns.Load()-before, 0)
	})
}

// With nothing to do the loop turns once in longestSleep.
func TestAnIdleDaemonSleeps(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.startWith(ordinary)
		in.get("p", token.Query{})
		time.Sleep(70 * time.Second) // the loop wakes at :00 and :30
		before := in.turns.Load()
		time.Sleep(10 * time.Minute)
		within(t, "turns of the loop in ten idle minutes", in.turns.Load()-before, 0, 20)
	})
}
