package daemon_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"tokend/providers/token"
)

// steps are what happens to a wall clock while the monotonic one, and timers
// with it, go on as before; a suspend looks like a step forward.
var steps = map[string]time.Duration{
	"two hours on":    2 * time.Hour,
	"two hours back":  -2 * time.Hour,
	"ten years on":    10 * 365 * 24 * time.Hour,
	"a night's sleep": 8 * time.Hour,
}

// Case 59 of the threat model: however the clock is set, no caller ever gets an
// expired token, and one that no one asked for is renewed within half a minute.
func TestTheClockIsSet(t *testing.T) {
	for name, step := range steps {
		bubbleNamed(t, name, func(t *testing.T, in *installation) {
			in.startWith(ordinary)
			before := in.get("p", token.Query{}) // fails if it has expired
			time.Sleep(10 * time.Minute)
			in.set(step)
			differ(t, "asked at once", in.get("p", token.Query{}), before)

			in.set(-step)
			time.Sleep(time.Minute)
			_, minted := in.idp().counts()
			in.set(step)
			time.Sleep(31 * time.Second)
			if _, now := in.idp().counts(); now == minted {
				t.Error("nothing was renewed within half a minute")
			}
			in.get("p", token.Query{})
		})
	}
}

// A machine wakes with all its tokens expired: that is no storm, and callers are
// served first.
func TestWakingIsNoStorm(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		const many = 150
		for i := range many {
			in.profile(fmt.Sprint("p", i), ordinary)
		}
		in.start()
		time.Sleep(10 * time.Minute)
		in.idp().set(func(i *issuer) { i.last = nil })
		in.set(8 * time.Hour)
		in.getAtOnce(fmt.Sprint("p", many-1))
		time.Sleep(5 * time.Minute)
		in.wantNoStorm(many, 11, 900*time.Millisecond)
	})
}

// The warning about the clock ends when someone or NTP sets it, at once or bit by
// bit, or when the machine slept; it comes back with an answer that shows it again.
func TestTheClocksWarningEnds(t *testing.T) {
	for name, right := range map[string]func(*installation){
		"set":    func(in *installation) { in.set(2 * time.Minute) },
		"slewed": func(in *installation) { in.slewed.Add(int64(2 * time.Minute)) },
		"slept":  func(in *installation) { in.set(8 * time.Hour) },
	} {
		bubble(t, func(t *testing.T, in *installation) {
			in.profile("p", ordinary)
			in.idp().skew = 2 * time.Minute
			in.start()
			in.get("p", token.Query{})
			warns := func() bool {
				return strings.Contains(strings.Join(in.status("p").Warnings, "\n"), "clock is 2m0s behind")
			}
			if !warns() {
				t.Fatalf("%s: no warning", name)
			}
			time.Sleep(time.Minute)
			in.slewed.Add(int64(time.Second))
			if !warns() {
				t.Errorf("%s: the warning ends though the clock is wrong", name)
			}
			right(in)
			if warns() {
				t.Errorf("%s: the clock is right, and the warning stays", name)
			}
			in.get("p", token.Query{Fresh: true})
			if !warns() {
				t.Errorf("%s: no warning though the issuer's clock differs again", name)
			}
		})
	}
}
