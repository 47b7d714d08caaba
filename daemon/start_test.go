package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tokend/providers/token"
)

// holdUp adds profiles that a start cannot open, more than it opens at a time,
// until release is called.
func (in *installation) holdUp() (release func()) {
	opens := make(chan struct{})
	in.issuers["held"] = &issuer{life: time.Hour, opens: opens, now: in.now}
	for i := range 2 * runtime.GOMAXPROCS(0) {
		in.profile(fmt.Sprint("held-", i), "provider = \"test\"\nissuer = \"held\"\n")
	}
	return sync.OnceFunc(func() { close(opens) })
}

// starting has a test meet a daemon in the midst of its start, after it ran and
// obtained a token of each profile before.
func starting(t *testing.T, prepare func(in *installation), f func(t *testing.T, in *installation, release func())) {
	bubble(t, func(t *testing.T, in *installation) {
		release := in.holdUp()
		opens := in.issuers["held"].opens
		in.issuers["held"].opens = nil
		in.profile("p", ordinary+"hosts = [\"https://p.example\"]\nallow_users = [\""+strconv.Itoa(alice)+"\"]\n")
		in.start()
		time.Sleep(time.Minute)
		in.stop()
		in.issuers["held"].opens = opens
		if prepare != nil {
			prepare(in)
		}
		defer release()
		in.start()
		f(t, in, release)
	})
}

func TestAProfileIsServedBeforeTheOthersAreOpen(t *testing.T) {
	starting(t, nil, func(t *testing.T, in *installation, release func()) {
		_, before := in.idp().counts()
		for _, q := range []token.Query{{}, {URL: "https://p.example/x"}} {
			if got := in.get("p", q); got != "idp#1 " {
				t.Errorf("got %q, want the cached token", got)
			}
		}
		if g, err := in.daemon.Get(as(t, alice), "p", token.Query{}); err != nil || g.Secret.Reveal() != "idp#1 " {
			t.Errorf("alice: %v", err)
		}
		if st := in.status("p"); len(st.Tokens) != 1 || st.Tokens[0].State != "fresh" {
			t.Errorf("%+v", st)
		}
		if _, after := in.idp().counts(); after != before {
			t.Errorf("%d tokens obtained", after-before)
		}

		// What is about all waits for all.
		waits := map[string]func() error{
			"get by URL": func() error {
				_, err := in.daemon.Get(t.Context(), "", token.Query{URL: "https://p.example/"})
				return err
			},
			"status":     func() error { st, err := in.daemon.Status(t.Context()); return wantProfiles(len(st.Profiles), in, err) },
			"figures":    func() error { f, err := in.daemon.Figures(t.Context()); return wantProfiles(len(f.Profiles), in, err) },
			"doctor":     func() error { _, err := in.daemon.Doctor(t.Context()); return err },
			"watch":      func() error { _, err := in.daemon.Watch(t.Context(), []string{"held-1"}); return err },
			"invalidate": func() error { return in.daemon.Invalidate(t.Context(), "", token.NewSecret("x")) },
			"rotate": func() error {
				_, err := in.daemon.Rotate(t.Context(), token.CreateProfile{Name: "held-0", Secrets: map[string]token.Secret{"client_secret": token.NewSecret("new")}})
				return err
			},
			"add": func() error {
				_, err := in.daemon.Add(t.Context(), token.CreateProfile{Name: "q", Provider: "test", Settings: map[string]any{"issuer": "idp"},
					Secrets: map[string]token.Secret{"client_secret": token.NewSecret("new")}})
				return err
			},
			"reload": func() error { return in.daemon.Reload(t.Context()) },
			"remove": func() error { return in.daemon.Remove(t.Context(), "held-2") },
		}
		var all sync.WaitGroup
		ended := make(chan string, len(waits))
		for name, f := range waits {
			all.Go(func() {
				if err := f(); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				ended <- name
			})
		}
		synctest.Wait()
		for len(ended) > 0 {
			t.Errorf("%s did not wait", <-ended)
		}
		hasty, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := in.daemon.Status(hasty); !errors.Is(err, token.ErrUnavailable) || !strings.Contains(err.Error(), "still reading its profiles") {
			t.Errorf("the one who gave up: %v", err)
		}
		release()
		all.Wait()
		if err := in.daemon.Reload(t.Context()); err != nil {
			t.Error(err)
		}
		if got := in.get("q", token.Query{}); got == "" {
			t.Error("the profile that was added is gone")
		}
		in.refused("held-2", token.Query{}, token.ErrNotFound)
	})
}

func wantProfiles(n int, in *installation, err error) error {
	files, globErr := filepath.Glob(filepath.Join(in.dirs.ProfilesDir(), "*"))
	if want := len(files); err == nil && n < want-1 { // one may be removed at the same time
		err = fmt.Errorf("%d profiles of %d", n, want)
	}
	return errors.Join(err, globErr)
}

// Policy holds from the first moment on, and in the same words.
func TestWhoMayNotUseAProfileIsRefusedAtAStartToo(t *testing.T) {
	starting(t, nil, func(t *testing.T, in *installation, release func()) {
		refusals := func() (texts []string) {
			for _, name := range []string{"p", "missing"} {
				_, err := in.daemon.Get(as(t, bob), name, token.Query{})
				texts = append(texts, strings.ReplaceAll(fmt.Sprint(err), strconv.Quote(name), "NAME"))
			}
			return texts
		}
		early := refusals()
		release()
		synctest.Wait()
		for _, text := range append(refusals(), early...) {
			if want := "no profile NAME"; text != want {
				t.Errorf("%q, want %q", text, want)
			}
		}
	})
}

func TestAProfileIsOpenedOnce(t *testing.T) {
	starting(t, nil, func(t *testing.T, in *installation, release func()) {
		var callers sync.WaitGroup
		got := make(chan string, 200)
		for i := range 200 {
			callers.Go(func() { got <- in.get(fmt.Sprint("held-", i%4), token.Query{}) })
		}
		release()
		callers.Wait()
		close(got)
		for tok := range got {
			if !strings.HasPrefix(tok, "held#") {
				t.Errorf("a caller got %q", tok)
			}
		}
		synctest.Wait()
		held := in.issuers["held"]
		profiles := 2 * runtime.GOMAXPROCS(0)
		if _, minted := held.counts(); minted != profiles {
			t.Errorf("%d tokens obtained, want the %d of the first start", minted, profiles)
		}
		held.set(func(i *issuer) {
			if i.opened != 2*profiles {
				t.Errorf("profiles were opened %d times in two starts, want %d", i.opened, 2*profiles)
			}
		})
	})
}

// A stop in the midst of a start releases who waits, and the tokens of those
// that were not open yet stay in the cache.
func TestAStopInTheMidstOfAStart(t *testing.T) {
	starting(t, nil, func(t *testing.T, in *installation, release func()) {
		in.get("p", token.Query{Fresh: true})
		d, errs := in.daemon, make(chan error, 3)
		for _, f := range []func() error{
			func() error { _, err := d.Status(t.Context()); return err },
			func() error { _, err := d.Get(t.Context(), "", token.Query{URL: "https://p.example"}); return err },
			func() error { return d.Reload(t.Context()) },
		} {
			go func() { errs <- f() }()
		}
		synctest.Wait()
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			in.stop()
		}()
		for range cap(errs) {
			if err := <-errs; !errors.Is(err, token.ErrUnavailable) || !strings.Contains(err.Error(), "tokend is stopping") {
				t.Errorf("who waited: %v", err)
			}
		}
		release()
		<-stopped

		for _, i := range in.issuers {
			i.set(func(i *issuer) { i.err = down })
		}
		in.start()
		if got := in.get("p", token.Query{}); got != "idp#2 " {
			t.Errorf("got %q, want the token that was obtained during the start", got)
		}
		for i := range 2 * runtime.GOMAXPROCS(0) {
			in.get(fmt.Sprint("held-", i), token.Query{})
		}
	})
}

// A bad file is told of in the words that it is told of later.
func TestABadFileAtAStart(t *testing.T) {
	starting(t, func(in *installation) { in.write("profiles.d/p.toml", ordinary+"skope = \"x\"\n") },
		func(t *testing.T, in *installation, release func()) {
			early := in.refused("p", token.Query{}, token.ErrInvalid)
			if !strings.Contains(early.Message, `profile "p" is not in force: `) || !strings.Contains(early.Message, "p.toml:3:") {
				t.Errorf("%v", early)
			}
			release()
			synctest.Wait()
			if late := in.refused("p", token.Query{}, token.ErrInvalid); late.Message != early.Message {
				t.Errorf("%v at the start, %v later", early, late)
			}
			if st, err := in.daemon.Status(t.Context()); err != nil || len(st.ConfigErrors) != 1 {
				t.Errorf("%q, %v", st.ConfigErrors, err)
			}
			if !strings.Contains(in.logged(), `msg="a profile cannot be read" error=`) {
				t.Error("the log does not tell of it")
			}
		})
}

// Without a token in the cache, or with settings that have changed since, one is
// obtained at once, for the caller alone.
func TestATokenIsObtainedInTheMidstOfAStart(t *testing.T) {
	for what, prepare := range map[string]func(in *installation){
		"none is cached":   func(in *installation) { in.profile("p", ordinary) }, // a new credential
		"other settings":   func(in *installation) { in.write("profiles.d/p.toml", ordinary+"scope = \"other\"\n") },
		"it has expired":   func(in *installation) { time.Sleep(2 * time.Hour) },
		"the cache is new": func(in *installation) { os.Remove(filepath.Join(in.dirs.State, "cache.db")) },
	} {
		t.Run(what, func(t *testing.T) {
			starting(t, prepare, func(t *testing.T, in *installation, release func()) {
				asked, _ := in.issuers["held"].counts()
				if got := in.get("p", token.Query{}); got != "idp#2 " {
					t.Errorf("got %q, want a new token", got)
				}
				time.Sleep(time.Hour)
				if again, _ := in.issuers["held"].counts(); again != asked {
					t.Errorf("%d tokens of others were obtained before the cache was read", again-asked)
				}
				if _, minted := in.idp().counts(); minted != 2 {
					t.Errorf("%d tokens obtained, want 2: renewals wait", minted)
				}
				release()
				synctest.Wait()
				if again, _ := in.issuers["held"].counts(); again == asked {
					t.Error("what has expired meanwhile is not obtained after the start")
				}
				in.stop()
				for _, i := range in.issuers {
					i.set(func(i *issuer) { i.err = down })
				}
				in.start()
				in.get("p", token.Query{})
			})
		})
	}
}

func TestAStartWhileTheKeystoreIsLocked(t *testing.T) {
	starting(t, func(in *installation) { in.lock(true) }, func(t *testing.T, in *installation, release func()) {
		in.refused("p", token.Query{}, token.ErrLocked)
		if err := in.daemon.Unlock(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := in.get("p", token.Query{}); got != "idp#1 " {
			t.Errorf("unlocked: got %q, want the cached token", got)
		}
		in.lock(true)
		release()
		synctest.Wait()
		in.refused("held-0", token.Query{}, token.ErrLocked)
		if got := in.get("p", token.Query{}); got != "idp#1 " {
			t.Errorf("locked again: got %q, want the cached token", got)
		}
		if err := in.daemon.Unlock(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i := range 2 * runtime.GOMAXPROCS(0) {
			in.get(fmt.Sprint("held-", i), token.Query{})
		}
	})
}

// What became of a token since it was taken from the cache early is not undone
// by reading all of the cache.
func TestAnInvalidatedTokenDoesNotComeBack(t *testing.T) {
	for _, early := range []bool{true, false} {
		starting(t, nil, func(t *testing.T, in *installation, release func()) {
			if early {
				in.get("p", token.Query{})
			}
			if err := in.daemon.Invalidate(t.Context(), "p", token.NewSecret("idp#1 ")); err != nil {
				t.Fatal(err)
			}
			release()
			synctest.Wait()
			if got := in.get("p", token.Query{}); got != "idp#2 " {
				t.Errorf("got %q, want a new token", got)
			}
			if !strings.Contains(in.logged(), "token cache read") {
				t.Error("the cache was not read")
			}
		})
	}
}

// Signing and judging take one profile as well.
func TestSigningInTheMidstOfAStart(t *testing.T) {
	starting(t, func(in *installation) {
		in.write("profiles.d/s.toml", "provider = \"sign\"\n")
		if _, err := in.credentials().Put(in.t.Context(), "s", map[string]token.Secret{"key": token.NewSecret("key")}, token.Credential{}); err != nil {
			in.t.Fatal(err)
		}
		in.write("profiles.d/v.toml", "provider = \"verify\"\n")
	}, func(t *testing.T, in *installation, release func()) {
		if _, err := in.daemon.Sign(t.Context(), "s", token.Request{URL: "https://signed.example"}); err != nil {
			t.Error(err)
		}
		if v, err := in.daemon.Verify(t.Context(), "v", token.NewSecret("good"), false); err != nil || !v.Valid {
			t.Errorf("%+v, %v", v, err)
		}
	})
}

// Where the sinks are is known before anything is served: tokend confines itself
// to those directories.
func TestSinksAreKnownBeforeAnythingIsServed(t *testing.T) {
	starting(t, func(in *installation) {
		in.profile("a", ordinary+"[[sink]]\npath = \"/run/a/token\"\n")
		in.profile("b", "provider = \"test\"\nissuer = \"idp\"\n\"s\\u0069nk\" = [{path = \"/run/b/token\"}]\n")
	}, func(t *testing.T, in *installation, release func()) {
		if got := in.daemon.SinkDirs(); !slices.Equal(got, []string{"/run/a", "/run/b"}) {
			t.Errorf("%q", got)
		}
	})
}

// A daemon that is only looked at opens all the same.
func TestOpenAllWithoutRun(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.profile("p", ordinary)
		in.profile("q", ordinary+"skope = 1\n")
		d, file := in.make()
		defer file.Close()
		d.OpenAll(t.Context())
		st, err := d.Status(t.Context())
		if err != nil || len(st.Profiles) != 1 || len(st.ConfigErrors) != 1 {
			t.Errorf("%+v, %v", st, err)
		}
	})
}
