package providers

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tokend/providers/providertest"
	"tokend/providers/token"
)

// inTime runs f with a time of its own and a dataspace that answers in it.
func inTime(t *testing.T, f func(t *testing.T, d *providertest.Dataspace, v *ioxio)) {
	s := startIssuers(t)
	s.Dataspace().PublicKey("RS256") // made outside
	synctest.Test(t, func(t *testing.T) {
		f(t, s.Dataspace(), openIOXIO(t, s, &http.Client{Transport: inProcess{s.Handler()}}, nil))
	})
}

func newToken(t *testing.T, d *providertest.Dataspace) string {
	t.Helper()
	return must[string](t)(d.NewToken(testDSI))
}

// asks counts the requests that f makes, of which a fetch of the keys takes two.
func asks(t *testing.T, d *providertest.Dataspace, want int, f func()) {
	t.Helper()
	before := d.Requests()
	f()
	synctest.Wait()
	if n := d.Requests() - before; n != want {
		t.Errorf("%d requests, want %d", n, want)
	}
}

func TestWarmKeysMakeNoRequest(t *testing.T) {
	inTime(t, func(t *testing.T, d *providertest.Dataspace, v *ioxio) {
		text := newToken(t, d)
		asks(t, d, 2, func() { gives(t, v, text, "") })
		time.Sleep(keysAge - time.Second)
		asks(t, d, 0, func() {
			for range 1000 {
				gives(t, v, text, "")
			}
		})
	})
}

func TestOldKeysAreFetchedAnewInTheBackground(t *testing.T) {
	inTime(t, func(t *testing.T, d *providertest.Dataspace, v *ioxio) {
		gives(t, v, newToken(t, d), "")
		time.Sleep(keysAge)
		release := make(chan struct{})
		d.Fail(func(w http.ResponseWriter, r *http.Request) { <-release; providertest.Status(503, "")(w, r) })
		// The issuer hangs, and nobody waits for it.
		asks(t, d, 1, func() {
			for range 10 {
				gives(t, v, newToken(t, d), "")
			}
		})
		close(release)
		d.Heal()
		// A withdrawn key is in force until the next look.
		d.AddKey("RS256")
		d.DropKey()
		time.Sleep(fetchPause)
		asks(t, d, 2, func() { gives(t, v, newToken(t, d), "") })
	})
}

// invented is a token with a key ID that there is nowhere.
func invented(t *testing.T, d *providertest.Dataspace) string {
	t.Helper()
	return must[string](t)(d.Sign("RS256", map[string]any{"kid": fmt.Sprint("invented ", time.Now().UnixNano())}, map[string]any{"aud": testDSI}))
}

func TestUnknownKeysAreLookedForThreeTimesAndThenOnceAMinute(t *testing.T) {
	inTime(t, func(t *testing.T, d *providertest.Dataspace, v *ioxio) {
		good := newToken(t, d)
		gives(t, v, good, "")
		storm := func(requests int) {
			t.Helper()
			asks(t, d, requests, func() {
				for range 100 {
					gives(t, v, invented(t, d), reasonUnknownKey)
				}
			})
		}
		storm(3 * 2)
		storm(0)
		time.Sleep(fetchPause)
		storm(2)
		asks(t, d, 10*2, func() { // ten minutes of it
			for range 600 {
				time.Sleep(time.Second)
				gives(t, v, invented(t, d), reasonUnknownKey)
				gives(t, v, good, "")
			}
		})
		time.Sleep(3 * fetchPause)
		storm(3 * 2)
	})
}

func TestAnInventedKeyDoesNotHideANewOne(t *testing.T) {
	inTime(t, func(t *testing.T, d *providertest.Dataspace, v *ioxio) {
		gives(t, v, newToken(t, d), "")
		gives(t, v, invented(t, d), reasonUnknownKey)
		d.AddKey("RS256")
		gives(t, v, newToken(t, d), "")
	})
}

func TestManyWhoAskAtOnceMakeOneFetch(t *testing.T) {
	inTime(t, func(t *testing.T, d *providertest.Dataspace, v *ioxio) {
		text := newToken(t, d)
		asks(t, d, 2, func() {
			var all sync.WaitGroup
			for range 100 {
				all.Go(func() { gives(t, v, text, "") })
			}
			all.Wait()
		})
	})
}

func TestAFetchThatHasJustLandedIsNotMadeAgain(t *testing.T) {
	inTime(t, func(t *testing.T, d *providertest.Dataspace, v *ioxio) {
		before := v.keys.known.snapshot() // and all three go by that
		now := time.Now()
		asks(t, d, 2, func() {
			for range 3 {
				if set, err := v.keys.look(t.Context(), before, now); err != nil || !set.usable(now) {
					t.Errorf("%+v, %v", set, err)
				}
			}
		})
	})
}

func TestWhoeverGivesUpLeavesTheFetchToOthers(t *testing.T) {
	inTime(t, func(t *testing.T, d *providertest.Dataspace, v *ioxio) {
		text := newToken(t, d)
		release := make(chan struct{})
		metadata := fmt.Sprintf(`{"jwks_url":"%s/.well-known/jwks.json"}`, d.Issuer())
		d.Fail(func(w http.ResponseWriter, r *http.Request) {
			<-release
			providertest.Answer(200, "application/json", metadata)(w, r)
		})
		impatient, leave := context.WithCancel(t.Context())
		left := make(chan error)
		go func() {
			_, err := v.Verify(impatient, secret(text), false)
			left <- err
		}()
		synctest.Wait()
		var others sync.WaitGroup
		others.Go(func() { gives(t, v, text, "") })
		synctest.Wait()
		leave()
		if err := <-left; !errors.Is(err, token.ErrUnavailable) || !errors.Is(err, context.Canceled) {
			t.Errorf("who left got %v", err)
		}
		d.Heal()
		close(release)
		others.Wait()
	})
}

// Case 58, keys that change.
func TestKeysThatChangeAreFollowed(t *testing.T) {
	inTime(t, func(t *testing.T, d *providertest.Dataspace, v *ioxio) {
		old := newToken(t, d)
		gives(t, v, old, "")
		d.AddKey("RS256")
		young := newToken(t, d)
		gives(t, v, young, "")
		gives(t, v, old, "")
		d.DropKey()
		time.Sleep(fetchPause)
		unknown := must[string](t)(d.Sign("RS256", map[string]any{"kid": "x"}, nil))
		gives(t, v, unknown, reasonUnknownKey)
		gives(t, v, old, reasonUnknownKey)
		gives(t, v, newToken(t, d), "")
	})
}

func TestKnownKeysStayInForceWhileTheDataspaceIsDown(t *testing.T) {
	inTime(t, func(t *testing.T, d *providertest.Dataspace, v *ioxio) {
		gives(t, v, newToken(t, d), "")
		d.Fail(providertest.Status(503, ""))
		for range 23 {
			time.Sleep(time.Hour)
			gives(t, v, newToken(t, d), "")
		}
		synctest.Wait()
		// A key that is not known may be new: no verdict, while nobody can be asked.
		_, err := v.Verify(t.Context(), secret(must[string](t)(d.Sign("RS256", map[string]any{"kid": "x"}, nil))), false)
		if !errors.Is(err, token.ErrUnavailable) || !strings.HasSuffix(err.Error(), "dataspace-configuration.json answered 503 Service Unavailable") {
			t.Errorf("an unknown key: %v", err)
		}
		time.Sleep(time.Hour)
		if _, err := v.Verify(t.Context(), secret(newToken(t, d)), false); !errors.Is(err, token.ErrUnavailable) {
			t.Errorf("after a day: %v", err)
		}
		d.Heal()
		time.Sleep(emptyPause)
		gives(t, v, newToken(t, d), "")
	})
}

func TestADataspaceThatIsDownFromTheStartIsAskedEveryFiveSeconds(t *testing.T) {
	inTime(t, func(t *testing.T, d *providertest.Dataspace, v *ioxio) {
		text := newToken(t, d)
		// Or as it asks itself (Retry-After), within an hour.
		for retryAfter, want := range map[string]int{"": 12, "30": 2} {
			d.Fail(providertest.Status(503, retryAfter))
			asks(t, d, want, func() {
				for range 60 {
					_, err := v.Verify(t.Context(), secret(text), false)
					var e *token.Error
					if !errors.As(err, &e) || !errors.Is(err, token.ErrUnavailable) || !e.RetryAt.After(time.Now().Add(-time.Second)) {
						t.Errorf("%#v", err)
					}
					time.Sleep(time.Second)
				}
			})
		}
		gives(t, v, "x", reasonMalformed) // needs no keys
		d.Heal()
		gives(t, v, text, "")
	})
}

// A reload opens the profile anew; what is known goes along.
func TestKeysAreInherited(t *testing.T) {
	inTime(t, func(t *testing.T, d *providertest.Dataspace, v *ioxio) {
		text := newToken(t, d)
		gives(t, v, text, "")
		d.Fail(providertest.Status(503, ""))
		heir := reopened(v)
		asks(t, d, 1, func() {
			if _, err := heir.Verify(t.Context(), secret(text), false); !errors.Is(err, token.ErrUnavailable) {
				t.Errorf("without a legacy: %v", err)
			}
		})
		heir = reopened(v)
		heir.Inherit(v)
		asks(t, d, 0, func() { gives(t, heir, text, "") })
	})
}

// reopened is v opened anew.
func reopened(v *ioxio) *ioxio {
	keys := *v.keys
	keys.known = &knownKeys{}
	young := *v
	young.keys = &keys
	return &young
}

func TestAFetchUnderWayIsInheritedToo(t *testing.T) {
	inTime(t, func(t *testing.T, d *providertest.Dataspace, v *ioxio) {
		text := newToken(t, d)
		release := make(chan struct{})
		metadata := fmt.Sprintf(`{"jwks_url":"%s/.well-known/jwks.json"}`, d.Issuer())
		d.Fail(func(w http.ResponseWriter, r *http.Request) {
			<-release
			providertest.Answer(200, "application/json", metadata)(w, r)
		})
		heir := reopened(v)
		asks(t, d, 2, func() {
			var both sync.WaitGroup
			both.Go(func() { gives(t, v, text, "") })
			synctest.Wait()
			heir.Inherit(v)
			both.Go(func() { gives(t, heir, text, "") })
			synctest.Wait()
			d.Heal()
			close(release)
			both.Wait()
		})
	})
}

func TestAnotherIssuersKeysAreNotInherited(t *testing.T) {
	open := func(kind string, settings map[string]any) token.Verifier {
		return openKind(t, kind, http.DefaultClient, settings)
	}
	generic := func(issuer string, algorithms ...string) *verifier {
		return open("jwt-verify", map[string]any{"issuer": issuer, "audiences": []string{"a"}, "algorithms": algorithms}).(*verifier)
	}
	for name, tt := range map[string]struct {
		old  any
		want bool
	}{
		"the same":          {generic("https://a.example"), true},
		"another issuer":    {generic("https://b.example"), false},
		"another algorithm": {generic("https://a.example", "ES256"), false},
		"another kind":      {open("ioxio", map[string]any{"dataspace": "https://a.example", "dsi": []string{testDSI}}), false},
		"no verifier":       {"x", false},
		"nothing":           {nil, false},
	} {
		young := generic("https://a.example")
		own := young.keys.known
		young.Inherit(tt.old)
		if got := young.keys.known != own; got != tt.want {
			t.Errorf("%s: inherited is %v", name, got)
		}
	}
}

// A dataspace that is slow holds up nobody for long, and a refresh that nobody
// waits for is made once, however many tokens are judged meanwhile.
func TestASlowDataspaceHoldsNobodyUp(t *testing.T) {
	inTime(t, func(t *testing.T, d *providertest.Dataspace, v *ioxio) {
		text := newToken(t, d)
		unknown := must[string](t)(d.Sign("RS256", map[string]any{"kid": "x"}, nil))
		gives(t, v, text, "")
		time.Sleep(keysAge)
		release := make(chan struct{})
		d.Fail(providertest.Hang(release))
		asks(t, d, 1, func() {
			for range 1000 {
				gives(t, v, text, "")
			}
			begin := time.Now()
			if _, err := v.Verify(t.Context(), secret(unknown), false); !errors.Is(err, token.ErrUnavailable) || time.Since(begin) != patience {
				t.Errorf("an unknown key: %v after %v", err, time.Since(begin))
			}
		})
		close(release)
		synctest.Wait()
	})
}

// Who does not name a key is not told of a forgery before the issuer was asked
// for a new key.
func TestANewKeyIsFoundForTokensWithoutAKeyID(t *testing.T) {
	old := must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 2048))
	s := startIssuers(t)
	o := s.OpenID()
	o.PublicKey("RS256") // made outside
	synctest.Test(t, func(t *testing.T) {
		v := openOpenID(t, o, &http.Client{Transport: inProcess{s.Handler()}}, nil)
		now := time.Now().Round(0)
		v.keys.known.set = keySet{keys: []verifyKey{{"old", old.Public(), []string{"RS256"}}}, fetched: now, tried: now}
		text := must[string](t)(o.Sign("RS256", map[string]any{"kid": nil}, map[string]any{"aud": "https://api.example"}))
		gives(t, v, text, "")
		forged := text[:len(text)-8] + "AAAAAAAA"
		before := o.Requests()
		for range 100 {
			gives(t, v, forged, reasonSignature)
			gives(t, v, text, "")
		}
		if n := o.Requests() - before; n != (fetchBurst-1)*2 {
			t.Errorf("%d requests for 100 forgeries", n)
		}
		o.Fail(providertest.Status(503, ""))
		time.Sleep(fetchPause)
		if _, err := v.Verify(t.Context(), secret(forged), false); !errors.Is(err, token.ErrUnavailable) {
			t.Errorf("while the issuer is down: %v", err)
		}
	})
}

func TestKeysAndTheTime(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		at                time.Duration
		usable, due, look bool
	}{
		{0, true, false, true},
		{keysAge, true, true, true},
		{keysEnd - 1, true, true, true},
		{keysEnd, false, true, true},
		{-time.Hour, true, true, true}, // the clock was set back
	} {
		s := keySet{fetched: now, tried: now}
		at := now.Add(tt.at)
		if s.usable(at) != tt.usable || s.due(at) != tt.due || s.takeLook(at) != tt.look {
			t.Errorf("%v later: %+v", tt.at, s)
		}
	}
	s := keySet{fetched: now, tried: now, refilled: now.Add(fetchBurst * fetchPause)}
	if s.takeLook(now) || !s.takeLook(now.Add(fetchPause)) || !s.takeLook(now.Add(-time.Hour)) {
		t.Errorf("looks that were used up: %+v", s)
	}
}

func TestWhenAnIssuerThatFailedIsAskedAgain(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		known bool
		wish  time.Duration // Retry-After
		want  time.Duration
	}{
		"no keys":                 {false, 0, emptyPause},
		"no keys, Retry-After":    {false, 30 * time.Second, 30 * time.Second},
		"keys":                    {true, 0, fetchPause},
		"keys, short Retry-After": {true, time.Second, fetchPause},
		"keys, Retry-After":       {true, 10 * time.Minute, 10 * time.Minute},
		"keys, long Retry-After":  {true, 10 * time.Hour, time.Hour},
	} {
		s := keySet{tried: now}
		if tt.known {
			s.fetched = now
		}
		failure := unavailable("https://a.example", finding{words: "answered 503"}, nil)
		if tt.wish > 0 {
			failure.RetryAt = now.Add(tt.wish)
		}
		s = s.after(nil, failure, now)
		at := now.Add(tt.want)
		if s.mayFetch(at.Add(-1)) || !s.mayFetch(at) || !s.mayFetch(now.Add(-1)) || !s.failure.RetryAt.Equal(at) {
			t.Errorf("%s: %+v", name, s)
		}
		if s = s.after(nil, nil, at); s.failure != nil || !s.mayFetch(at) {
			t.Errorf("%s, and then keys: %+v", name, s)
		}
	}
}

// Case 58, redirects and wrong metadata.
func TestMetadataAndKeySetsThatAreRefused(t *testing.T) {
	const base = "https://issuer.example"
	sound := map[string]string{
		"/.well-known/openid-configuration": `{"issuer":"https://issuer.example","jwks_uri":"https://issuer.example/jwks"}`,
		"/jwks":                             `{"keys":[]}`,
	}
	many := `{"keys":[` + strings.Repeat(`{},`, 10_000) + `{}]}`
	for name, tt := range map[string]struct{ path, body, want string }{
		"another issuer":    {"/.well-known/openid-configuration", `{"issuer":"https://attacker.example","jwks_uri":"https://issuer.example/jwks"}`, `has metadata of another issuer, "https://attacker.example"`},
		"slash at the end":  {"/.well-known/openid-configuration", `{"issuer":"https://issuer.example/","jwks_uri":"https://issuer.example/jwks"}`, `has metadata of another issuer, "https://issuer.example/"`},
		"no issuer":         {"/.well-known/openid-configuration", `{"jwks_uri":"https://issuer.example/jwks"}`, `has metadata of another issuer, ""`},
		"no jwks_uri":       {"/.well-known/openid-configuration", `{"issuer":"https://issuer.example"}`, "has metadata in which jwks_uri is no https URL"},
		"http jwks_uri":     {"/.well-known/openid-configuration", `{"issuer":"https://issuer.example","jwks_uri":"http://issuer.example/jwks"}`, "has metadata in which jwks_uri is no https URL"},
		"file jwks_uri":     {"/.well-known/openid-configuration", `{"issuer":"https://issuer.example","jwks_uri":"file:///etc/passwd"}`, "has metadata in which jwks_uri is no https URL"},
		"member twice":      {"/.well-known/openid-configuration", `{"issuer":"x","issuer":"https://issuer.example"}`, "answered 200 OK with JSON in which a member stands twice"},
		"10 000 keys":       {"/jwks", many, "answered with a set of more than 100 keys"},
		"no keys":           {"/jwks", `{}`, "answered with no key set"},
		"keys null":         {"/jwks", `{"keys":null}`, "answered with no key set"},
		"keys an object":    {"/jwks", `{"keys":{}}`, "answered with no key set"},
		"too long":          {"/jwks", `{"keys":[],"x":"` + strings.Repeat("x", maxAnswer) + `"}`, "answered 200 OK with more than 256 KiB"},
		"no JSON":           {"/jwks", `<html>`, "answered 200 OK with invalid JSON"},
		"redirect":          {"/jwks", "302", "answered with a redirect (302 Found), which is not followed"},
		"metadata redirect": {"/.well-known/openid-configuration", "301", "answered with a redirect (301 Moved Permanently), which is not followed"},
		"neither metadata":  {"/.well-known/openid-configuration", "404", "answered 404 Not Found"},
		"rate limit":        {"/.well-known/openid-configuration", "429", "answered 429 Too Many Requests"},
	} {
		t.Run(name, func(t *testing.T) {
			handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, ok := sound[r.URL.Path]
				if r.URL.Path == tt.path {
					body = tt.body
				}
				var status int
				if _, err := fmt.Sscanf(body, "%d", &status); err == nil || !ok {
					w.Header().Set("Location", base+"/elsewhere")
					w.WriteHeader(max(status, 404*map[bool]int{true: 0, false: 1}[ok]))
					return
				}
				w.Header().Set("Content-Type", "application/json")
				_, _ = io.WriteString(w, body)
			})
			v := openKind(t, "jwt-verify", &http.Client{Transport: inProcess{handler}}, map[string]any{"issuer": base, "audiences": []string{"a"}}).(*verifier)
			_, err := v.Verify(t.Context(), secret(b64(`{"alg":"RS256","kid":"k"}`)+"."+b64(`{}`)+".AA"), false)
			if !errors.Is(err, token.ErrUnavailable) || !strings.HasSuffix(err.Error(), " "+tt.want) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestMetadataURLs(t *testing.T) {
	for issuer, want := range map[string][2]string{
		"https://a.example":         {"https://a.example/.well-known/openid-configuration", "https://a.example/.well-known/oauth-authorization-server"},
		"https://a.example/":        {"https://a.example/.well-known/openid-configuration", "https://a.example/.well-known/oauth-authorization-server"},
		"https://a.example:8443/r":  {"https://a.example:8443/r/.well-known/openid-configuration", "https://a.example:8443/.well-known/oauth-authorization-server/r"},
		"https://a.example/r/%20s/": {"https://a.example/r/%20s/.well-known/openid-configuration", "https://a.example/.well-known/oauth-authorization-server/r/%20s"},
	} {
		if got := metadataURLs(issuer); got[0] != want[0] || got[1] != want[1] {
			t.Errorf("%s: %v", issuer, got)
		}
	}
}

// testJWKs are keys as they are published: by their names here.
func testJWKs(t testing.TB) map[string]map[string]any {
	t.Helper()
	s, err := providertest.Start(providertest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.OpenID().PublicKey("RS256")
	res, err := (&http.Client{Transport: inProcess{s.Handler()}}).Get(s.OpenID().Issuer() + "/jwks")
	if err != nil {
		t.Fatal(err)
	}
	var set struct{ Keys []map[string]any }
	if err := json.NewDecoder(res.Body).Decode(&set); err != nil {
		t.Fatal(err)
	}
	all := map[string]map[string]any{}
	for _, k := range set.Keys {
		all[k["alg"].(string)] = k
	}
	return all
}

// Case 58.
func TestWhichKeysOfASetAreUsed(t *testing.T) {
	jwks := testJWKs(t)
	small := base64.RawURLEncoding.EncodeToString([]byte(strings.Repeat("\xff", 128)))
	wide := base64.RawURLEncoding.EncodeToString([]byte(strings.Repeat("\xff", 2049)))
	for _, tt := range []struct {
		name, of string
		change   map[string]any
		generic  string // the algorithms that it is good for
		ioxio    bool
	}{
		{"as it is", "RS256", nil, "RS256", true},
		{"as it is", "PS256", nil, "PS256", false},
		{"as it is", "ES256", nil, "ES256", false},
		{"as it is", "ES384", nil, "ES384", false},
		{"as it is", "ES512", nil, "ES512", false},
		{"as it is", "EdDSA", nil, "EdDSA", false},
		{"no alg", "RS256", map[string]any{"alg": nil}, "RS256 RS384 RS512 PS256 PS384 PS512", false},
		{"no alg", "ES256", map[string]any{"alg": nil}, "ES256", false},
		{"no use", "RS256", map[string]any{"use": nil}, "RS256", false},
		{"no kid", "RS256", map[string]any{"kid": nil}, "RS256", false},
		{"kid a number", "RS256", map[string]any{"kid": 1}, "", false},
		{"use enc", "RS256", map[string]any{"use": "enc"}, "", false},
		{"use SIG", "RS256", map[string]any{"use": "SIG"}, "", false},
		{"use a list", "RS256", map[string]any{"use": []string{"sig"}}, "", false},
		{"key_ops verify", "RS256", map[string]any{"key_ops": []string{"verify"}}, "RS256", true},
		{"key_ops encrypt", "RS256", map[string]any{"key_ops": []string{"encrypt"}}, "", false},
		{"key_ops empty", "RS256", map[string]any{"key_ops": []string{}}, "", false},
		{"key_ops a text", "RS256", map[string]any{"key_ops": "verify"}, "", false},
		{"alg of another kind", "RS256", map[string]any{"alg": "ES256"}, "", false},
		{"alg HS256", "RS256", map[string]any{"alg": "HS256"}, "", false},
		{"alg for encryption", "RS256", map[string]any{"alg": "RSA-OAEP"}, "", false},
		{"alg none", "RS256", map[string]any{"alg": "none"}, "", false},
		{"alg of another curve", "ES256", map[string]any{"alg": "ES384"}, "", false},
		{"kty oct", "RS256", map[string]any{"kty": "oct", "k": "AAAA"}, "", false},
		{"kty EC", "RS256", map[string]any{"kty": "EC"}, "", false},
		{"kty rsa", "RS256", map[string]any{"kty": "rsa"}, "", false},
		{"a private key", "RS256", map[string]any{"d": "AQAB"}, "", false},
		{"1024 bits", "RS256", map[string]any{"n": small}, "", false},
		{"16392 bits", "RS256", map[string]any{"n": wide}, "", false},
		{"e 1", "RS256", map[string]any{"e": "AQ"}, "", false},
		{"e even", "RS256", map[string]any{"e": "AQAA"}, "", false},
		{"e long", "RS256", map[string]any{"e": "_________w"}, "", false},
		{"n padded", "RS256", map[string]any{"n": jwks["RS256"]["n"].(string) + "="}, "", false},
		{"y of another point", "ES256", map[string]any{"y": jwks["ES256"]["x"]}, "", false},
		{"x short", "ES256", map[string]any{"x": "AA"}, "", false},
		{"crv of another size", "ES256", map[string]any{"crv": "P-384"}, "", false},
		{"secp256k1", "ES256", map[string]any{"crv": "secp256k1"}, "", false},
		{"X25519", "EdDSA", map[string]any{"crv": "X25519"}, "", false},
		{"x short", "EdDSA", map[string]any{"x": "AAAA"}, "", false},
	} {
		t.Run(tt.of+" "+tt.name, func(t *testing.T) {
			text := string(must[[]byte](t)(json.Marshal(jwks[tt.of])))
			set := members{"keys": json.RawMessage("[" + changed(t, text, tt.change) + "]")}
			got := ""
			for _, k := range must[[]verifyKey](t)(parseKeys(set, keyPolicy{algorithms: asymmetric()})) {
				got = strings.Join(k.algorithms, " ")
			}
			strict := must[[]verifyKey](t)(parseKeys(set, keyPolicy{algorithms: []string{"RS256"}, explicit: true}))
			if got != tt.generic || (len(strict) == 1) != tt.ioxio {
				t.Errorf("good for %q, for IOXIO %v", got, len(strict) == 1)
			}
		})
	}
}

// Case 58.
func TestKeysOfOneIDAreLeftOut(t *testing.T) {
	jwks := testJWKs(t)
	one, two := jwks["RS256"], jwks["ES256"]
	two["kid"] = one["kid"]
	encryption := map[string]any{"kid": one["kid"], "kty": "RSA", "use": "enc"}
	for name, others := range map[string][]any{"another key": {two}, "itself": {one}, "no key for signatures": {encryption}} {
		text := must[[]byte](t)(json.Marshal(append(others, one, jwks["EdDSA"], "no key", nil)))
		keys := must[[]verifyKey](t)(parseKeys(members{"keys": text}, keyPolicy{algorithms: asymmetric()}))
		if len(keys) != 1 || keys[0].algorithms[0] != "EdDSA" {
			t.Errorf("with %s: %v", name, keys)
		}
	}
}

func FuzzJWKS(f *testing.F) {
	for _, k := range testJWKs(f) {
		text, err := json.Marshal(map[string]any{"keys": []any{k}})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`{"keys":[{"kty":"RSA","kid":"a"},{"kty":"RSA","kid":"a"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		set, err := parseObject(text)
		if err != nil {
			return
		}
		keys, err := parseKeys(set, keyPolicy{algorithms: asymmetric()})
		if err == nil && len(keys) > maxKeys {
			t.Fatalf("%d keys", len(keys))
		}
		seen := map[string]bool{}
		for _, k := range keys {
			if k.public == nil || len(k.algorithms) == 0 || k.id != "" && seen[k.id] {
				t.Fatalf("%+v", k)
			}
			seen[k.id] = true
			if public, ok := k.public.(*rsa.PublicKey); ok && (public.N.BitLen() < minRSA || public.N.BitLen() > maxRSA) {
				t.Fatalf("an RSA key of %d bits", public.N.BitLen())
			}
			// No key makes trouble, or rubbish a signature. (An Ed25519 key of low
			// order would: whoever publishes that cheats with his own key.)
			for _, a := range k.algorithms {
				err := jws{algorithm: a, signed: "x", signature: make([]byte, signatureSize(k.public))}.verify(k)
				if err == nil && a != "EdDSA" {
					t.Fatalf("zeros are a signature by %s", a)
				}
			}
		}
	})
}
