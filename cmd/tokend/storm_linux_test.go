package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"tokend/daemon"
	"tokend/daemon/profile"
	"tokend/providers/providertest"
	"tokend/providers/token"
)

// direct has issuers answer within this process, so that a test can have a time of
// its own.
func direct(issuers http.Handler) promhttp.RoundTripperFunc {
	return func(r *http.Request) (*http.Response, error) {
		answer := httptest.NewRecorder()
		issuers.ServeHTTP(answer, r)
		return answer.Result(), nil
	}
}

// addMany makes n profiles of the issuer, as tokenctl add leaves them.
func addMany(t *testing.T, dirs profile.Dirs, issuers *providertest.Server, credentials daemon.Credentials, n int) (names []string) {
	t.Helper()
	issuer := issuers.OAuth2()
	files := map[string]string{}
	for i := range n {
		name := fmt.Sprint("p", i)
		id, secret := issuer.NewClient()
		if _, err := credentials.Put(t.Context(), name, secrets("client_secret", secret), token.Credential{}); err != nil {
			t.Fatal(err)
		}
		files["profiles.d/"+name+".toml"] = fmt.Sprintf("provider = \"oauth2\"\ntoken_url = %q\nclient_id = %q\n", issuer.TokenURL(), id)
		names = append(names, name)
	}
	check(t, os.Mkdir(filepath.Join(dirs.Config, "profiles.d"), 0o700))
	for file, text := range files {
		check(t, os.WriteFile(filepath.Join(dirs.Config, file), []byte(text), 0o600))
	}
	return names
}

// Tokens that end at the same moment are renewed before that, with no more
// requests at a time than docs/architecture.md says and fewer writes of the cache
// than tokens, and everybody who asks meanwhile gets a good one. The issuer,
// providers, credentials and the cache are real, the time is not.
func TestStormAtAnIssuer(t *testing.T) {
	t.Parallel()
	const most = 16
	for name, c := range map[string]struct {
		limit    *providertest.Limit
		together int // requests at a time that it takes, at least
		refused  bool
	}{
		"one that takes its time":      {&providertest.Limit{Thinks: 250 * time.Millisecond}, most, false},
		"one that is soon overwhelmed": {&providertest.Limit{Thinks: 50 * time.Millisecond, PerSecond: 80, RetryAfter: time.Second}, 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			issuers, err := providertest.Start(providertest.Options{Lifetime: stormLifetime})
			check(t, err)
			defer issuers.Close()
			synctest.Test(t, func(t *testing.T) {
				const n = 500
				issuer, writes := runStorm(t, n, issuers, c.limit)
				if minted := issuer.Minted(); minted != 2*n {
					t.Errorf("%d tokens were issued instead of %d", minted, 2*n)
				}
				if refused := c.limit.Refused(); refused > 0 != c.refused || refused > n/10 {
					t.Errorf("%d requests were refused", refused)
				}
				if together := c.limit.Together(); together < c.together || together > most {
					t.Errorf("%d requests at a time", together)
				}
				if writes == 0 || writes > n/4 {
					t.Errorf("the cache was written %d times", writes)
				}
			})
		})
	}
}

const stormLifetime = 20 * time.Second

// runStorm has n tokens end at the same moment, at an issuer with a limit, and
// returns how often the cache was written since they came.
func runStorm(t *testing.T, n int, issuers *providertest.Server, limit *providertest.Limit) (issuer *providertest.OAuth2, writes uint64) {
	dirs := profile.Dirs{Config: t.TempDir(), State: t.TempDir()}
	w, cache := depsHere(t, dirs, profile.Config{})
	defer cache.Close()
	w.Configure = func(profile.Config) (profile.Kinds, error) {
		return kinds{&http.Client{Transport: direct(issuers.Handler())}, w.metrics}, nil
	}
	names := addMany(t, dirs, issuers, w.Credentials, n)
	d, err := daemon.New(dirs, w.Deps)
	check(t, err)
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = d.Run(ctx) })
	get := func(name string) {
		if g, err := d.Get(ctx, name, token.Query{}); err != nil || !g.Expiry.After(time.Now()) {
			t.Errorf("get %s: %v, a token until %v", name, err, g.Expiry)
		}
	}
	end := time.Now().Add(stormLifetime)
	var callers sync.WaitGroup
	for _, name := range names {
		callers.Go(func() { get(name) })
	}
	callers.Wait()

	before, _ := d.Figures(ctx)
	issuer = issuers.OAuth2()
	issuer.SetLifetime(time.Hour)
	issuer.SetLimit(limit)
	for time.Now().Before(end) && issuer.Minted() < 2*n {
		get(names[rand.IntN(n)])
		time.Sleep(5 * time.Millisecond)
	}
	t.Logf("%v before the end: %d renewed, %d refused, %d at a time", time.Until(end), issuer.Minted()-n, limit.Refused(), limit.Together())
	after, _ := d.Figures(ctx)
	stop()
	running.Wait()
	kept, err := cache.Load(t.Context(), end)
	if err != nil || len(kept) != n {
		t.Errorf("in the cache are %d tokens that outlive the storm: %v", len(kept), err)
	}
	return issuer, after.CacheWrites - before.CacheWrites
}
