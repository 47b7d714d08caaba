package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tokend/daemon"
	"tokend/providers/token"
)

// watched takes all events that are there.
func watched(t *testing.T, w token.Events) (events []token.Event) {
	t.Helper()
	synctest.Wait()
	for {
		ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
		e, err := w.Next(ctx)
		cancel()
		if err != nil {
			return events
		}
		events = append(events, e)
	}
}

func kindsOf(events []token.Event) string {
	var kinds []string
	for _, e := range events {
		kinds = append(kinds, string(e.Kind))
	}
	return strings.Join(kinds, " ")
}

func watch(t *testing.T, ctx context.Context, d *daemon.Daemon, names ...string) token.Events {
	t.Helper()
	w, err := d.Watch(ctx, names)
	must(t, err)
	t.Cleanup(w.Close)
	return w
}

func TestEventsShowWhatHappens(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		d := in.startWith(ordinary + "renew = \"used\"\n")
		w := watch(t, t.Context(), d)

		in.get("p", token.Query{})
		events := watched(t, w)
		if kindsOf(events) != "obtained" {
			t.Fatalf("a get: %+v", events)
		}
		e := events[0]
		if e.Profile != "p" || !e.Expires.Equal(e.Time.Add(time.Hour)) || e.RenewAt.Before(e.Time) || e.Error != nil {
			t.Errorf("obtained: %+v", e)
		}

		in.idp().set(func(i *issuer) {
			i.err = &token.Error{Code: token.ErrRejected, OAuth: "invalid_client", Topic: "invalid_client", Message: "no", Cause: errors.New("inner")}
		})
		time.Sleep(2 * time.Second) // what came a second ago counts as fresh
		in.refused("p", token.Query{Fresh: true}, token.ErrRejected)
		events = watched(t, w)
		if kindsOf(events) != "refused" || events[0].Failures != 1 || events[0].Error.Topic != "invalid_client" || events[0].Error.Cause != nil {
			t.Errorf("a refusal: %+v", events)
		}

		must(t, d.Invalidate(t.Context(), "p", token.Secret{}))
		in.write("profiles.d/q.toml", "provider = \"nonsense\"\n")
		_ = d.Reload(t.Context())
		must(t, d.Remove(t.Context(), "p"))
		events = watched(t, w)
		if got := kindsOf(events); got != "invalidated reloaded removed" || events[1].BadFiles != 1 || events[2].Profile != "p" {
			t.Errorf("got %s: %+v", got, events)
		}
	})
}

func TestEventsOfAddingAndRotating(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		d := in.start()
		w := watch(t, t.Context(), d)
		in.add(addition("p", "first"))
		must(t, in.rotate("second"))
		same(t, "got", kindsOf(watched(t, w)), "added obtained rotated obtained")
	})
}

func TestOneEventForATokenThatExpiresWithoutASuccessor(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		d := in.startWith(ordinary)
		in.get("p", token.Query{})
		in.idp().set(func(i *issuer) { i.err = down })
		w := watch(t, t.Context(), d)
		time.Sleep(time.Hour)
		events := watched(t, w)
		expiring := slices.DeleteFunc(slices.Clone(events), func(e token.Event) bool { return e.Kind != token.EventExpiring })
		if len(expiring) != 1 {
			t.Fatalf("%d expiring events: %s", len(expiring), kindsOf(events))
		}
		within(t, "warned before the end", expiring[0].Expires.Sub(expiring[0].Time), 1, 12*time.Minute)
		wantIn(t, "events", kindsOf(events), "failed failed")
	})
}

func TestALockedKeyringIsToldOfOnce(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		d := in.startWith(ordinary + "renew = \"used\"\n")
		w := watch(t, t.Context(), d)
		in.locked.Store(true)
		in.refused("p", token.Query{}, token.ErrLocked)
		time.Sleep(10 * time.Second)
		in.refused("p", token.Query{}, token.ErrLocked)
		in.locked.Store(false)
		time.Sleep(10 * time.Minute)
		in.get("p", token.Query{})
		got := kindsOf(watched(t, w))
		if !strings.HasPrefix(got, "locked failed") || strings.Count(got, " locked")+strings.Count(got, "unlocked") != 1 || !strings.HasSuffix(got, "unlocked obtained") {
			t.Errorf("got %s", got)
		}
	})
}

func TestEventsOfACacheThatFails(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.profile("p", ordinary)
		in.full.Store(true)
		d := in.start()
		w := watch(t, t.Context(), d)
		in.get("p", token.Query{Fresh: true})
		synctest.Wait()
		in.full.Store(false)
		time.Sleep(2 * time.Minute)
		var states []string
		for _, e := range watched(t, w) {
			if e.Kind == token.EventCache {
				states = append(states, e.State)
			}
		}
		if len(states) == 0 || states[len(states)-1] != "ok" {
			t.Errorf("got %q", states)
		}
	})
}

// A watcher that falls behind delays no one, and learns how much it missed.
func TestAWatcherThatFallsBehindLearnsWhatItLost(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		d := in.startWith(ordinary + "renew = \"used\"\n")
		w := watch(t, t.Context(), d)
		const all = 300
		for range all {
			must(t, d.Reload(t.Context()))
		}
		events := watched(t, w)
		last := events[len(events)-1]
		if last.Kind != token.EventLost || last.Lost+len(events)-1 != all || len(events) != 257 {
			t.Errorf("%d events, the last %+v", len(events), last)
		}
		must(t, d.Reload(t.Context()))
		same(t, "afterwards", kindsOf(watched(t, w)), "reloaded")
	})
}

// Each event is shown to those who may see its profile.
func TestEventsFollowThePolicy(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		const uid = 54321
		in.profile("mine", ordinary+fmt.Sprintf("renew = \"used\"\nallow_users = [\"%d\"]\n", uid))
		in.profile("theirs", ordinary+"renew = \"used\"\n")
		d := in.start()
		user := context.WithValue(t.Context(), callerKey{}, daemon.Caller{User: token.User{UID: uid}})
		w := watch(t, user, d)
		wantErr(t, "watching another's profile", errOf(d.Watch(user, []string{"theirs"})), token.ErrNotFound)
		only := watch(t, t.Context(), d, "theirs")
		in.get("mine", token.Query{})
		in.get("theirs", token.Query{})
		must(t, os.Remove(in.dirs.ProfileFile("theirs")))
		in.profile("bad", "provider = \"none\"\n")
		_ = d.Reload(t.Context())
		events := watched(t, w)
		if kindsOf(events) != "obtained reloaded" || events[0].Profile != "mine" || events[1].BadFiles != 0 {
			t.Errorf("got %+v", events)
		}
		events = watched(t, only)
		if kindsOf(events) != "obtained removed reloaded" || events[2].BadFiles != 1 {
			t.Errorf("who watches one profile got %+v", events)
		}
		w.Close()
		in.get("mine", token.Query{Fresh: true})
		same(t, "events after the end", len(watched(t, w)), 0)
	})
}
