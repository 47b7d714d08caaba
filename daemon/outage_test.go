package daemon_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"tokend/providers/token"
)

// A person who waits gets a token seconds after the cause is gone, however long that
// had lasted, and however long tokend itself would wait.
func TestAPersonWaitsForNothing(t *testing.T) {
	refusal := &token.Error{Code: token.ErrRejected, OAuth: "invalid_client", Message: "no"}
	for _, c := range []struct {
		name   string
		err    *token.Error
		after  time.Duration // the longest wait of a get
		config string
	}{
		{"outage", down, 5 * time.Second, ""}, {"refusal", refusal, 30 * time.Second, ""},
		{"outage, of a profile that is renewed on demand", down, 5 * time.Second, "renew = \"used\"\n"},
		{"another failure", &token.Error{Code: token.ErrInternal, Message: "no"}, 30 * time.Second, ""},
	} {
		for _, lasts := range []time.Duration{20 * time.Second, 91 * time.Second, 4 * time.Minute, time.Hour} {
			bubbleNamed(t, fmt.Sprint(c.name, ", ", lasts), func(t *testing.T, in *installation) {
				in.idp().err = c.err
				in.profile("p", ordinary+c.config)
				in.profile("fresh", ordinary+c.config)
				in.start()
				for range lasts / (2 * time.Second) {
					for _, name := range []string{"p", "fresh"} {
						if err := in.refused(name, token.Query{}, c.err.Code); time.Until(err.RetryAt) > c.after {
							t.Fatalf("ask again in %v", time.Until(err.RetryAt))
						}
					}
					time.Sleep(2 * time.Second)
				}
				if asked, _ := in.idp().counts(); time.Duration(asked) > 2*(lasts/c.after+10) {
					t.Errorf("the issuer was asked %d times in %v", asked, lasts)
				}
				again := in.refused("p", token.Query{}, c.err.Code).RetryAt
				in.idp().set(func(i *issuer) { i.err = nil })
				began := time.Now()
				in.get("fresh", token.Query{Fresh: true})
				within(t, "the time of --fresh", time.Since(began), 0, time.Second)
				time.Sleep(time.Until(again))
				in.get("p", token.Query{})
			})
		}
	}
}

// Callers who insist make one request a second, of all scopes together, and none
// before the issuer wants it. Others are not held up by them.
func TestInsistingIsNoFlood(t *testing.T) {
	for _, err := range []error{nil, down, &token.Error{Code: token.ErrRejected, Message: "no"}} {
		bubble(t, func(t *testing.T, in *installation) {
			in.idp().err = err
			in.startWith(ordinary)
			until := time.Now().Add(20 * time.Second)
			var callers sync.WaitGroup
			for i := range 20 {
				callers.Go(func() {
					for time.Now().Before(until) {
						_, _ = in.daemon.Get(t.Context(), "p", token.Query{Fresh: true, Target: token.Target{Scope: fmt.Sprint(i % 4)}})
						time.Sleep(10 * time.Millisecond)
					}
				})
			}
			time.Sleep(10 * time.Second)
			began := time.Now()
			_, _ = in.daemon.Get(t.Context(), "p", token.Query{Target: token.Target{Scope: "other"}})
			same(t, "a caller who does not insist waited", time.Since(began), 0)
			callers.Wait()
			if asked, _ := in.idp().counts(); asked < 15 || asked > 40 { // renewals among them
				t.Errorf("%v: %d requests in 20 s", err, asked)
			}
		})
	}
	bubble(t, func(t *testing.T, in *installation) {
		in.idp().err = &token.Error{Code: token.ErrUnavailable, Message: "429", RetryAt: time.Now().Add(17 * time.Minute)}
		in.startWith(ordinary)
		for range 16 {
			time.Sleep(time.Minute)
			err := in.refused("p", token.Query{Fresh: true}, token.ErrUnavailable)
			in.refused("p", token.Query{}, token.ErrUnavailable)
			in.network <- struct{}{}
			must(t, in.daemon.Reload(t.Context()))
			if want := in.idp().err.(*token.Error).RetryAt; !err.RetryAt.Equal(want) {
				t.Fatalf("ask again at %v, want %v", err.RetryAt, want)
			}
		}
		in.wantAsked(1)
		time.Sleep(time.Minute + time.Second/2)
		in.wantAsked(2)
	})
}

// What tokend can know of the end of an outage ends the wait of its renewals too.
func TestTheEndOfAnOutageIsNoticed(t *testing.T) {
	for name, happens := range map[string]func(in *installation){
		"another profile": func(in *installation) { in.get("other", token.Query{}) },
		"another scope":   func(in *installation) { in.get("p", token.Query{Target: token.Target{Scope: "s"}}) },
		"reload":          func(in *installation) { must(in.t, in.daemon.Reload(in.t.Context())) },
		"the network":     func(in *installation) { in.network <- struct{}{} },
		"a resume": func(in *installation) {
			in.set(time.Hour)
			must(in.t, in.daemon.Invalidate(in.t.Context(), "p", token.Secret{}))
		},
		"the clock": func(in *installation) { in.set(-time.Hour); in.get("other", token.Query{}) },
		"the network, while an attempt is under way": func(in *installation) {
			in.idp().set(func(i *issuer) { i.err, i.thinks = down, 3*time.Second })
			go func() { _, _ = in.daemon.Get(in.t.Context(), "p", token.Query{Fresh: true}) }()
			time.Sleep(2 * time.Second)
			in.network <- struct{}{}
			time.Sleep(1500 * time.Millisecond)
			in.idp().set(func(i *issuer) { i.err, i.thinks = nil, 0 })
		},
	} {
		bubbleNamed(t, name, func(t *testing.T, in *installation) {
			in.pulse = time.Second
			in.idp().err = down
			in.profile("p", ordinary)
			in.profile("other", ordinary+"renew = \"used\"\n")
			in.start()
			for in.status("p").Tokens[0].Failures < 9 {
				time.Sleep(time.Second)
			}
			time.Sleep(time.Second)
			in.idp().set(func(i *issuer) { i.err = nil })
			happens(in)
			time.Sleep(3 * time.Second)
			same(t, "three seconds later", in.status("p").Tokens[0].State, "fresh")
		})
	}
}

// A profile that fails for a reason of its own is not asked for more often because
// others work.
func TestAFailureOfItsOwn(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.idp().life, in.idp().badScope = 10*time.Second, "bad"
		for i := range 20 {
			in.profile(fmt.Sprint("p", i), ordinary)
		}
		in.profile("bad", ordinary+"scope = \"bad\"\n")
		in.start()
		time.Sleep(10 * time.Minute)
		within(t, "requests in ten minutes", in.status("bad").Tokens[0].Failures, 1, 20)
	})
}
