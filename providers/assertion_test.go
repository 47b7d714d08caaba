package providers

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"tokend/providers/token"
)

// partOf decodes one part of a compact JWS.
func partOf(t *testing.T, text string, n int) map[string]any {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(text+"..", ".")[n])
	check(t, err)
	m := map[string]any{}
	check(t, json.Unmarshal(raw, &m))
	return m
}

func headerOf(t *testing.T, text string) map[string]any { return partOf(t, text, 0) }
func claimsOf(t *testing.T, text string) map[string]any { return partOf(t, text, 1) }

var algorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"}

func TestEveryAlgorithmConvincesTheIssuer(t *testing.T) {
	s, client := startWithClient(t)
	for _, algorithm := range algorithms {
		iss, key, err := s.OAuth2().NewGrantKey(algorithm)
		check(t, err)
		m := trial{kind: "jwt-bearer", settings: map[string]any{
			"token_url": s.OAuth2().TokenURL(), "issuer": iss, "audience": nil, "algorithm": algorithm,
		}, secrets: map[string]token.Secret{"private_key": secret(string(key))}}.open(t, client)
		for range 2 { // the second has another jti, or the issuer would refuse it
			if _, err := m.Mint(t.Context(), token.Target{}); err != nil {
				t.Errorf("%s: %v", algorithm, err)
			}
		}
	}
}

func TestKeyAndAlgorithmAreBoundTogether(t *testing.T) {
	s := startIssuers(t)
	keys := map[string]string{}
	for _, algorithm := range []string{"RS256", "ES256", "ES384", "EdDSA"} {
		_, key, err := s.OAuth2().NewGrantKey(algorithm)
		check(t, err)
		keys[algorithm] = string(key)
	}
	k, _ := Lookup("jwt-bearer")
	for _, c := range []struct{ algorithm, key, want string }{
		{"RS256", "ES256", "private_key is an EC key on P-256, and RS256 needs an RSA key"},
		{"PS512", "EdDSA", "private_key is an Ed25519 key, and PS512 needs an RSA key"},
		{"ES256", "RS256", "private_key is an RSA key, and ES256 needs an EC key on P-256"},
		{"ES256", "ES384", "private_key is an EC key on P-384, and ES256 needs an EC key on P-256"},
		{"ES512", "ES384", "private_key is an EC key on P-384, and ES512 needs an EC key on P-521"},
		{"EdDSA", "RS256", "private_key is an RSA key, and EdDSA needs an Ed25519 key"},
	} {
		with := changed(t, "jwt-bearer", "algorithm", c.algorithm)
		given := map[string]token.Secret{"private_key": secret(keys[c.key])}
		a := token.CreateProfile{Settings: with, Secrets: given}
		wantInvalid(t, "prepared "+c.algorithm, k.Prepare(&a), "private_key", c.want)

		m := must[any](t)(k.Open(decodeStrictly(with), Env{HTTP: http.DefaultClient, Secret: secretsFrom(given)})).(token.Minter)
		_, err := m.Mint(t.Context(), token.Target{})
		wantInvalid(t, "minted "+c.algorithm, err, "private_key", c.want)
	}
	for _, algorithm := range []string{"none", "None", "HS256", "HS512", "", "rs256", "ES256K"} {
		_, err := opens("jwt-bearer", changed(t, "jwt-bearer", "algorithm", algorithm))
		wantInvalid(t, algorithm, err, "algorithm", `algorithm "`+algorithm+
			`" is not one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA, Ed25519`)
	}
}

func TestADamagedKeyInTheKeystoreIsNamed(t *testing.T) {
	k, _ := Lookup("jwt-bearer")
	settings := example(t, "jwt-bearer")
	open := func(kept map[string]token.Secret) token.Minter {
		return must[any](t)(k.Open(decodeStrictly(settings), Env{HTTP: http.DefaultClient, Secret: secretsFrom(kept)})).(token.Minter)
	}
	_, err := open(map[string]token.Secret{"private_key": secret("x")}).Mint(t.Context(), token.Target{})
	wantInvalid(t, "damaged", err, "private_key", "the private_key in the keystore is not a private key that tokend can read (RSA, EC or Ed25519; PEM or DER)")
	if _, err := open(nil).Mint(t.Context(), token.Target{}); !errors.Is(err, token.ErrKeystore) {
		t.Errorf("the keystore's own error does not come through: %v", err)
	}
}

// sentBy returns the form of one token request.
func sentBy(t *testing.T, kind string, settings map[string]any, secrets map[string]token.Secret, target token.Target) url.Values {
	t.Helper()
	s := startIssuers(t)
	var form url.Values
	s.OAuth2().Fail(keeps(&form))
	all := map[string]any{"token_url": s.OAuth2().TokenURL()}
	maps.Copy(all, settings)
	m := trial{kind: kind, settings: all, secrets: secrets}.open(t, clientFor(t, s.CertPEM()))
	if _, err := m.Mint(t.Context(), target); !errors.Is(err, token.ErrUnavailable) {
		t.Fatal(err)
	}
	return form
}

func TestJWTBearerRequest(t *testing.T) {
	_, key, err := startIssuers(t).OAuth2().NewGrantKey("ES256")
	check(t, err)
	secrets := map[string]token.Secret{"private_key": secret(string(key))}
	settings := map[string]any{"algorithm": "ES256", "audience": "https://aud.example", "claims": map[string]any{"purpose": "x", "level": int64(3)}}
	now := time.Now().Unix()
	form := sentBy(t, "jwt-bearer", settings, secrets, token.Target{})
	if len(form) != 3 || form.Get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" || form.Get("organization") != "example" {
		t.Errorf("form is %v", form)
	}
	if h := headerOf(t, form.Get("assertion")); len(h) != 3 || h["alg"] != "ES256" || h["typ"] != "JWT" || h["kid"] != "2026-11" {
		t.Errorf("header is %v", h)
	}
	claims := claimsOf(t, form.Get("assertion"))
	const me = "reports@example.iam.gserviceaccount.com"
	for name, want := range map[string]any{"iss": me, "sub": me, "aud": "https://aud.example", "purpose": "x", "level": 3.0,
		"scope": "https://www.googleapis.com/auth/devstorage.read_only"} {
		if claims[name] != want {
			t.Errorf("%s is %v, want %v", name, claims[name], want)
		}
	}
	iat, _ := claims["iat"].(float64)
	if back := now - int64(iat); len(claims) != 9 || back < 29 || back > 30 || claims["exp"] != iat+3600 {
		t.Errorf("claims are %v", claims)
	}
	if uuid := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`); !uuid.MatchString(claims["jti"].(string)) {
		t.Errorf("jti is %v", claims["jti"])
	}

	settings["scope_in"], settings["subject"], settings["backdate"] = "form", nil, "5s"
	form = sentBy(t, "jwt-bearer", settings, secrets, token.Target{Scope: "a b"})
	claims = claimsOf(t, form.Get("assertion"))
	if _, said := claims["sub"]; said || claims["scope"] != nil || form.Get("scope") != "a b" {
		t.Errorf("form is %v, claims are %v", form, claims)
	}
}

func TestPrivateKeyJWTRequest(t *testing.T) {
	_, key, err := startIssuers(t).OAuth2().NewKeyClient("PS384")
	check(t, err)
	form := sentBy(t, "oauth2", map[string]any{"auth": "private_key_jwt", "algorithm": "PS384", "assertion_audience": "https://issuer.example"},
		map[string]token.Secret{"private_key": secret(string(key))}, token.Target{Scope: "x", Audience: "y"})
	claims := claimsOf(t, form.Get("client_assertion"))
	if claims["iss"] != "reports" || claims["sub"] != "reports" || claims["aud"] != "https://issuer.example" || len(claims) != 6 {
		t.Errorf("claims are %v", claims)
	}
	form.Del("client_assertion")
	want := url.Values{"grant_type": {"client_credentials"}, "client_id": {"reports"}, "scope": {"x"}, "audience": {"y"},
		"resource": {"https://api.example/reports"}, "organization": {"example"},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}}
	if form.Encode() != want.Encode() {
		t.Errorf("form is %v", form)
	}
}

func TestAnAudienceGoesWhereTheProfileHasItsOwn(t *testing.T) {
	form := sentBy(t, "oauth2", map[string]any{"audience": nil}, map[string]token.Secret{"client_secret": secret("abc")},
		token.Target{Audience: "https://other.example"})
	if form.Get("resource") != "https://other.example" || form.Has("audience") {
		t.Errorf("form is %v", form)
	}
}

func TestSettingsAreChecked(t *testing.T) {
	for _, c := range []struct {
		kind, setting string
		value         any
		want          string
	}{
		{"oauth2", "token_url", "http://127.0.0.1/token", "token_url must be a URL that begins with https://"},
		{"oauth2", "token_url", "issuer", "token_url must be a URL that begins with https://"},
		{"oauth2", "token_url", "https://:443/", "token_url must be a URL that begins with https://"},
		{"oauth2", "token_url", "https://a:b@issuer.example/", "token_url must not contain a user name or password"},
		{"jwt-bearer", "token_url", "https://issuer.example/#x", `token_url must not contain any of "#"`},
		{"clms", "token_uri", "http://issuer.example/", "token_uri must be a URL that begins with https://"},
		{"aspose", "base_url", "http://issuer.example", "base_url must be a URL that begins with https://, or for a server on this machine http://"},
		{"aspose", "base_url", "https://issuer.example?x", `base_url must not contain any of "?#"`},
		{"oauth2", "auth", "tls_client_auth", `auth "tls_client_auth" is not one of client_secret_basic, client_secret_post, private_key_jwt`},
		{"oauth2", "scopes", []string{"a\nb"}, `scopes "a\nb" has characters that a scope cannot have (RFC 6749 §3.3)`},
		{"oauth2", "form", map[string]any{"client_secret": "x"}, `form cannot set "client_secret"`},
		{"jwt-bearer", "form", map[string]any{"assertion": "x"}, `form cannot set "assertion"`},
		{"jwt-bearer", "claims", map[string]any{"exp": 1}, `claims cannot set "exp", because another setting does`},
		{"jwt-bearer", "scope_in", "header", `scope_in "header" is neither "claim" nor "form"`},
		{"jwt-bearer", "assertion_lifetime", "30s", "assertion_lifetime counts from the back-dated iat and must be longer than backdate"},
		{"aspose", "user_agent", "a\r\nX: y", "user_agent must be printable ASCII"},
		{"aspose", "user_agent", "", "user_agent must be printable ASCII"},
		{"clms", "client_id", "", "client_id is missing; it comes with the service_key"},
		{"azure", "tenant", "common", `tenant "common" is not a directory: use its ID or one of its domains`},
		{"azure", "tenant", "Organizations", `tenant "Organizations" is not a directory: use its ID or one of its domains`},
		{"azure", "tenant", "a/b", `tenant "a/b" is neither an ID nor a domain`},
		{"azure", "scope", "api://x", `scope "api://x" must end in /.default: "api://x/.default"`},
		{"azure", "scope", "https://vault.azure.net/", `scope "https://vault.azure.net/" must end in /.default: "https://vault.azure.net//.default"`},
		{"azure", "scope", "a/.default b/.default", `scope "a/.default b/.default" is not one resource, and a token is for exactly one`},
		{"azure", "authority", "https://login.microsoftonline.us", "authority must be a bare host such as login.microsoftonline.us"},
		{"azure", "authority", "login.microsoftonline.us/", "authority must be a bare host such as login.microsoftonline.us"},
		{"azure", "authority", "a@evil.example", "authority must be a bare host such as login.microsoftonline.us"},
		{"azure", "algorithm", "HS256", `algorithm "HS256" is neither PS256 nor RS256`},
		{"azure", "certificate", "-----BEGIN PRIVATE KEY-----", "certificate contains a private key, which must not be in a file"},
		{"azure", "certificate", "nonsense", "certificate cannot be used: it is a file without a certificate in PEM or DER"},
		{"azure", "certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "certificate cannot be used: it contains a damaged certificate"},
	} {
		_, err := opens(c.kind, changed(t, c.kind, c.setting, c.value))
		wantInvalid(t, fmt.Sprintf("%s = %q", c.setting, c.value), err, c.setting, c.want)
	}
	for _, value := range []string{"0s", "-5m", "500ms", "soon", "5"} {
		if _, err := opens("aspose", changed(t, "aspose", "max_lifetime", value)); err == nil ||
			!strings.Contains(err.Error(), `"`+value+`" is not a duration such as "90s", "5m" or "1h"`) {
			t.Errorf("max_lifetime %s: %v", value, err)
		}
	}
}

func TestAsposeBaseURLs(t *testing.T) {
	for base, want := range map[string]string{
		"https://api.aspose.cloud": "https://api.aspose.cloud", "https://api.aspose.cloud/": "https://api.aspose.cloud", "https://api.aspose.cloud/v4.0": "https://api.aspose.cloud",
		"https://api.aspose.cloud/v3.0/words/convert": "https://api.aspose.cloud", "https://api.aspose.cloud/connect/token": "https://api.aspose.cloud",
		"https://h.example/docs/v1/": "https://h.example/docs", "https://h.example/valid": "https://h.example/valid",
		"http://localhost:8081/v4.0": "http://localhost:8081", "http://127.0.0.1": "http://127.0.0.1", "http://h.example": "", "http://localhost.example": "",
	} {
		opened, err := opens("aspose", map[string]any{"client_id": "c", "base_url": base})
		if want == "" {
			if errorOf(err).Field != "base_url" {
				t.Errorf("%s: %v", base, err)
			}
			continue
		}
		if m, ok := opened.(*minter); !ok || m.Endpoint() != want+"/connect/token" || m.Hosts()[0] != want {
			t.Errorf("%s: %v, %v", base, opened, err)
		}
	}
	proxy, err := proxyOf("http://proxy.example:3128")
	if u, _ := proxy(&http.Request{URL: &url.URL{Scheme: "http", Host: "localhost:8081"}}); err != nil || u != nil {
		t.Errorf("a proxy would read the secret: %v, %v", u, err)
	}
	kind, _ := Lookup("aspose")
	const id, key = "3b0f6a7e-1d0c-4a50-9f3b-2f6d0f1c9a10", "0123456789abcdef0123456789abcdef"
	for pair, swapped := range map[[2]string]bool{{id, key}: false, {key, id}: true, {id, id}: false, {"c", key}: false} {
		a := token.CreateProfile{Settings: map[string]any{"client_id": pair[0]}, Secrets: map[string]token.Secret{"client_secret": secret(pair[1])}}
		if err := kind.Prepare(&a); (err != nil) != swapped || err != nil && errorOf(err).Field != "client_id" {
			t.Errorf("%q: %v", pair, err)
		}
	}
}
