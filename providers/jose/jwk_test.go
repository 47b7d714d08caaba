package jose

import (
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"tokend/providers/providertest"
	"tokend/providers/strictjson"
)

// testJWKs returns keys as issuers publish them, by their algorithms.
func testJWKs(t testing.TB) map[string]map[string]any {
	t.Helper()
	s, err := providertest.Start(providertest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, s.OpenID().Issuer()+"/jwks", nil))
	var set struct{ Keys []map[string]any }
	if err := json.NewDecoder(w.Body).Decode(&set); err != nil {
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
		{"alg Ed25519", "EdDSA", map[string]any{"alg": "Ed25519"}, "Ed25519", false},
		{"no alg", "EdDSA", map[string]any{"alg": nil}, "EdDSA Ed25519", false},
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
			key := maps.Clone(jwks[tt.of])
			maps.Copy(key, tt.change)
			maps.DeleteFunc(key, func(_ string, v any) bool { return v == nil })
			set := strictjson.Object{"keys": must[[]byte](t)(json.Marshal([]any{key}))}
			got := ""
			for _, k := range must[[]publicKey](t)(Rules{Algorithms: Algorithms()}.keysIn(set)) {
				got = strings.Join(k.algorithms, " ")
			}
			strict := must[[]publicKey](t)(Rules{Algorithms: []string{"RS256"}, Strict: true}.keysIn(set))
			if got != tt.generic || (len(strict) == 1) != tt.ioxio {
				t.Errorf("good for %q, for IOXIO %v", got, len(strict) == 1)
			}
		})
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
		text, err := json.Marshal(map[string]any{"keys": []any{k}})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
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
