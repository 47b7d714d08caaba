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
		bubbleNamed(t, life.String(), func(t *testing.T, in *installation) {
			lifetimes := 20
			if life > 24*time.Hour { // the daemon looks at its clock every 30 s
				lifetimes = 2
			}
			in.idp().life = life
			in.startWith(ordinary)
			before := in.get("p", token.Query{})
			for range lifetimes {
				time.Sleep(life)
				now := in.getAtOnce("p")
				if now == before {
					t.Fatal("the token of a lifetime ago is still served")
				}
				before = now
			}
			if _, minted := in.idp().counts(); minted > 2*lifetimes+5 {
				t.Errorf("%d tokens obtained in %d lifetimes", minted, lifetimes)
			}
		})
	}
}

func TestCallersShareOneFlight(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.idp().thinks = 5 * time.Second
		in.startWith(ordinary)
		var callers sync.WaitGroup
		got := make(chan string, 200)
		for range 200 {
			callers.Go(func() { got <- in.get("p", token.Query{}) })
		}
		callers.Wait()
		close(got)
		for tok := range got {
			same(t, "a caller got", tok, "idp#1 ")
		}
		in.wantAsked(1)
	})
}

func TestACallerWhoGivesUpLeavesTheFlightToOthers(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.idp().thinks = 10 * time.Second
		in.startWith(ordinary)
		hasty, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := in.daemon.Get(hasty, "p", token.Query{}); !errors.Is(err, token.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the one who gave up: %v", err)
		}
		in.get("p", token.Query{})
		in.wantAsked(1)
	})
}

func TestAnIssuerThatHangsDelaysNoOther(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.issuers["slow"] = &issuer{life: time.Hour, thinks: time.Hour}
		for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"} {
			in.profile(name, "provider = \"test\"\nissuer = \"slow\"\n")
		}
		in.startWith(ordinary)
		in.getAtOnce("p")
		// Nor do the renewals that hang there hold up a caller of the same issuer.
		in.issuers["slow"].set(func(i *issuer) { i.thinks = 0 })
		in.profile("k", "provider = \"test\"\nissuer = \"slow\"\n")
		must(t, in.daemon.Reload(t.Context()))
		in.getAtOnce("k")
	})
}

func TestAnIssuerThatHangsDelaysNoCallerWithAValidToken(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.startWith(ordinary)
		first := in.get("p", token.Query{})
		in.idp().set(func(i *issuer) { i.thinks = time.Hour })
		for range 59 {
			time.Sleep(time.Minute)
			same(t, "the valid token", in.getAtOnce("p"), first)
		}
	})
}

func TestRejectionIsRemembered(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.idp().secret = "another"
		in.idp().thinks = 3 * time.Second
		in.startWith(ordinary)
		same(t, "the issuer's error", in.refused("p", token.Query{}, token.ErrRejected).OAuth, "invalid_client")
		for range 100 {
			begin := time.Now()
			in.refused("p", token.Query{}, token.ErrRejected)
			same(t, "the second caller waited", time.Since(begin), 0)
		}
		time.Sleep(time.Hour)
		asked, _ := in.idp().counts()
		within(t, "requests in an hour of refusals", asked, 6, 12)
		// The next slow try sees what the person fixed, or a try on which they insist.
		in.idp().set(func(i *issuer) { i.secret = "s3cret" })
		time.Sleep(30 * time.Second)
		in.get("p", token.Query{Fresh: true})
	})
}

func TestRestartWithTheIssuerDown(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.startWith(ordinary)
		own := in.get("p", token.Query{})
		scoped := in.get("p", token.Query{Target: token.Target{Scope: "a b"}})
		in.idp().set(func(i *issuer) { i.err = down })
		in.restart()
		same(t, "after the restart", in.get("p", token.Query{}), own)
		same(t, "after the restart", in.get("p", token.Query{Target: token.Target{Scope: "a b"}}), scoped)
		in.wantAsked(2)
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
			bubbleNamed(t, what+", "+how, func(t *testing.T, in *installation) {
				in.startWith(ordinary)
				old := in.get("p", token.Query{})
				change(in)
				if how == "reload" {
					must(t, in.daemon.Reload(t.Context()))
				} else {
					in.restart()
				}
				differ(t, "after the change", in.get("p", token.Query{}), old)
			})
		}
	}
}

func TestReloadKeepsTokensOfWhatDidNotChange(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.startWith(ordinary)
		old := in.get("p", token.Query{})
		in.write("profiles.d/p.toml", "# a comment\n"+ordinary+"renew = \"used\"\n")
		must(t, in.daemon.Reload(t.Context()))
		same(t, "got", in.get("p", token.Query{}), old)
		same(t, "renew", in.status("p").Renew, "used")
	})
}

func TestABadFileLeavesTheProfileActive(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.profile("good", ordinary)
		in.startWith(ordinary)
		old := in.get("p", token.Query{})
		check := func(want string) {
			t.Helper()
			err := in.daemon.Reload(t.Context())
			if !errors.Is(err, token.ErrInvalid) || !strings.Contains(err.Error(), want) {
				t.Errorf("reload: %v, want it to say %q", err, want)
			}
			same(t, "got", in.get("p", token.Query{}), old)
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
		same(t, "errors once all is fixed", len(in.state().ConfigErrors), 0)
	})
}

func TestReloadsUnderLoad(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.startWith(ordinary)
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
		in.startWith(ordinary + "renew = \"used\"\nidle = \"3h\"\n")
		time.Sleep(time.Hour)
		in.wantAsked(0)
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
		in.startWith(ordinary)
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
		same(t, "tokens held", len(in.status("p").Tokens), 1)
	})
}

func TestMinTTLAndFresh(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.idp().life = 10 * time.Minute
		in.startWith(ordinary)
		first := in.get("p", token.Query{MinTTL: 9 * time.Minute})
		time.Sleep(2 * time.Minute)
		same(t, "a token with enough life left was replaced", in.get("p", token.Query{MinTTL: 8 * time.Minute}), first)
		second := in.get("p", token.Query{MinTTL: 8*time.Minute + time.Second})
		differ(t, "with too little life left", second, first)
		asked, _ := in.idp().counts()
		for range 10 {
			err := in.refused("p", token.Query{MinTTL: time.Hour}, token.ErrInvalid)
			if err.Field != "min_ttl" || !strings.Contains(err.Message, "10m0s") {
				t.Errorf("error %+v", err)
			}
		}
		in.wantAsked(asked)
		time.Sleep(2 * time.Second)
		third := in.get("p", token.Query{Fresh: true})
		differ(t, "a fresh one", third, second)
		same(t, "Fresh obtained another token within a second", in.get("p", token.Query{Fresh: true}), third)
	})
}

func TestInvalidateDropsTheVeryToken(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.startWith(ordinary)
		first := in.get("p", token.Query{})
		must(t, in.daemon.Invalidate(t.Context(), "p", token.NewSecret("some other token")))
		same(t, "another token's end cost this one", in.get("p", token.Query{}), first)
		// A hundred callers were refused with the same token: one new one.
		for range 100 {
			must(t, in.daemon.Invalidate(t.Context(), "p", token.NewSecret(first)))
		}
		second := in.get("p", token.Query{})
		differ(t, "after it was invalidated", second, first)
		// A resource that refuses every token gets no token per call.
		wantErr(t, "invalidated again at once", in.daemon.Invalidate(t.Context(), "p", token.NewSecret(second)), token.ErrUnavailable)
		time.Sleep(5 * time.Second)
		must(t, in.daemon.Invalidate(t.Context(), "p", token.Secret{}))
		differ(t, "after all were invalidated", in.get("p", token.Query{}), second)
		wantErr(t, "invalidate an unknown profile", in.daemon.Invalidate(t.Context(), "nobody", token.Secret{}), token.ErrNotFound)
		time.Sleep(time.Minute)
		scoped := token.Query{Target: token.Target{Scope: "s"}}
		old := in.get("p", scoped)
		must(t, in.daemon.Invalidate(t.Context(), "p", token.NewSecret(in.get("p", token.Query{}))))
		must(t, in.daemon.Invalidate(t.Context(), "p", token.Secret{})) // the rest of them
		differ(t, "after one was replaced moments ago", in.get("p", scoped), old)
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
		bubbleNamed(t, name, func(t *testing.T, in *installation) {
			in.startWith(ordinary)
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
			same(t, "tokens", strings.Join(got, " "), c.want)
			st, err := in.daemon.Profile(t.Context(), "p")
			if warned := strings.Contains(strings.Join(st.Warnings, ""), "token-refused"); err != nil || warned != strings.HasSuffix(c.want, "-") {
				t.Errorf("status warns: %q", st.Warnings)
			}
			// Others are not concerned.
			other := token.WithAsker(t.Context(), token.Asker{Key: "4711.2 https://x", Again: c.again})
			must(t, errOf(in.daemon.Get(other, "p", token.Query{})))
			in.get("p", token.Query{})
		})
	}
}

// git hands back what was refused. Two tokens are dropped at most, however many
// requests a server refuses, and other URLs go on.
func TestGitHandsBackRefusedTokens(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.startWith(ordinary)
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
		in.wantAsked(3)
	})
}

func TestLockedKeyring(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.startWith(ordinary)
		old := in.get("p", token.Query{})
		in.locked.Store(true)
		same(t, "locked", in.get("p", token.Query{}), old)
		time.Sleep(time.Hour)
		in.refused("p", token.Query{}, token.ErrLocked)
		in.locked.Store(false)
		in.get("p", token.Query{}) // at once: asking the keyring spares no issuer
	})
}

// The keyring is unlocked while callers wait, and the issuer is down: what the
// cache turns out to hold is served, and not the issuer's failure.
func TestUnlockedWhileCallersWait(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.startWith(ordinary)
		held := in.get("p", token.Query{})
		in.locked.Store(true)
		in.idp().set(func(i *issuer) { i.err, i.thinks = down, 20*time.Second })
		in.restart()
		in.refused("p", token.Query{}, token.ErrLocked)
		wantIn(t, "the state of the cache", in.state().Cache, "locked")
		in.locked.Store(false)
		same(t, "from the cache", in.get("p", token.Query{}), held)
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
		within(t, "the wait after the first failure of the issuer", time.Until(err.RetryAt), 0, 2*time.Second)
	})
}

func TestAFullDiskCostsNoToken(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.full.Store(true)
		in.startWith(ordinary)
		tok := in.get("p", token.Query{})
		synctest.Wait()
		wantIn(t, "the state of the cache", in.state().Cache, "no space")
		in.full.Store(false)
		time.Sleep(time.Minute)
		same(t, "the cache", in.state().Cache, "ok")
		in.idp().set(func(i *issuer) { i.err = down })
		in.restart()
		same(t, "after the restart", in.get("p", token.Query{}), tok)
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
			same(t, "the tokens", in.get("a", token.Query{})+in.get("b", token.Query{}), a+b)
			wantIn(t, "the log", in.logged(), "notice=")
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
		same(t, "the cache", in.state().Cache, "ok")
		if f, err := d.Figures(t.Context()); err != nil || f.CacheWrites != 2 {
			t.Errorf("%d writes, %v", f.CacheWrites, err)
		}
	})
}

// profiles.d cannot be read: nothing is forgotten.
func TestProfilesThatCannotBeListed(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.startWith(ordinary)
		tok := in.get("p", token.Query{})
		dir := in.dirs.ProfilesDir()
		must(t, errors.Join(os.Rename(dir, dir+".away"), os.WriteFile(dir, nil, 0o600)))
		wantErr(t, "reload", in.daemon.Reload(t.Context()), token.ErrInvalid)
		same(t, "got", in.get("p", token.Query{}), tok)
	})
}

func TestAPanicInAProviderIsThatProfilesError(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.issuers["broken"] = &issuer{panics: true}
		in.profile("b", "provider = \"test\"\nissuer = \"broken\"\n")
		in.startWith(ordinary)
		in.refused("b", token.Query{}, token.ErrInternal)
		in.get("p", token.Query{})
	})
}

// A get that comes while the last flights end.
func TestGetWhileStopping(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.idp().thinks, in.idp().stubborn = 10*time.Second, true
		in.startWith(ordinary)
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
				same(t, "released with", in.refused("p"+strings.Repeat("x", i), token.Query{}, token.ErrUnavailable).Message, "tokend is stopping")
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
		in.wantNoStorm(2*many, 10, time.Second)
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
		in.startWith(ordinary + "renew = \"used\"\n")
		asked := func() (n int) {
			for i := range many {
				once, _ := in.issuers[fmt.Sprint("slow", i)].counts()
				n += min(once, 1)
			}
			return n
		}
		within(t, "requests at once", asked(), 1, 64)
		in.getAtOnce("p")
		time.Sleep(10 * time.Minute)
		same(t, "had their turn", asked(), many)
	})
}

func TestAScopeThatIsRefusedIsNotAskedForAgain(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.startWith(ordinary)
		in.get("p", token.Query{})
		in.idp().set(func(i *issuer) {
			i.err = &token.Error{Code: token.ErrRejected, OAuth: "invalid_scope", Message: "invalid_scope"}
		})
		typo := token.Query{Target: token.Target{Scope: "raed"}}
		in.refused("p", typo, token.ErrRejected)
		asked, _ := in.idp().counts()
		in.refused("p", typo, token.ErrRejected)
		time.Sleep(30 * time.Minute)
		in.wantAsked(asked)
		same(t, "places taken", len(in.status("p").Tokens), 1)
	})
}

func TestProfileWithoutACredential(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.write("profiles.d/p.toml", ordinary)
		in.start()
		err := in.refused("p", token.Query{}, token.ErrKeystore)
		same(t, "the error", err.Message, `no client_secret is stored for profile "p"`)
	})
}

// The loop reports to a service manager, as often as that wants.
func TestTheLoopReportsThatItIsAlive(t *testing.T) {
	for pulse, least := range map[time.Duration]int64{0: 10, time.Second: 300} {
		synctest.Test(t, func(t *testing.T) {
			in := newInstallation(t)
			in.pulse = pulse
			in.start()
			in.settle(5*time.Minute + time.Millisecond)
			within(t, fmt.Sprint("turns in 5 minutes with a pulse of ", pulse), in.turns.Load(), least, least+5)
			in.stop()
		})
	}
}
