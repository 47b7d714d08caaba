package providers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tokend/providers/fixturetest"
	"tokend/providers/jose"
	"tokend/providers/providertest"
	"tokend/providers/token"
)

// inTime runs f with a time of its own and a dataspace that answers in it.
func inTime(t *testing.T, f func(t *testing.T, d *providertest.Dataspace, v *ioxio)) {
	s := startIssuers(t)
	s.Dataspace().PublicKey("RS256") // made outside
	synctest.Test(t, func(t *testing.T) {
		f(t, s.Dataspace(), openIOXIO(t, s, fixturetest.InProcess(s.Handler()), nil))
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
		asks(t, d, 2, func() { wantVerdict(t, v, text, "") })
		time.Sleep(keysAge - time.Second)
		asks(t, d, 0, func() {
			for range 1000 {
				wantVerdict(t, v, text, "")
			}
		})
	})
}

func TestOldKeysAreFetchedAgainInTheBackground(t *testing.T) {
	inTime(t, func(t *testing.T, d *providertest.Dataspace, v *ioxio) {
		wantVerdict(t, v, newToken(t, d), "")
		time.Sleep(keysAge)
		release := make(chan struct{})
		d.Fail(func(w http.ResponseWriter, r *http.Request) { <-release; providertest.Status(503, "")(w, r) })
		// The issuer hangs, and no token waits for it.
		asks(t, d, 1, func() {
			for range 10 {
				wantVerdict(t, v, newToken(t, d), "")
			}
		})
		close(release)
		d.Heal()
		// A withdrawn key stays valid until the next fetch.
		d.AddKey("RS256")
		d.DropKey()
		time.Sleep(fetchPause)
		asks(t, d, 2, func() { wantVerdict(t, v, newToken(t, d), "") })
	})
}

// hold delays the dataspace's metadata until the channel is closed.
func hold(d *providertest.Dataspace) chan struct{} {
	release := make(chan struct{})
	metadata := fmt.Sprintf(`{"jwks_url":"%s/.well-known/jwks.json"}`, d.Issuer())
	d.Fail(func(w http.ResponseWriter, r *http.Request) {
		<-release
		providertest.Answer(200, "application/json", metadata)(w, r)
	})
	return release
}

// invented is a token with the ID of no key.
func invented(t *testing.T, d *providertest.Dataspace) string {
	t.Helper()
	return must[string](t)(d.Sign("RS256", map[string]any{"kid": fmt.Sprint("invented ", time.Now().UnixNano())}, map[string]any{"aud": testDSI}))
}

func TestUnknownKeysAreLookedForEveryTenSeconds(t *testing.T) {
	inTime(t, func(t *testing.T, d *providertest.Dataspace, v *ioxio) {
		good := newToken(t, d)
		wantVerdict(t, v, good, "")
		asks(t, d, 6*2, func() { // a minute of it
			for range 60 {
				time.Sleep(time.Second)
				wantVerdict(t, v, invented(t, d), jose.ReasonUnknownKey)
				wantVerdict(t, v, good, "")
			}
		})
		d.AddKey("RS256") // which the invented ones do not hide for longer
		time.Sleep(fetchPause)
		wantVerdict(t, v, newToken(t, d), "")
	})
}

func TestManyWhoAskAtOnceMakeOneFetch(t *testing.T) {
	inTime(t, func(t *testing.T, d *providertest.Dataspace, v *ioxio) {
		text := newToken(t, d)
		asks(t, d, 2, func() {
			var all sync.WaitGroup
			for range 100 {
				all.Go(func() { wantVerdict(t, v, text, "") })
			}
			all.Wait()
		})
	})
}

func TestAFetchOutlivesTheCallerThatStartedIt(t *testing.T) {
	inTime(t, func(t *testing.T, d *providertest.Dataspace, v *ioxio) {
		text := newToken(t, d)
		release := hold(d)
		impatient, leave := context.WithCancel(t.Context())
		left := make(chan error)
		go func() {
			_, err := v.Verify(impatient, token.Presented{Token: secret(text)})
			left <- err
		}()
		synctest.Wait()
		var others sync.WaitGroup
		others.Go(func() { wantVerdict(t, v, text, "") })
		synctest.Wait()
		leave()
		if err := <-left; !errors.Is(err, token.ErrUnavailable) || !errors.Is(err, context.Canceled) {
			t.Errorf("the one that left got %v", err)
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
		wantVerdict(t, v, old, "")
		d.AddKey("RS256")
		time.Sleep(fetchPause)
		young := newToken(t, d)
		wantVerdict(t, v, young, "")
		wantVerdict(t, v, old, "")
		d.DropKey()
		time.Sleep(fetchPause)
		unknown := must[string](t)(d.Sign("RS256", map[string]any{"kid": "x"}, nil))
		wantVerdict(t, v, unknown, jose.ReasonUnknownKey)
		wantVerdict(t, v, old, jose.ReasonUnknownKey)
		wantVerdict(t, v, newToken(t, d), "")
	})
}

func TestKnownKeysStayValidWhileTheDataspaceIsDown(t *testing.T) {
	inTime(t, func(t *testing.T, d *providertest.Dataspace, v *ioxio) {
		wantVerdict(t, v, newToken(t, d), "")
		d.Fail(providertest.Status(503, ""))
		for range 23 {
			time.Sleep(time.Hour)
			wantVerdict(t, v, newToken(t, d), "")
		}
		synctest.Wait()
		// An unknown key may be a new one: no verdict while the dataspace is away.
		_, err := v.Verify(t.Context(), token.Presented{Token: secret(must[string](t)(d.Sign("RS256", map[string]any{"kid": "x"}, nil)))})
		if !errors.Is(err, token.ErrUnavailable) || !strings.HasSuffix(err.Error(), "dataspace-configuration.json answered 503 Service Unavailable") {
			t.Errorf("an unknown key: %v", err)
		}
		time.Sleep(time.Hour)
		if _, err := v.Verify(t.Context(), token.Presented{Token: secret(newToken(t, d))}); !errors.Is(err, token.ErrUnavailable) {
			t.Errorf("after a day: %v", err)
		}
		d.Heal()
		time.Sleep(fetchPause)
		wantVerdict(t, v, newToken(t, d), "")
	})
}

func TestADataspaceThatIsDownFromTheStartIsAskedEveryTenSeconds(t *testing.T) {
	inTime(t, func(t *testing.T, d *providertest.Dataspace, v *ioxio) {
		text := newToken(t, d)
		// Or as it asks itself (Retry-After), within an hour.
		for retryAfter, want := range map[string]int{"": 6, "30": 2} {
			d.Fail(providertest.Status(503, retryAfter))
			asks(t, d, want, func() {
				for range 60 {
					_, err := v.Verify(t.Context(), token.Presented{Token: secret(text)})
					if e := errorOf(err); e.Code != token.ErrUnavailable || !e.RetryAt.After(time.Now().Add(-time.Second)) {
						t.Errorf("%#v", err)
					}
					time.Sleep(time.Second)
				}
			})
		}
		wantVerdict(t, v, "x", jose.ReasonMalformed) // needs no keys
		d.Heal()
		wantVerdict(t, v, text, "")
	})
}

// A reload opens the profile again and keeps the known keys.
func TestKeysAreInherited(t *testing.T) {
	inTime(t, func(t *testing.T, d *providertest.Dataspace, v *ioxio) {
		text := newToken(t, d)
		wantVerdict(t, v, text, "")
		d.Fail(providertest.Status(503, ""))
		heir := reopened(t, v)
		asks(t, d, 1, func() {
			if _, err := heir.Verify(t.Context(), token.Presented{Token: secret(text)}); !errors.Is(err, token.ErrUnavailable) {
				t.Errorf("without a legacy: %v", err)
			}
		})
		heir = reopened(t, v)
		heir.Inherit(v.Verifier)
		heir.Inherit(nil)
		heir.Inherit(v)
		asks(t, d, 0, func() { wantVerdict(t, heir, text, "") })
	})
}

// reopened opens the profile of v again.
func reopened(t *testing.T, v *ioxio) *ioxio {
	t.Helper()
	return openKind(t, "ioxio", v.dataspace.client, map[string]any{"dataspace": v.settings.Dataspace, "dsi": v.settings.DSI}).(*ioxio)
}

// A slow dataspace delays no token for long, and a refresh in the background
// happens once, however many tokens come meanwhile.
func TestASlowDataspaceDelaysNoToken(t *testing.T) {
	inTime(t, func(t *testing.T, d *providertest.Dataspace, v *ioxio) {
		text := newToken(t, d)
		unknown := must[string](t)(d.Sign("RS256", map[string]any{"kid": "x"}, nil))
		wantVerdict(t, v, text, "")
		time.Sleep(keysAge)
		release := make(chan struct{})
		d.Fail(providertest.Hang(release))
		asks(t, d, 1, func() {
			for range 1000 {
				wantVerdict(t, v, text, "")
			}
			begin := time.Now()
			if _, err := v.Verify(t.Context(), token.Presented{Token: secret(unknown)}); !errors.Is(err, token.ErrUnavailable) || time.Since(begin) != patience {
				t.Errorf("an unknown key: %v after %v", err, time.Since(begin))
			}
		})
		close(release)
		synctest.Wait()
	})
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
		"no jwks_uri":       {"/.well-known/openid-configuration", `{"issuer":"https://issuer.example"}`, "has metadata in which jwks_uri is not an https URL of another machine"},
		"http jwks_uri":     {"/.well-known/openid-configuration", `{"issuer":"https://issuer.example","jwks_uri":"http://issuer.example/jwks"}`, "has metadata in which jwks_uri is not an https URL of another machine"},
		"file jwks_uri":     {"/.well-known/openid-configuration", `{"issuer":"https://issuer.example","jwks_uri":"file:///etc/passwd"}`, "has metadata in which jwks_uri is not an https URL of another machine"},
		"keys on loopback":  {"/.well-known/openid-configuration", `{"issuer":"https://issuer.example","jwks_uri":"https://127.0.0.1/jwks"}`, "has metadata in which jwks_uri is not an https URL of another machine"},
		"member twice":      {"/.well-known/openid-configuration", `{"issuer":"x","issuer":"https://issuer.example"}`, "answered 200 OK with JSON with a duplicate member"},
		"10 000 keys":       {"/jwks", many, "answered with a set of more than 1000 keys"},
		"no keys":           {"/jwks", `{}`, "answered with no key set"},
		"keys null":         {"/jwks", `{"keys":null}`, "answered with no key set"},
		"keys an object":    {"/jwks", `{"keys":{}}`, "answered with no key set"},
		"too long":          {"/jwks", `{"keys":[],"x":"` + strings.Repeat("x", maxAnswer) + `"}`, "answered 200 OK with more than 4 MiB"},
		"no JSON":           {"/jwks", `<html>`, "answered 200 OK with invalid JSON"},
		"long metadata":     {"/.well-known/openid-configuration", `{"x":"` + strings.Repeat("x", maxAnswer) + `"}`, "answered 200 OK with more than 4 MiB"},
		"redirect":          {"/jwks", "302", "answered with a redirect (302 Found), which tokend does not follow"},
		"metadata redirect": {"/.well-known/openid-configuration", "301", "answered with a redirect (301 Moved Permanently), which tokend does not follow"},
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
			v := openKind(t, "jwt-verify", fixturetest.InProcess(handler), map[string]any{"issuer": base, "audiences": []string{"a"}})
			_, err := v.Verify(t.Context(), token.Presented{Token: secret(b64(`{"alg":"RS256","kid":"k"}`) + "." + b64(`{}`) + ".AA")})
			if !errors.Is(err, token.ErrUnavailable) || !strings.HasSuffix(err.Error(), " "+tt.want) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

// Published files come from all kinds of storage, and large issuers have many keys,
// each with its certificates.
func TestKeySetsAreReadWhateverTheirMediaType(t *testing.T) {
	const base = "https://issuer.example"
	for _, media := range []string{"", "application/jwk-set+json", "application/octet-stream", "text/plain; charset=utf-8", "text/html", "nonsense;;"} {
		var keys []string
		for i := range 1000 {
			keys = append(keys, fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","use":"sig","kid":"k%d","x":%q,"x5c":[%q]}`, i, b64(fmt.Sprintf("%032d", i)), strings.Repeat("A", 3<<10)))
		}
		handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header()["Content-Type"] = []string{media}
			if r.URL.Path == "/jwks" {
				_, _ = io.WriteString(w, `{"keys":[`+strings.Join(keys, ",")+`]}`)
				return
			}
			_, _ = io.WriteString(w, `{"issuer":"https://issuer.example","jwks_uri":"https://issuer.example/jwks"}`)
		})
		v := openKind(t, "jwt-verify", fixturetest.InProcess(handler), map[string]any{"issuer": base, "audiences": []string{"a"}})
		wantVerdict(t, v, b64(`{"alg":"EdDSA","kid":"k999"}`)+"."+b64(`{}`)+".AA", jose.ReasonSignature)
		wantVerdict(t, v, b64(`{"alg":"EdDSA","kid":"k1000"}`)+"."+b64(`{}`)+".AA", jose.ReasonUnknownKey)
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

// A token without a kid is not called a forgery before the issuer was asked for
// a new key.
func TestANewKeyIsFoundForTokensWithoutAKeyID(t *testing.T) {
	s := startIssuers(t)
	o := s.OpenID()
	o.PublicKey("RS256") // made outside
	synctest.Test(t, func(t *testing.T) {
		v := openOpenID(t, o, fixturetest.InProcess(s.Handler()), nil)
		nameless := func() string {
			return must[string](t)(o.Sign("RS256", map[string]any{"kid": nil}, map[string]any{"aud": "https://api.example"}))
		}
		wantVerdict(t, v, nameless(), "")
		o.AddKey("RS256")
		o.DropKey()
		time.Sleep(fetchPause)
		text := nameless()
		wantVerdict(t, v, text, "")
		forged := text[:len(text)-8] + "AAAAAAAA"
		before := o.Requests()
		time.Sleep(fetchPause)
		for range 100 {
			wantVerdict(t, v, forged, jose.ReasonSignature)
			wantVerdict(t, v, text, "")
		}
		if n := o.Requests() - before; n != 2 {
			t.Errorf("%d requests for 100 forgeries", n)
		}
		o.Fail(providertest.Status(503, ""))
		time.Sleep(fetchPause)
		if _, err := v.Verify(t.Context(), token.Presented{Token: secret(forged)}); !errors.Is(err, token.ErrUnavailable) {
			t.Errorf("while the issuer is down: %v", err)
		}
	})
}
