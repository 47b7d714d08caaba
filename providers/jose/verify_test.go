package jose

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tokend/providers/fixturetest"
	"tokend/providers/providertest"
	"tokend/providers/strictjson"
	"tokend/providers/token"
)

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func b64(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

// knows returns a verifier that knows these keys and cannot get others.
func knows(keys ...publicKey) *Verifier {
	now := time.Now().Round(0)
	rules := Rules{Issuer: "https://issuer.example", Audiences: []string{"a"}, Algorithms: Algorithms(), Leeway: time.Minute}
	v := NewVerifier(rules, func(context.Context) ([]Published, error) {
		return nil, &token.Error{Code: token.ErrUnavailable, Message: "there is no network"}
	})
	for i := range keys {
		keys[i].issuer = rules.Issuer
	}
	v.known = knownKeys{keys: keys, fetched: now}
	return v
}

func verdict(t testing.TB, v *Verifier, text string) (token.Verdict, error) {
	return v.Verify(t.Context(), token.Presented{Token: token.NewSecret(text)})
}

const warmClaims = `{"iss":"https://issuer.example","aud":"a","exp":9999999999}`

// Case 56.
func TestPSSWithAnotherSaltIsRefused(t *testing.T) {
	key := must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 2048))
	v := knows(publicKey{id: "k", public: key.Public(), algorithms: []string{"PS256"}})
	text := b64(`{"alg":"PS256","kid":"k"}`) + "." + b64(warmClaims)
	sum := sha256.Sum256([]byte(text))
	for salt, good := range map[int]bool{32: true, 31: false, 20: false, 64: false, rsa.PSSSaltLengthAuto: false} {
		signature := must[[]byte](t)(rsa.SignPSS(rand.Reader, key, crypto.SHA256, sum[:], &rsa.PSSOptions{SaltLength: salt}))
		got, err := verdict(t, v, text+"."+base64.RawURLEncoding.EncodeToString(signature))
		if err != nil || got.Valid != good || !good && got.Reason != ReasonSignature {
			t.Errorf("salt of %d bytes: %+v, %v", salt, got, err)
		}
	}
}

// No text but the one token that was signed is ever good: Ed25519 signatures are
// deterministic, and there is one spelling of everything. The key is the same in
// each of the processes that share a corpus.
func FuzzVerify(f *testing.F) {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	v := knows(publicKey{id: "k", public: key.Public(), algorithms: []string{"EdDSA"}})
	sign := func(header, payload string) string {
		text := b64(header) + "." + b64(payload)
		return text + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(key, []byte(text)))
	}
	good := sign(`{"alg":"EdDSA","kid":"k"}`, warmClaims)
	f.Add(good)
	f.Add(sign(`{"alg":"EdDSA","kid":"k"}`, `{"iss":"https://issuer.example","aud":["a"],"exp":1.5}`))
	for _, header := range []string{`{"alg":"none"}`, `{"alg":"HS256","kid":"k"}`, `{"alg":"RS256","crit":["x"]}`, `{"alg":"ES256","kid":"k","jwk":{}}`} {
		f.Add(b64(header) + "." + b64(warmClaims) + ".")
	}
	f.Add(`{"payload":""}`)
	f.Add("....")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := verdict(t, v, text)
		if text != good && errors.Is(err, token.ErrUnavailable) {
			return // its key may be a new one, and there is no network
		}
		if err != nil {
			t.Fatal(err)
		}
		if got.Valid != (text == good) || got.Valid != (got.Reason == "") {
			t.Fatalf("%q: %+v", text, got)
		}
	})
}

// Whatever the claims say once the signature is good, there is one verdict.
func FuzzClaims(f *testing.F) {
	for _, payload := range []string{warmClaims, `{"iss":"https://issuer.example","aud":["a",null],"exp":1e400}`, `{"exp":"1"}`, `[]`, `{"aud":{}}`} {
		f.Add([]byte(payload))
	}
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	v := knows(publicKey{id: "k", public: key.Public(), algorithms: []string{"EdDSA"}})
	f.Fuzz(func(t *testing.T, payload []byte) {
		text := b64(`{"alg":"EdDSA"}`) + "." + b64(string(payload))
		got, err := verdict(t, v, text+"."+base64.RawURLEncoding.EncodeToString(ed25519.Sign(key, []byte(text))))
		switch {
		case len(text) > maxToken-100:
		case err != nil || got.Reason == ReasonSignature || got.Valid == (got.Reason != ""):
			t.Fatalf("%q: %+v, %v", payload, got, err)
		case got.Valid && got.Claims["iss"] != "https://issuer.example":
			t.Fatalf("%q is good: %v", payload, got.Claims)
		}
	})
}

func TestWhenKeysAreFetchedAgain(t *testing.T) {
	for name, tt := range map[string]struct {
		age, retryAfter time.Duration
		usable          bool
		fetches         time.Duration // the pause after which they are fetched, if they are
	}{
		"young":              {age: keysAge - time.Second, usable: true},
		"old":                {age: keysAge, usable: true, fetches: fetchPause},
		"of a day":           {age: keysEnd, fetches: fetchPause},
		"of the future":      {age: -time.Hour, usable: true, fetches: fetchPause}, // the clock was set back
		"Retry-After 1 s":    {age: keysAge, retryAfter: time.Second, usable: true, fetches: fetchPause},
		"Retry-After 10 min": {age: keysAge, retryAfter: 10 * time.Minute, usable: true, fetches: 10 * time.Minute},
		"Retry-After 10 h":   {age: keysAge, retryAfter: 10 * time.Hour, usable: true, fetches: maxPause},
	} {
		synctest.Test(t, func(t *testing.T) {
			fetches := 0
			v := NewVerifier(Rules{}, func(context.Context) ([]Published, error) {
				fetches++
				return nil, &token.Error{Code: token.ErrUnavailable, RetryAt: time.Now().Add(tt.retryAfter)}
			})
			v.known = knownKeys{keys: []publicKey{{public: 1, algorithms: []string{"a"}}}, fetched: time.Now().Round(0).Add(-tt.age)}
			ask := func(want int) {
				t.Helper()
				_, err := v.key(t.Context(), "", "a")
				if synctest.Wait(); (err == nil) != tt.usable || fetches != want {
					t.Errorf("%s: %v after %d fetches, want %d", name, err, fetches, want)
				}
			}
			first := min(1, int(tt.fetches))
			ask(first)
			if time.Sleep(tt.fetches - 1); first == 1 {
				ask(1)
				time.Sleep(time.Nanosecond)
				ask(2)
			}
		})
	}
}

func TestAnotherIssuersKeysAreNotInherited(t *testing.T) {
	open := func(issuer string, strict bool, algorithms ...string) *Verifier {
		return NewVerifier(Rules{Issuer: issuer, Strict: strict, Algorithms: algorithms}, func(context.Context) ([]Published, error) { return nil, nil })
	}
	for name, tt := range map[string]struct {
		old  *Verifier
		want bool
	}{
		"the same":          {open("https://a.example", false, "RS256"), true},
		"another issuer":    {open("https://b.example", false, "RS256"), false},
		"another algorithm": {open("https://a.example", false, "ES256"), false},
		"another kind":      {open("https://a.example", true, "RS256"), false},
	} {
		tt.old.known.fetched = time.Now()
		young := open("https://a.example", false, "RS256")
		young.Inherit(tt.old)
		if got := !young.known.fetched.IsZero(); got != tt.want {
			t.Errorf("%s: inherited is %v", name, got)
		}
	}
}

// testJWKs returns keys as issuers publish them, by their algorithms.
func testJWKs(t testing.TB) map[string]map[string]any {
	t.Helper()
	s := must[*providertest.Server](t)(providertest.Start(providertest.Options{}))
	defer s.Close()
	res := must[*http.Response](t)(fixturetest.InProcess(s.Handler()).Get(s.OpenID().Issuer() + "/jwks"))
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
	type change = map[string]any
	check := func(of string, c change, generic string, ioxio bool) {
		t.Helper()
		key := maps.Clone(jwks[of])
		maps.Copy(key, c)
		maps.DeleteFunc(key, func(_ string, v any) bool { return v == nil })
		set := strictjson.Object{"keys": must[[]byte](t)(json.Marshal([]any{key}))}
		got := ""
		for _, k := range must[[]publicKey](t)(Rules{Algorithms: Algorithms()}.keysIn(set)) {
			got = strings.Join(k.algorithms, " ")
		}
		strict := must[[]publicKey](t)(Rules{Algorithms: []string{"RS256"}, Strict: true}.keysIn(set))
		if got != generic || (len(strict) == 1) != ioxio {
			t.Errorf("%s with %v: good for %q, for IOXIO %v", of, c, got, len(strict) == 1)
		}
	}
	for _, of := range []string{"RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA"} {
		check(of, nil, of, of == "RS256")
	}
	for _, tt := range []struct {
		of      string
		change  change
		generic string // the algorithms that it is good for
	}{
		{"EdDSA", change{"alg": "Ed25519"}, "Ed25519"},
		{"EdDSA", change{"alg": nil}, "EdDSA Ed25519"},
		{"RS256", change{"alg": nil}, "RS256 RS384 RS512 PS256 PS384 PS512"},
		{"ES256", change{"alg": nil}, "ES256"},
		{"RS256", change{"use": nil}, "RS256"},
		{"RS256", change{"kid": nil}, "RS256"},
	} {
		check(tt.of, tt.change, tt.generic, false)
	}
	check("RS256", change{"key_ops": []string{"verify"}}, "RS256", true)
	for of, unusable := range map[string][]change{
		"RS256": {
			{"kid": 1}, {"use": "enc"}, {"use": "SIG"}, {"use": []string{"sig"}}, {"key_ops": []string{"encrypt"}}, {"key_ops": []string{}}, {"key_ops": "verify"},
			{"alg": "ES256"}, {"alg": "HS256"}, {"alg": "RSA-OAEP"}, {"alg": "none"}, {"kty": "oct", "k": "AAAA"}, {"kty": "EC"}, {"kty": "rsa"}, {"d": "AQAB"},
			{"n": small}, {"n": wide}, {"n": jwks["RS256"]["n"].(string) + "="}, {"e": "AQ"}, {"e": "AQAA"}, {"e": "_________w"},
		},
		// A point that is not on the curve; coordinates, curves and keys of another size or kind.
		"ES256": {{"alg": "ES384"}, {"y": jwks["ES256"]["x"]}, {"x": "AA"}, {"crv": "P-384"}, {"crv": "secp256k1"}},
		"EdDSA": {{"crv": "X25519"}, {"x": "AAAA"}},
	} {
		for _, c := range unusable {
			check(of, c, "", false)
		}
	}
}

// Case 58.
func TestKeysThatShareAnID(t *testing.T) {
	jwks := testJWKs(t)
	key := func(of string, change map[string]any) map[string]any {
		k := maps.Clone(jwks[of])
		k["kid"] = "shared"
		maps.Copy(k, change)
		maps.DeleteFunc(k, func(_ string, v any) bool { return v == nil })
		return k
	}
	one := key("RS256", nil)
	for name, tt := range map[string]struct {
		keys []any
		want string // the algorithms that the shared ID is good for
	}{
		"another type":              {[]any{one, key("ES256", nil)}, "ES256 RS256"},
		"another algorithm":         {[]any{one, key("PS256", nil)}, "PS256 RS256"},
		"encryption":                {[]any{one, key("PS256", map[string]any{"use": "enc", "alg": "RSA-OAEP"})}, "RS256"},
		"a kty that is not known":   {[]any{one, key("RS256", map[string]any{"kty": "AKP"})}, "RS256"},
		"itself":                    {[]any{one, one}, ""},
		"the same algorithm":        {[]any{one, key("PS256", map[string]any{"alg": "RS256"})}, ""},
		"any algorithm of its type": {[]any{one, key("PS256", map[string]any{"alg": nil})}, "PS256 PS384 PS512 RS384 RS512"},
		"three, two of a type":      {[]any{one, one, key("EdDSA", nil)}, "EdDSA"},
	} {
		text := must[[]byte](t)(json.Marshal(append(tt.keys, jwks["ES384"], "no key", nil)))
		keys := must[[]publicKey](t)(Rules{Algorithms: Algorithms()}.keysIn(strictjson.Object{"keys": text}))
		var got []string
		for _, a := range Algorithms() {
			k, ok := knownKeys{keys: keys}.find("shared", a)
			if ok && slices.Contains(k.algorithms, a) {
				got = append(got, a)
			}
		}
		slices.Sort(got)
		if strings.Join(got, " ") != tt.want {
			t.Errorf("with %s: %q, want %q", name, got, tt.want)
		}
	}
}

func FuzzJWKS(f *testing.F) {
	for _, k := range testJWKs(f) {
		f.Add(must[[]byte](f)(json.Marshal(map[string]any{"keys": []any{k}})))
	}
	f.Add([]byte(`{"keys":[{"kty":"RSA","kid":"a"},{"kty":"RSA","kid":"a"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		set, err := strictjson.Parse(text)
		if err != nil {
			return
		}
		keys, err := Rules{Algorithms: Algorithms()}.keysIn(set)
		if err == nil && len(keys) > maxKeys {
			t.Fatalf("%d keys", len(keys))
		}
		seen := map[string]bool{}
		for _, k := range keys {
			for _, a := range k.algorithms {
				if k.id != "" && seen[a+k.id] {
					t.Fatalf("two keys for %s: %+v", a, k)
				}
				seen[a+k.id] = true
			}
			if k.public == nil || len(k.algorithms) == 0 {
				t.Fatalf("%+v", k)
			}
			if public, ok := k.public.(*rsa.PublicKey); ok && (public.N.BitLen() < minRSA || public.N.BitLen() > maxRSA) {
				t.Fatalf("an RSA key of %d bits", public.N.BitLen())
			}
			// No key makes trouble, or rubbish a signature. (An Ed25519 key of low
			// order would, and hurts its owner alone.)
			for _, a := range k.algorithms {
				for _, size := range []int{0, 64, 96, 132, 256, 512} {
					if method(a).Verify("x", make([]byte, size), k.public) == nil && keyFor(a) != "an Ed25519 key" {
						t.Fatalf("zeros are a signature by %s", a)
					}
				}
			}
		}
	})
}
