package jose

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"testing"
	"time"

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
