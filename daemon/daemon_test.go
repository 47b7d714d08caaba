package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tokend/daemon/mint"
	"tokend/providers/token"
)

// Asked a lifetime apart, so that a dead renewal loop is seen.
func TestTokensAreRenewedAheadOfExpiry(t *testing.T) {
	for _, life := range []time.Duration{time.Second, 5 * time.Second, time.Minute, time.Hour, 24 * time.Hour, 30 * 24 * time.Hour} {
		t.Run(life.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T, in *installation) {
				lifetimes := 20
				if life > 24*time.Hour { // the daemon looks at its clock every 30 s
					lifetimes = 2
				}
				in.idp().life = life
				in.profile("p", ordinary)
				in.start()
				before := in.get("p", token.Query{})
				for range lifetimes {
					time.Sleep(life)
					begin := time.Now()
					now := in.get("p", token.Query{})
					if now == before {
						t.Fatal("the token of a lifetime ago is still served")
					}
					if time.Since(begin) > 0 {
						t.Fatal("a caller had to wait for a renewal")
					}
					before = now
				}
				if _, minted := in.idp().counts(); minted > 2*lifetimes+5 {
					t.Errorf("%d tokens obtained in %d lifetimes", minted, lifetimes)
				}
			})
		})
	}
}

func TestCallersShareOneFlight(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.idp().thinks = 5 * time.Second
		in.profile("p", ordinary)
		in.start()
		var callers sync.WaitGroup
		got := make(chan string, 200)
		for range 200 {
			callers.Go(func() { got <- in.get("p", token.Query{}) })
		}
		callers.Wait()
		close(got)
		for tok := range got {
			if tok != "idp#1 " {
				t.Errorf("a caller got %q", tok)
			}
		}
		if asked, _ := in.idp().counts(); asked != 1 {
			t.Errorf("200 callers made %d requests to the issuer", asked)
		}
	})
}

func TestACallerWhoGivesUpLeavesTheFlightToOthers(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.idp().thinks = 10 * time.Second
		in.profile("p", ordinary)
		in.start()
		hasty, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := in.daemon.Get(hasty, "p", token.Query{}); !errors.Is(err, token.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the one who gave up: %v", err)
		}
		in.get("p", token.Query{})
		if asked, _ := in.idp().counts(); asked != 1 {
			t.Errorf("%d requests to the issuer", asked)
		}
	})
}

func TestAnIssuerThatHangsDelaysNoOther(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.issuers["slow"] = &issuer{life: time.Hour, thinks: time.Hour}
		for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"} {
			in.profile(name, "provider = \"test\"\nissuer = \"slow\"\n")
		}
		in.profile("p", ordinary)
		in.start()
		begin := time.Now()
		in.get("p", token.Query{})
		if waited := time.Since(begin); waited > 0 {
			t.Errorf("waited %v for another profile's issuer", waited)
		}
		// Nor do the renewals that hang there hold up a caller of the same issuer.
		in.issuers["slow"].set(func(i *issuer) { i.thinks = 0 })
		in.profile("k", "provider = \"test\"\nissuer = \"slow\"\n")
		must(t, in.daemon.Reload(t.Context()))
		in.get("k", token.Query{})
		if waited := time.Since(begin); waited > 0 {
			t.Errorf("waited %v for other renewals", waited)
		}
	})
}

func TestAnIssuerThatHangsDelaysNoCallerWithAValidToken(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.profile("p", ordinary)
		in.start()
		first := in.get("p", token.Query{})
		in.idp().set(func(i *issuer) { i.thinks = time.Hour })
		for range 59 {
			time.Sleep(time.Minute)
			begin := time.Now()
			if got := in.get("p", token.Query{}); got != first || time.Since(begin) > 0 {
				t.Fatalf("got %q after %v, want the valid token at once", got, time.Since(begin))
			}
		}
	})
}

func TestOutage(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.profile("p", ordinary)
		in.start()
		in.get("p", token.Query{})
		in.idp().set(func(i *issuer) { i.err = down })
		time.Sleep(59 * time.Minute)
		in.get("p", token.Query{}) // valid tokens are still served
		time.Sleep(time.Minute)
		err := in.refused("p", token.Query{}, token.ErrUnavailable)
		if wait := time.Until(err.RetryAt); wait <= 0 || wait > 5*time.Minute {
			t.Errorf("the next try is said to be in %v", wait)
		}
		asked, _ := in.idp().counts()
		for range 100 {
			in.refused("p", token.Query{}, token.ErrUnavailable)
		}
		if again, _ := in.idp().counts(); again != asked {
			t.Errorf("callers during an outage made %d more requests", again-asked)
		}
		in.idp().set(func(i *issuer) { i.err = nil })
		time.Sleep(5 * time.Minute)
		in.get("p", token.Query{})
		if st := in.status("p").Tokens[0]; st.Error != nil || st.Failures != 0 {
			t.Errorf("after the outage status says %+v", st)
		}
	})
}

func TestRetryAfterIsHonoured(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.idp().err = &token.Error{Code: token.ErrUnavailable, Message: "429", RetryAt: time.Now().Add(17 * time.Minute)}
		in.profile("p", ordinary)
		in.start()
		time.Sleep(17*time.Minute - time.Second)
		if asked, _ := in.idp().counts(); asked != 1 {
			t.Errorf("%d requests before Retry-After was over", asked)
		}
		time.Sleep(2 * time.Second)
		if asked, _ := in.idp().counts(); asked != 2 {
			t.Errorf("%d requests after Retry-After was over", asked)
		}
	})
}

func TestRejectionIsRemembered(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.idp().secret = "another"
		in.idp().thinks = 3 * time.Second
		in.profile("p", ordinary)
		in.start()
		if err := in.refused("p", token.Query{}, token.ErrRejected); err.OAuth != "invalid_client" {
			t.Errorf("the issuer's error is %q", err.OAuth)
		}
		for range 100 {
			begin := time.Now()
			in.refused("p", token.Query{}, token.ErrRejected)
			if time.Since(begin) > 0 {
				t.Fatal("the second caller waited for the same refusal")
			}
		}
		time.Sleep(time.Hour)
		asked, _ := in.idp().counts()
		if asked < 6 || asked > 12 {
			t.Errorf("%d requests in an hour of refusals, want one every 5 to 10 minutes", asked)
		}
		// The next slow try sees what the person fixed, or a try on which they insist.
		in.idp().set(func(i *issuer) { i.secret = "s3cret" })
		time.Sleep(30 * time.Second)
		in.get("p", token.Query{Fresh: true})
	})
}

func TestRestartWithTheIssuerDown(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.profile("p", ordinary)
		in.start()
		own := in.get("p", token.Query{})
		scoped := in.get("p", token.Query{Target: token.Target{Scope: "a b"}})
		in.idp().set(func(i *issuer) { i.err = down })
		in.restart()
		if got := in.get("p", token.Query{}); got != own {
			t.Errorf("after the restart %q, want %q", got, own)
		}
		if got := in.get("p", token.Query{Target: token.Target{Scope: "a b"}}); got != scoped {
			t.Errorf("after the restart %q, want %q", got, scoped)
		}
		if asked, _ := in.idp().counts(); asked != 2 {
			t.Errorf("%d requests, want the 2 from before the restart", asked)
		}
		in.stop()
		time.Sleep(time.Hour)
		in.start()
		in.refused("p", token.Query{}, token.ErrUnavailable)
	})
}

func TestChangedSettingsNeverGetTheOldToken(t *testing.T) {
	changes := map[string]func(in *installation){
		"the file": func(in *installation) { in.write("profiles.d/p.toml", ordinary+"scope = \"other\"\n") },
		"the credential": func(in *installation) {
			in.profile("p", ordinary)
		},
	}
	for what, change := range changes {
		for _, how := range []string{"reload", "restart"} {
			t.Run(what+", "+how, func(t *testing.T) {
				bubble(t, func(t *testing.T, in *installation) {
					in.profile("p", ordinary)
					in.start()
					old := in.get("p", token.Query{})
					change(in)
					if how == "reload" {
						must(t, in.daemon.Reload(t.Context()))
					} else {
						in.restart()
					}
					if got := in.get("p", token.Query{}); got == old {
						t.Error("the old token is served")
					}
				})
			})
		}
	}
}

func TestReloadKeepsTokensOfWhatDidNotChange(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.profile("p", ordinary)
		in.start()
		old := in.get("p", token.Query{})
		in.write("profiles.d/p.toml", "# a comment\n"+ordinary+"renew = \"used\"\n")
		must(t, in.daemon.Reload(t.Context()))
		if got := in.get("p", token.Query{}); got != old {
			t.Errorf("got %q, want %q", got, old)
		}
		if st := in.status("p"); st.Renew != "used" {
			t.Errorf("renew is %q", st.Renew)
		}
	})
}

func TestABadFileLeavesTheProfileActive(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.profile("good", ordinary)
		in.profile("p", ordinary)
		in.start()
		old := in.get("p", token.Query{})
		check := func(want string) {
			t.Helper()
			err := in.daemon.Reload(t.Context())
			if !errors.Is(err, token.ErrInvalid) || !strings.Contains(err.Error(), want) {
				t.Errorf("reload: %v, want it to say %q", err, want)
			}
			if got := in.get("p", token.Query{}); got != old {
				t.Errorf("got %q, want %q as before", got, old)
			}
			st, _ := in.daemon.Status(t.Context())
			if len(st.ConfigErrors) != 1 || !strings.Contains(st.ConfigErrors[0], want) {
				t.Errorf("status says %q, want %q", st.ConfigErrors, want)
			}
		}
		in.write("profiles.d/p.toml", ordinary+"skope = \"x\"\n")
		check(`p.toml:3: unknown key "skope"; did you mean "scope"?`)
		in.write("profiles.d/p.toml", "provider = \"tset\"\n")
		check(`p.toml:1: no provider "tset"; did you mean "test"?`)
		in.write("profiles.d/p.toml", "issuer = \"idp\"\n")
		check(`p.toml: "provider" is missing`)
		in.write("profiles.d/p.toml", "provider = \"test\"\nissuer = \"nobody\"\n")
		check(`p.toml:2: no issuer "nobody"`)
		in.write("profiles.d/p.toml", ordinary)
		in.write("config.toml", "renew = \"sometimes\"\n")
		check(`config.toml:1: renew: "sometimes" is neither "always" nor "used"`)
		in.write("config.toml", "")
		must(t, in.daemon.Reload(t.Context()))
		if st, _ := in.daemon.Status(t.Context()); len(st.ConfigErrors) != 0 {
			t.Errorf("fixed, status still says %q", st.ConfigErrors)
		}
	})
}

func TestReloadsUnderLoad(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.profile("p", ordinary)
		in.start()
		old := in.get("p", token.Query{})
		var load sync.WaitGroup
		var stop atomic.Bool
		for range 4 {
			load.Go(func() {
				for !stop.Load() {
					if got := in.get("p", token.Query{}); got != old {
						t.Errorf("got %q", got)
						return
					}
					time.Sleep(time.Millisecond)
				}
			})
		}
		load.Go(func() { // flights, too
			for i := 0; !stop.Load(); i++ {
				in.get("p", token.Query{Target: token.Target{Scope: fmt.Sprint(i % 50)}, Fresh: true})
				time.Sleep(time.Millisecond)
			}
		})
		for i := range 100 {
			in.write("profiles.d/p.toml", fmt.Sprintf("%sidle = \"%dm\"\n", ordinary, i+10))
			must(t, in.daemon.Reload(t.Context()))
			time.Sleep(time.Millisecond)
		}
		stop.Store(true)
		load.Wait()
	})
}

func TestRenewUsedStopsWhenNoOneAsks(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.profile("p", ordinary+"renew = \"used\"\nidle = \"3h\"\n")
		in.start()
		time.Sleep(time.Hour)
		if asked, _ := in.idp().counts(); asked != 0 {
			t.Errorf("%d requests before anybody asked", asked)
		}
		in.get("p", token.Query{})
		time.Sleep(24 * time.Hour)
		if asked, _ := in.idp().counts(); asked < 4 || asked > 6 {
			t.Errorf("%d requests, want renewals for 3 hours", asked)
		}
		in.get("p", token.Query{})
	})
}

func TestScopesAndAudiencesHaveTokensOfTheirOwn(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.profile("p", ordinary)
		in.start()
		for range 100 {
			a := in.get("p", token.Query{Target: token.Target{Audience: "a"}})
			b := in.get("p", token.Query{Target: token.Target{Audience: "b"}})
			if a == b || !strings.HasSuffix(a, "a") || !strings.HasSuffix(b, "b") {
				t.Fatalf("got %q and %q", a, b)
			}
		}
		if _, minted := in.idp().counts(); minted != 3 {
			t.Errorf("%d tokens obtained for the profile and two audiences", minted)
		}
		time.Sleep(time.Hour)
		begin := time.Now()
		in.get("p", token.Query{Target: token.Target{Audience: "a"}})
		if time.Since(begin) > 0 {
			t.Error("an audience's token is not renewed ahead")
		}
		// tokend forgets a scope that no one asks for any more.
		time.Sleep(48 * time.Hour)
		if st := in.status("p"); len(st.Tokens) != 1 {
			t.Errorf("%d tokens held, want the profile's own", len(st.Tokens))
		}
	})
}

func TestTargetsAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.profile("p", ordinary)
		in.start()
		for i := range 63 {
			in.get("p", token.Query{Target: token.Target{Scope: strings.Repeat("s", i+1)}})
		}
		in.refused("p", token.Query{Target: token.Target{Scope: "more"}}, token.ErrInvalid)
		in.get("p", token.Query{})
	})
}

func TestMinTTLAndFresh(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.idp().life = 10 * time.Minute
		in.profile("p", ordinary)
		in.start()
		first := in.get("p", token.Query{MinTTL: 9 * time.Minute})
		time.Sleep(2 * time.Minute)
		if got := in.get("p", token.Query{MinTTL: 8 * time.Minute}); got != first {
			t.Error("a token with enough life left was replaced")
		}
		second := in.get("p", token.Query{MinTTL: 8*time.Minute + time.Second})
		if second == first {
			t.Error("a token with too little life left was served")
		}
		asked, _ := in.idp().counts()
		for range 10 {
			err := in.refused("p", token.Query{MinTTL: time.Hour}, token.ErrInvalid)
			if err.Field != "min_ttl" || !strings.Contains(err.Message, "10m0s") {
				t.Errorf("error %+v", err)
			}
		}
		if again, _ := in.idp().counts(); again != asked {
			t.Errorf("asking for the impossible made %d requests", again-asked)
		}
		time.Sleep(2 * time.Second)
		third := in.get("p", token.Query{Fresh: true})
		if third == second {
			t.Error("Fresh served the cached token")
		}
		if got := in.get("p", token.Query{Fresh: true}); got != third {
			t.Error("Fresh obtained another token within a second")
		}
	})
}

func TestInvalidateDropsTheVeryToken(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.profile("p", ordinary)
		in.start()
		first := in.get("p", token.Query{})
		must(t, in.daemon.Invalidate(t.Context(), "p", token.NewSecret("some other token")))
		if got := in.get("p", token.Query{}); got != first {
			t.Error("another token's end cost this one")
		}
		// A hundred callers were refused with the same token: one new one.
		for range 100 {
			must(t, in.daemon.Invalidate(t.Context(), "p", token.NewSecret(first)))
		}
		second := in.get("p", token.Query{})
		if second == first {
			t.Error("the invalidated token is served")
		}
		// A resource that refuses every token gets no token per call.
		if err := in.daemon.Invalidate(t.Context(), "p", token.NewSecret(second)); !errors.Is(err, token.ErrUnavailable) {
			t.Errorf("invalidated again at once: %v", err)
		}
		time.Sleep(5 * time.Second)
		must(t, in.daemon.Invalidate(t.Context(), "p", token.Secret{}))
		if in.get("p", token.Query{}) == second {
			t.Error("the invalidated token is served")
		}
		if err := in.daemon.Invalidate(t.Context(), "nobody", token.Secret{}); !errors.Is(err, token.ErrNotFound) {
			t.Errorf("invalidate an unknown profile: %v", err)
		}
		time.Sleep(time.Minute)
		scoped := token.Query{Target: token.Target{Scope: "s"}}
		old := in.get("p", scoped)
		must(t, in.daemon.Invalidate(t.Context(), "p", token.NewSecret(in.get("p", token.Query{}))))
		must(t, in.daemon.Invalidate(t.Context(), "p", token.Secret{})) // the rest of them
		if in.get("p", scoped) == old {
			t.Error("one token that was replaced moments ago kept the others")
		}
		in.idp().set(func(i *issuer) { i.err = down })
		time.Sleep(5 * time.Second)
		must(t, in.daemon.Invalidate(t.Context(), "p", token.Secret{}))
		synctest.Wait()
		in.restart()
		in.refused("p", token.Query{}, token.ErrUnavailable)
	})
}

// A tool that asks again had its token refused: it gets another one, once. If that
// is refused too, it gets none for a minute, and then all begins again.
func TestToolsAskAgainForARefusedToken(t *testing.T) {
	for name, c := range map[string]struct {
		again int
		step  time.Duration
		want  string // which token each question gets; - is none
	}{
		"a third question in ten seconds":        {2, 4 * time.Second, "1 1 2 2 - - - - - - - - - - - - - - - 2 2 3 3 - -"},
		"three in more than ten seconds":         {2, 6 * time.Second, "1 1 1 1 1 1"},
		"a tool that keeps tokens":               {1, 9 * time.Second, "1 2 - - - - - - - 3 -"},
		"one that keeps them for long":           {1, 5 * time.Minute, "1 2 3 4"},
		"git, which says itself what is refused": {0, time.Second, "1 1 1 1 1 1 1"},
		"no tool of ours":                        {-1, time.Second, "1 1 1 1 1 1 1"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, in *installation) {
				in.profile("p", ordinary)
				in.start()
				ctx := token.WithAsker(t.Context(), token.Asker{Key: "4711.1 https://x", Again: c.again})
				get := func() (g token.Grant, err error) { // as helpers do it (cmd/tokenctl/helper)
					if g, err = in.daemon.Get(ctx, "p", token.Query{}); err == nil || mint.AsError(err).Detail != token.AskedAgain {
						return g, err
					}
					g, err = in.daemon.Get(t.Context(), "p", token.Query{})
					must(t, err)
					if err = in.daemon.Invalidate(ctx, "p", g.Secret); err == nil {
						g, err = in.daemon.Get(ctx, "p", token.Query{})
					}
					return g, err
				}
				seen, got := []string{}, []string{}
				for range strings.Fields(c.want) {
					g, err := get()
					switch i := slices.Index(seen, g.Secret.Reveal()); {
					case err != nil:
						if e := mint.AsError(err); e.Topic != token.RefusedTwice || e.RetryAt.Before(time.Now()) {
							t.Errorf("%+v", e)
						}
						got = append(got, "-")
					case i < 0:
						seen = append(seen, g.Secret.Reveal())
						got = append(got, strconv.Itoa(len(seen)))
					default:
						got = append(got, strconv.Itoa(i+1))
					}
					time.Sleep(c.step)
				}
				if text := strings.Join(got, " "); text != c.want {
					t.Errorf("got %s\nwant %s", text, c.want)
				}
				st, err := in.daemon.Profile(t.Context(), "p")
				if warned := strings.Contains(strings.Join(st.Warnings, ""), "token-refused"); err != nil || warned != strings.HasSuffix(c.want, "-") {
					t.Errorf("status warns: %q", st.Warnings)
				}
				// Others are not concerned.
				other := token.WithAsker(t.Context(), token.Asker{Key: "4711.2 https://x", Again: c.again})
				if _, err := in.daemon.Get(other, "p", token.Query{}); err != nil {
					t.Errorf("another process: %v", err)
				}
				in.get("p", token.Query{})
			})
		})
	}
}

// git hands back what was refused. Two tokens are dropped at most, however many
// requests a server refuses, and other URLs go on.
func TestGitHandsBackRefusedTokens(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.profile("p", ordinary)
		in.start()
		at := func(url string) context.Context { return token.WithAsker(t.Context(), token.Asker{Key: url}) }
		get := func(url string) (token.Secret, error) {
			g, err := in.daemon.Get(at(url), "p", token.Query{})
			return g.Secret, err
		}
		// Twenty submodules were fetched with the first one.
		first, err := get("a")
		must(t, err)
		for i := range 20 {
			must(t, in.daemon.Invalidate(at(strconv.Itoa(i)), "", first))
		}
		second, err := get("a")
		must(t, err)
		if err := in.daemon.Invalidate(at("a"), "", second); !errors.Is(err, token.ErrUnavailable) || second.Equal(first) {
			t.Errorf("the second one: %v", err)
		}
		if _, err := get("a"); err == nil {
			t.Error("git gets another one at once")
		}
		if g, err := get("b"); err != nil || !g.Equal(second) {
			t.Errorf("another repository: %v", err)
		}
		time.Sleep(time.Minute)
		if g, err := get("a"); err != nil || !g.Equal(second) {
			t.Errorf("a minute later: %v", err)
		}
		must(t, in.daemon.Invalidate(at("a"), "", second))
		if g, err := get("a"); err != nil || g.Equal(second) {
			t.Errorf("and refused again: %v", err)
		}
		if asked, _ := in.idp().counts(); asked != 3 {
			t.Errorf("the issuer was asked %d times", asked)
		}
	})
}

func TestLockedKeyring(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.profile("p", ordinary)
		in.start()
		old := in.get("p", token.Query{})
		in.locked.Store(true)
		if got := in.get("p", token.Query{}); got != old {
			t.Errorf("locked: %q, want the cached token", got)
		}
		time.Sleep(time.Hour)
		in.refused("p", token.Query{}, token.ErrLocked)
		in.locked.Store(false)
		in.get("p", token.Query{}) // at once: asking the keyring spares no issuer

		// Locked when tokend starts: the cache cannot be read yet, and is when
		// it is unlocked, by itself.
		held := in.get("p", token.Query{})
		in.locked.Store(true)
		in.idp().set(func(i *issuer) { i.err = down })
		in.restart()
		in.refused("p", token.Query{}, token.ErrLocked)
		if st, _ := in.daemon.Status(t.Context()); !strings.Contains(st.Cache, "locked") {
			t.Errorf("status says of the cache: %q", st.Cache)
		}
		in.locked.Store(false)
		time.Sleep(time.Minute)
		if got := in.get("p", token.Query{}); got != held {
			t.Errorf("unlocked: %q, want %q from the cache", got, held)
		}
	})
}

// The keyring is unlocked while callers wait, and the issuer is down: what the
// cache turns out to hold is served, and not the issuer's failure.
func TestUnlockedWhileCallersWait(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.profile("p", ordinary)
		in.start()
		held := in.get("p", token.Query{})
		in.locked.Store(true)
		in.idp().set(func(i *issuer) { i.err, i.thinks = down, 20*time.Second })
		in.restart()
		in.refused("p", token.Query{}, token.ErrLocked)
		in.locked.Store(false)
		if got := in.get("p", token.Query{}); got != held {
			t.Errorf("got %q, want %q from the cache", got, held)
		}
		in.refused("p", token.Query{Fresh: true}, token.ErrUnavailable)
	})
}

// Callers who ask again and again do not have the keyring asked each time, and
// what that took says nothing about how patient to be with the issuer.
func TestALockedKeyringIsNotHammered(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.profile("p", ordinary)
		in.locked.Store(true)
		in.start()
		in.locks.Store(0)
		until := time.Now().Add(10 * time.Second)
		var callers sync.WaitGroup
		for range 20 {
			callers.Go(func() {
				for time.Now().Before(until) {
					in.refused("p", token.Query{}, token.ErrLocked)
				}
			})
		}
		callers.Wait()
		if n := in.locks.Load(); n < 10 || n > 60 { // the renewals and the cache's key among them
			t.Errorf("the keyring was asked %d times in ten seconds", n)
		}

		in.idp().set(func(i *issuer) { i.err = down })
		in.locked.Store(false)
		err := in.refused("p", token.Query{}, token.ErrUnavailable)
		if wait := time.Until(err.RetryAt); wait > 2*time.Second {
			t.Errorf("the first failure of the issuer is followed by %v of waiting", wait)
		}
	})
}

func TestAFullDiskCostsNoToken(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.full.Store(true)
		in.profile("p", ordinary)
		in.start()
		tok := in.get("p", token.Query{})
		synctest.Wait()
		if st, _ := in.daemon.Status(t.Context()); !strings.Contains(st.Cache, "no space") {
			t.Errorf("status says of the cache: %q", st.Cache)
		}
		in.full.Store(false)
		time.Sleep(time.Minute)
		if st, _ := in.daemon.Status(t.Context()); st.Cache != "ok" {
			t.Errorf("status says of the cache: %q", st.Cache)
		}
		in.idp().set(func(i *issuer) { i.err = down })
		in.restart()
		if got := in.get("p", token.Query{}); got != tok {
			t.Errorf("after the restart %q, want %q", got, tok)
		}
	})
}

// The cache is deleted under the running daemon: the tokens are written again,
// and the log says so; also if the daemon stops at once.
func TestTheCacheIsDeletedWhileRunning(t *testing.T) {
	for _, wait := range []time.Duration{0, time.Second} {
		bubble(t, func(t *testing.T, in *installation) {
			in.profile("a", ordinary)
			in.profile("b", ordinary+"renew = \"used\"\n")
			in.start()
			a := in.get("a", token.Query{})
			synctest.Wait()
			must(t, os.Remove(filepath.Join(in.dirs.State, "cache.db")))
			b := in.get("b", token.Query{})
			time.Sleep(wait)
			if wait > 0 && !strings.Contains(in.logged(), "notice=") {
				t.Error("the log does not say so")
			}
			in.idp().set(func(i *issuer) { i.err = down })
			in.restart()
			if in.get("a", token.Query{}) != a || in.get("b", token.Query{}) != b {
				t.Error("a token was lost")
			}
			if !strings.Contains(in.logged(), "notice=") {
				t.Error("the log does not say so")
			}
		})
	}
}

// A token is written at once, and those that follow it closely together.
func TestTokensAreWrittenTogether(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		const many = 20
		for i := range many {
			in.profile(fmt.Sprint("p", i), ordinary+"renew = \"used\"\n")
		}
		d := in.start()
		for i := range many {
			in.get(fmt.Sprint("p", i), token.Query{})
			if synctest.Wait(); i == 0 {
				if st, _ := d.Status(t.Context()); st.Cache != "ok" {
					t.Errorf("after the first one the cache is %q", st.Cache)
				}
			}
		}
		time.Sleep(time.Second)
		if st, _ := d.Status(t.Context()); st.Cache != "ok" {
			t.Errorf("the cache is %q", st.Cache)
		}
		if f, err := d.Figures(t.Context()); err != nil || f.CacheWrites != 2 {
			t.Errorf("%d writes, %v", f.CacheWrites, err)
		}
	})
}

// profiles.d cannot be read: nothing is forgotten.
func TestProfilesThatCannotBeListed(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.profile("p", ordinary)
		in.start()
		tok := in.get("p", token.Query{})
		dir := in.dirs.ProfilesDir()
		must(t, errors.Join(os.Rename(dir, dir+".away"), os.WriteFile(dir, nil, 0o600)))
		if err := in.daemon.Reload(t.Context()); !errors.Is(err, token.ErrInvalid) {
			t.Errorf("reload: %v", err)
		}
		if got := in.get("p", token.Query{}); got != tok {
			t.Errorf("got %q", got)
		}
	})
}

func TestAPanicInAProviderIsThatProfilesError(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.issuers["broken"] = &issuer{panics: true}
		in.profile("b", "provider = \"test\"\nissuer = \"broken\"\n")
		in.profile("p", ordinary)
		in.start()
		in.refused("b", token.Query{}, token.ErrInternal)
		in.get("p", token.Query{})
	})
}

// A get that comes while the last flights end.
func TestGetWhileStopping(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.idp().thinks, in.idp().stubborn = 10*time.Second, true
		in.profile("p", ordinary)
		in.start()
		var both sync.WaitGroup
		both.Go(func() { in.stop() })
		synctest.Wait()
		both.Go(func() { in.get("p", token.Query{}) }) // it lands all the same
		both.Wait()
	})
}

func TestStoppingReleasesWhoWaits(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.idp().thinks = time.Hour
		for i := range 40 {
			in.profile("p"+strings.Repeat("x", i), ordinary)
		}
		in.start()
		var callers sync.WaitGroup
		for i := range 40 { // more than are launched at a time
			callers.Go(func() {
				if err := in.refused("p"+strings.Repeat("x", i), token.Query{}, token.ErrUnavailable); err.Message != "tokend is stopping" {
					t.Errorf("released with %q", err.Message)
				}
			})
		}
		synctest.Wait()
		in.stop()
		callers.Wait()
		in.refused("p", token.Query{}, token.ErrUnavailable)
	})
}

// At a start with an empty cache, and after a suspend in which all expired, as
// when they fall due by themselves.
func TestManyProfilesAreNoStorm(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.idp().thinks = 20 * time.Millisecond
		in.idp().life = 2 * time.Hour
		const many = 300
		for i := range many {
			in.profile(fmt.Sprint("p", i), ordinary)
		}
		in.start()
		time.Sleep(3 * time.Hour) // each was renewed once
		in.idp().mu.Lock()
		defer in.idp().mu.Unlock()
		asked := in.idp().last
		if len(asked) < 2*many {
			t.Fatalf("%d requests for %d profiles", len(asked), many)
		}
		for i := 10; i < len(asked); i++ {
			if burst := asked[i].Sub(asked[i-10]); burst < time.Second {
				t.Fatalf("requests %d to %d came within %v", i-10, i, burst)
			}
		}
	})
}

// However many issuers there are, and if all of them hang: renewals are bounded,
// each has its turn, and a caller does not wait for them.
func TestRenewalsAreBoundedOverAllIssuers(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		const many = 200
		for i := range many {
			name := fmt.Sprint("slow", i)
			in.issuers[name] = &issuer{life: time.Hour, thinks: time.Hour}
			in.profile(name, "provider = \"test\"\nissuer = \""+name+"\"\nrenew = \"always\"\n")
		}
		in.profile("p", ordinary+"renew = \"used\"\n")
		in.start()
		asked := func() (n int) {
			for i := range many {
				once, _ := in.issuers[fmt.Sprint("slow", i)].counts()
				n += min(once, 1)
			}
			return n
		}
		if n := asked(); n == 0 || n > 64 {
			t.Errorf("%d requests at once", n)
		}
		begin := time.Now()
		in.get("p", token.Query{})
		if waited := time.Since(begin); waited > 0 {
			t.Errorf("a caller waited %v", waited)
		}
		time.Sleep(10 * time.Minute)
		if n := asked(); n != many {
			t.Errorf("%d of %d had their turn", n, many)
		}
	})
}

// A caller does not stand in the queue of the renewals.
func TestACallerOvertakesTheStorm(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		for i := range 200 {
			in.profile(fmt.Sprint("p", i), ordinary)
		}
		in.start()
		begin := time.Now()
		in.get("p199", token.Query{})
		if waited := time.Since(begin); waited > 0 {
			t.Errorf("waited %v", waited)
		}
	})
}

func TestAScopeThatIsRefusedIsNotAskedForAgain(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.profile("p", ordinary)
		in.start()
		in.get("p", token.Query{})
		in.idp().set(func(i *issuer) {
			i.err = &token.Error{Code: token.ErrRejected, OAuth: "invalid_scope", Message: "invalid_scope"}
		})
		typo := token.Query{Target: token.Target{Scope: "raed"}}
		in.refused("p", typo, token.ErrRejected)
		asked, _ := in.idp().counts()
		in.refused("p", typo, token.ErrRejected)
		time.Sleep(30 * time.Minute)
		if again, _ := in.idp().counts(); again != asked {
			t.Errorf("%d more requests for it", again-asked)
		}
		if st := in.status("p"); len(st.Tokens) != 1 {
			t.Errorf("it still takes a place: %+v", st.Tokens)
		}
	})
}

func TestUnknownProfile(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.start()
		in.refused("nobody", token.Query{}, token.ErrNotFound)
	})
}

func TestProfileWithoutACredential(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.write("profiles.d/p.toml", ordinary)
		in.start()
		err := in.refused("p", token.Query{}, token.ErrKeystore)
		if want := `no client_secret is stored for profile "p"`; err.Message != want {
			t.Errorf("error %q, want %q", err.Message, want)
		}
	})
}

// The loop reports to a service manager, as often as that wants.
func TestTheLoopReportsThatItIsAlive(t *testing.T) {
	for pulse, least := range map[time.Duration]int64{0: 10, time.Second: 300} {
		synctest.Test(t, func(t *testing.T) {
			in := newInstallation(t)
			in.pulse = pulse
			in.start()
			time.Sleep(5*time.Minute + time.Millisecond)
			synctest.Wait()
			if n := in.turns.Load(); n < least || n > least+5 {
				t.Errorf("pulse %v: %d turns in 5 minutes, want about %d", pulse, n, least)
			}
			in.stop()
		})
	}
}
