package providers

import (
	"encoding/json"
	"errors"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"tokend/providers/providertest"
	"tokend/providers/token"
)

// Every text of the server's, with what becomes of it.
func TestCLMSRefusals(t *testing.T) {
	s, client := startWithClient(t)
	m := trials(t, s)[0].open(t, client)
	for topic, texts := range map[string][]string{
		"clms-request": {"POST only", "Missing 'grant_type'", "Only grant type 'urn:ietf:params:oauth:grant-type:jwt-bearer' is supported", "Missing 'assertion'"},
		"clock": {"The token is not yet valid (iat)", "JWT expiration is more than a day in the future",
			"JWT was issued more than an hour in the past", "JWT issue time is in the future"},
		"clms-claims":      {"Missing 'exp' claim", "The 'nbf' claim is not suppported", "Missing 'iat' claim", "Scopes are not supported yet"},
		"clms-algorithm":   {"Only RS256 signature algorithm is supported"},
		"clms-unknown-key": {"No associated key found"},
		"clms-signature":   {"Signature verification failed"},
		"clms-issuer":      {"JWT issuer doesn't match client_id of service key"},
		"clms-subject":     {"JWT subject doesn't match user_id of service key."},
	} {
		for _, text := range texts {
			s.CLMS().Fail(providertest.Refuse(400, "invalid_grant", text))
			_, err := m.Mint(t.Context(), token.Target{})
			want := token.Error{Code: token.ErrRejected, Topic: topic, OAuth: "invalid_grant", Message: strings.TrimPrefix(s.URL(), "https://") + " refused the request: invalid_grant: " + text}
			if e := errorOf(err); *e != want {
				t.Errorf("got  %+v\nwant %+v", *e, want)
			}
		}
	}
}

// What the server itself refuses of ours comes through.
func TestCLMSRefusesWhatDoesNotFitTheKey(t *testing.T) {
	s, client := startWithClient(t)
	key := must[[]byte](t)(s.CLMS().NewServiceKey(2048))
	open := func(settings map[string]any) token.Minter {
		all := map[string]any{"client_id": nil, "user_id": nil, "token_uri": nil}
		maps.Copy(all, settings)
		return trial{kind: "clms", settings: all, secrets: map[string]token.Secret{"service_key": secret(string(key))}}.open(t, client)
	}
	for name, c := range map[string]struct {
		m    token.Minter
		want string
	}{
		"another user": {open(map[string]any{"user_id": "another"}), "invalid_grant: JWT subject doesn't match user_id of service key."},
		"another spelling of the URI": {open(map[string]any{"token_uri": s.CLMS().TokenURI() + "?"}),
			"invalid_grant: Audience doesn't match"},
	} {
		_, err := c.m.Mint(t.Context(), token.Target{})
		if !errors.Is(err, token.ErrRejected) || !strings.HasSuffix(err.Error(), " refused the request: "+c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	m := open(nil)
	s.CLMS().Revoke()
	_, err := m.Mint(t.Context(), token.Target{})
	if !errors.Is(err, token.ErrRejected) || !strings.HasSuffix(err.Error(), "invalid_grant: No associated key found") {
		t.Errorf("revoked: %v", err)
	}
}

func TestCLMSAssertion(t *testing.T) {
	s := startIssuers(t)
	key := must[[]byte](t)(s.CLMS().NewServiceKey(4096))
	var form url.Values
	s.CLMS().Fail(keeps(&form))
	m := trial{kind: "clms", settings: map[string]any{"client_id": nil, "user_id": nil, "token_uri": nil},
		secrets: map[string]token.Secret{"service_key": secret(string(key))}}.open(t, clientFor(t, s.CertPEM()))
	now := time.Now().Unix()
	_, _ = m.Mint(t.Context(), token.Target{})

	if len(form) != 2 || form.Get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" {
		t.Errorf("form is %v", form)
	}
	if h := headerOf(t, form.Get("assertion")); len(h) != 2 || h["alg"] != "RS256" || h["typ"] != "JWT" {
		t.Errorf("header is %v", h)
	}
	var k struct {
		ClientID string `json:"client_id"`
		UserID   string `json:"user_id"`
	}
	check(t, json.Unmarshal(key, &k))
	claims := claimsOf(t, form.Get("assertion"))
	iat, _ := claims["iat"].(float64)
	exp, _ := claims["exp"].(float64)
	// No nbf, no scope: the server refuses both.
	if len(claims) != 5 || claims["iss"] != k.ClientID || claims["sub"] != k.UserID || claims["aud"] != s.CLMS().TokenURI() {
		t.Errorf("claims are %v", claims)
	}
	if back := now - int64(iat); back < 29 || back > 30 {
		t.Errorf("iat lies %d s back", back)
	}
	if exp-iat != 3600 {
		t.Errorf("exp is %v s after iat", exp-iat)
	}
}

func TestCLMSPrepareKeepsTheKeyAndWhatNamesIt(t *testing.T) {
	s := startIssuers(t)
	file := must[[]byte](t)(s.CLMS().NewServiceKey(2048))
	k, _ := Lookup("clms")
	a := token.CreateProfile{Secrets: map[string]token.Secret{"service_key": secret("\ufeff" + string(file))}}
	handed := a.Secrets
	check(t, k.Prepare(&a))
	if len(a.Secrets) != 1 || a.Secrets["private_key"].IsZero() || strings.Contains(a.Secrets["private_key"].Reveal(), "BEGIN") {
		t.Errorf("kept are %d secrets", len(a.Secrets))
	}
	if names := slices.Sorted(maps.Keys(a.Settings)); !slices.Equal(names, []string{"client_id", "token_uri", "user_id"}) || a.Settings["token_uri"] != s.CLMS().TokenURI() {
		t.Errorf("settings are %v", a.Settings)
	}
	if handed["service_key"].IsZero() {
		t.Error("the caller's own map was changed")
	}
}

// handed makes a request of settings and of secrets as text.
func handed(settings map[string]any, secrets map[string]string) token.CreateProfile {
	a := token.CreateProfile{Settings: settings, Secrets: map[string]token.Secret{}}
	for name, text := range secrets {
		a.Secrets[name] = secret(text)
	}
	return a
}

// wantInvalid compares an ErrInvalid exactly.
func wantInvalid(t *testing.T, name string, err error, field, want string) {
	t.Helper()
	if e := errorOf(err); e.Code != token.ErrInvalid || e.Field != field || e.Message != want {
		t.Errorf("%s:\ngot  %s: %v\nwant %s: %s", name, e.Field, err, field, want)
	}
}

func FuzzServiceKey(f *testing.F) {
	for _, seed := range []string{
		`{"client_id":"a","user_id":"b","token_uri":"https://c","private_key":"-----BEGIN RSA PRIVATE KEY-----\n-----END RSA PRIVATE KEY-----\n","title":"t"}`,
		`{"client_id":"a","client_id":"b"}`, `{"client_id":1}`, `[]`, `{`, "-----BEGIN PRIVATE KEY-----", "\ufeff{}", "",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		k, err := parseServiceKey(text)
		if err == nil && (k.Text("client_id") == "" || k.Text("user_id") == "" || k.Text("token_uri") == "" || k.Text("private_key") == "") {
			t.Fatalf("accepted a key with a part missing: %q", text)
		}
		var e *token.Error
		if err != nil && (!errors.As(err, &e) || e.Field != "service_key") {
			t.Fatalf("error names no field: %v", err)
		}
	})
}
