package providertest

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha512"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

func getJSON(t *testing.T, c *http.Client, from string) map[string]any {
	t.Helper()
	res, err := c.Get(from)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	m := map[string]any{}
	if err := json.NewDecoder(res.Body).Decode(&m); err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", from, res.Status, err)
	}
	return m
}

func TestPublishersPublishTheKeysThatSign(t *testing.T) {
	s, client := start(t)
	for from, tt := range map[string]struct {
		p      *publisher
		member string
		keys   int
	}{
		s.URL() + "/.well-known/dataspace/dataspace-configuration.json":  {s.Dataspace().publisher, "jwks_url", 1},
		s.OpenID().Issuer() + "/.well-known/openid-configuration":        {s.OpenID().publisher, "jwks_uri", 6},
		s.URL() + "/.well-known/oauth-authorization-server" + "/rfc8414": {s.RFC8414().publisher, "jwks_uri", 1},
	} {
		set := getJSON(t, client, getJSON(t, client, from)[tt.member].(string))["keys"].([]any)
		if len(set) != tt.keys || tt.p.Requests() != 2 {
			t.Errorf("%s: %d keys, %d requests", from, len(set), tt.p.Requests())
		}
		_, kid := tt.p.PublicKey("RS256")
		if first := set[0].(map[string]any); first["kid"] != kid || first["alg"] != "RS256" {
			t.Errorf("%s: %v", from, first)
		}
		tt.p.AddKey("RS256")
		tt.p.DropKey()
		if _, next := tt.p.PublicKey("RS256"); next == kid {
			t.Errorf("%s: the key stays", from)
		}
	}
}

func TestTheGatewayIsStrict(t *testing.T) {
	s, client := start(t)
	d := s.Dataspace()
	good, err := d.NewToken("dpp://a@b/C")
	if err != nil {
		t.Fatal(err)
	}
	expired, err := d.Sign("RS256", nil, map[string]any{"aud": "dpp://a@b/C", "exp": 1})
	if err != nil {
		t.Fatal(err)
	}
	body := func(aud, text string) string { return fmt.Sprintf(`{"aud":%q,"apiToken":%q}`, aud, text) }
	for name, tt := range map[string]struct {
		media, body string
		want        int
	}{
		"good":          {"application/json", body("dpp://a@b/C", good), 200},
		"another aud":   {"application/json", body("dpp://a@b/D", good), 403},
		"expired":       {"application/json", body("dpp://a@b/C", expired), 403},
		"forged":        {"application/json", body("dpp://a@b/C", good[:len(good)-8]+"AAAAAAAA"), 403},
		"no aud":        {"application/json", body("", good), 422},
		"another name":  {"application/json", strings.Replace(body("dpp://a@b/C", good), "apiToken", "token", 1), 422},
		"more":          {"application/json", strings.Replace(body("dpp://a@b/C", good), "{", `{"x":"y",`, 1), 422},
		"form":          {"application/x-www-form-urlencoded", body("dpp://a@b/C", good), 422},
		"not even JSON": {"application/json", "x", 422},
	} {
		res, err := client.Post(d.Gateway()+"/api/v1/api-token/verify", tt.media, strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
		if res.StatusCode != tt.want {
			t.Errorf("%s: %s, want %d", name, res.Status, tt.want)
		}
	}
}

func TestDatarockRefusesForReasons(t *testing.T) {
	s, _ := start(t)
	d := s.Datarock()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Register("u@example.org", string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))); err != nil {
		t.Fatal(err)
	}
	if d.Register("u@example.org", "x") == nil {
		t.Error("anything can be registered")
	}
	now := time.Now()
	host := strings.TrimPrefix(s.URL(), "https://")
	hash := func(iat int64, path string) string {
		return fmt.Sprintf("%x", sha512.Sum512(fmt.Appendf(nil, "u@example.org/%d/https://%s%s", iat, host, path)))
	}
	made := func(iat int64, path string) string {
		return sign(t, jwt.SigningMethodRS256, key, nil, map[string]any{"iat": iat, "requestHash": hash(iat, path)})
	}
	const path = "/api/datarock/x?a=1&b=2"
	for name, tt := range map[string]struct{ user, signature, target, want string }{
		"good":           {"u@example.org", made(now.Unix(), path), path, ""},
		"sent unsorted":  {"u@example.org", made(now.Unix(), path), "/api/datarock/x?b=2&a=1", ""},
		"signed so":      {"u@example.org", made(now.Unix(), "/api/datarock/x?b=2&a=1"), "/api/datarock/x?b=2&a=1", "requestHash is not that of this request"},
		"another path":   {"u@example.org", made(now.Unix(), path), "/api/datarock/y?a=1&b=2", "requestHash is not that of this request"},
		"another user":   {"v@example.org", made(now.Unix(), path), path, "no key is registered for x-api-user"},
		"no signature":   {"u@example.org", "", path, "Signature is no JWT"},
		"PS256":          {"u@example.org", sign(t, jwt.SigningMethodPS256, key, nil, map[string]any{"iat": now.Unix()}), path, "the signature is not that of the registered key by RS256"},
		"no iat":         {"u@example.org", sign(t, jwt.SigningMethodRS256, key, nil, map[string]any{"requestHash": "x"}), path, "iat is missing or no whole number"},
		"iat a fraction": {"u@example.org", sign(t, jwt.SigningMethodRS256, key, nil, map[string]any{"iat": float64(now.Unix()) + 0.5}), path, "iat is missing or no whole number"},
		"old":            {"u@example.org", made(now.Unix()-303, path), path, "iat is more than 5 minutes ago"},
		"nearly old":     {"u@example.org", made(now.Unix()-290, path), path, ""},
		"nearly ahead":   {"u@example.org", made(now.Unix()+50, path), path, ""},
		"ahead":          {"u@example.org", made(now.Unix()+63, path), path, "iat is more than a minute ahead"},
	} {
		accepted := d.Accepted()
		r := httptest.NewRequest(http.MethodGet, tt.target, nil)
		r.Host = host
		r.Header.Set("x-api-user", tt.user)
		r.Header.Set("Signature", tt.signature)
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		if good := tt.want == ""; good != (w.Code == http.StatusOK) || good != (d.Accepted() == accepted+1) || !good && d.Refusal() != tt.want {
			t.Errorf("%s: %d %s, want %q", name, w.Code, d.Refusal(), tt.want)
		}
	}
	if d.Requests() != 13 {
		t.Errorf("%d requests were counted", d.Requests())
	}
}
