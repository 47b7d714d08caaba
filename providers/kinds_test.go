package providers

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pelletier/go-toml/v2"
	"software.sslmate.com/src/go-pkcs12"

	"tokend/providers/fixturetest"
	"tokend/providers/providertest"
	"tokend/providers/token"
)

// An issuer is what the suite needs of each of providertest's.
type issuer interface {
	Fail(providertest.Fault)
	Heal()
	Minted() int
	Requests() int
	APIURL() string
}

// A trial is one kind of profile against its issuer: the example of testdata
// with some settings replaced, and the secrets as a person hands them in.
type trial struct {
	name, kind string
	issuer     issuer
	settings   map[string]any
	secrets    map[string]token.Secret
}

func startIssuers(t *testing.T) *providertest.Server {
	t.Helper()
	s := must[*providertest.Server](t)(providertest.Start(providertest.Options{}))
	t.Cleanup(func() { s.Close() })
	return s
}

// clientFor makes a client that trusts the certificate.
func clientFor(t *testing.T, certPEM []byte) *http.Client {
	t.Helper()
	return must[*http.Client](t)(NewHTTPClient(caFile(t, certPEM), "none"))
}

func caFile(t *testing.T, certPEM []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ca.pem")
	return must[string](t)(file, os.WriteFile(file, certPEM, 0o600))
}

// startWithClient starts the issuers, and makes a client that trusts them.
func startWithClient(t *testing.T) (*providertest.Server, *http.Client) {
	t.Helper()
	s := startIssuers(t)
	return s, clientFor(t, s.CertPEM())
}

func secret(text string) token.Secret { return token.NewSecret(text) }

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		check(t, err)
		return v
	}
}

// trials has every kind that obtains tokens, and each of its ways to
// authenticate.
func trials(t *testing.T, s *providertest.Server) []trial {
	serviceKey := must[[]byte](t)(s.CLMS().NewServiceKey(2048))
	azureID, azureSecret := s.Azure().NewSecret()
	certID, cert, certKey, err := s.Azure().NewCertificate(2048)
	check(t, err)
	asposeID, asposeSecret := s.Aspose().NewClient()
	id, text := s.OAuth2().NewClient()
	keyID, key, err := s.OAuth2().NewKeyClient("ES256")
	check(t, err)
	iss, grantKey, err := s.OAuth2().NewGrantKey("EdDSA")
	check(t, err)
	oauth2 := func(id, auth string) map[string]any {
		return map[string]any{"token_url": s.OAuth2().TokenURL(), "client_id": id, "auth": auth, "algorithm": "ES256"}
	}
	return []trial{
		{"clms", "clms", s.CLMS(), map[string]any{"client_id": nil, "user_id": nil, "token_uri": nil},
			map[string]token.Secret{"service_key": secret(string(serviceKey))}},
		{"azure secret", "azure", s.Azure(), azureSettingsOf(s, azureID, nil), map[string]token.Secret{"client_secret": secret(azureSecret + "\n")}},
		{"azure certificate", "azure", s.Azure(), azureSettingsOf(s, certID, nil),
			map[string]token.Secret{"certificate": secret(string(cert) + string(certKey))}},
		{"azure certificate RS256", "azure", s.Azure(), azureSettingsOf(s, certID, map[string]any{"algorithm": "RS256", "x5c": true}),
			map[string]token.Secret{"certificate": secret(string(cert)), "private_key": secret(string(certKey))}},
		{"aspose", "aspose", s.Aspose(), map[string]any{"client_id": asposeID, "base_url": s.Aspose().BaseURL() + "/"}, map[string]token.Secret{"client_secret": secret(asposeSecret)}},
		{"oauth2 basic", "oauth2", s.OAuth2(), oauth2(id, "client_secret_basic"), map[string]token.Secret{"client_secret": secret(text)}},
		{"oauth2 post", "oauth2", s.OAuth2(), oauth2(id, "client_secret_post"), map[string]token.Secret{"client_secret": secret(text)}},
		{"oauth2 key", "oauth2", s.OAuth2(), oauth2(keyID, "private_key_jwt"), map[string]token.Secret{"private_key": secret(string(key))}},
		{"jwt-bearer", "jwt-bearer", s.OAuth2(),
			map[string]any{"token_url": s.OAuth2().TokenURL(), "issuer": iss, "audience": nil, "algorithm": "EdDSA"},
			map[string]token.Secret{"private_key": secret(string(grantKey))}},
	}
}

// azureSettingsOf are the settings of an application at the strict Entra ID.
func azureSettingsOf(s *providertest.Server, id string, more map[string]any) map[string]any {
	m := map[string]any{"tenant": s.Azure().Tenant(), "client_id": id, "scope": s.Azure().Scope(), "authority": s.Azure().Authority()}
	maps.Copy(m, more)
	return m
}

// open opens the trial's profile.
func (tr trial) open(t *testing.T, client *http.Client) token.Minter {
	t.Helper()
	settings := example(t, tr.kind)
	maps.Copy(settings, tr.settings)
	opened, _ := add(t, tr.kind, client, settings, tr.secrets)
	return opened.(token.Minter)
}

// add goes the way of `tokenctl add`: Prepare, then Open. Settings that are nil are
// left out.
func add(t testing.TB, kind string, client *http.Client, settings map[string]any, secrets map[string]token.Secret) (any, token.CreateProfile) {
	t.Helper()
	k, _ := Lookup(kind)
	maps.DeleteFunc(settings, func(_ string, value any) bool { return value == nil })
	a := token.CreateProfile{Name: "trial", Provider: kind, Settings: settings, Secrets: secrets}
	check(t, k.Prepare(&a))
	return must[any](t)(k.Open(decodeStrictly(a.Settings), Env{HTTP: client, Secret: secretsFrom(a.Secrets)})), a
}

func secretsFrom(kept map[string]token.Secret) func(context.Context, string) (token.Secret, error) {
	return func(_ context.Context, field string) (token.Secret, error) {
		s, ok := kept[field]
		if !ok {
			return s, &token.Error{Code: token.ErrKeystore, Field: field, Message: "nothing is kept as " + field}
		}
		return s, nil
	}
}

// example reads testdata/<kind>.toml, without the daemon's own key.
func example(t testing.TB, kind string) map[string]any {
	t.Helper()
	settings := map[string]any{}
	check(t, toml.Unmarshal(must[[]byte](t)(os.ReadFile(filepath.Join("testdata", kind+".toml"))), &settings))
	if settings["provider"] != kind {
		t.Fatalf("provider is %v", settings["provider"])
	}
	delete(settings, "provider")
	return settings
}

// decodeStrictly decodes settings as a file would be, unknown keys refused.
func decodeStrictly(settings map[string]any) func(any) error {
	return func(into any) error {
		text, err := toml.Marshal(settings)
		if err != nil {
			return err
		}
		return toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields().Decode(into)
	}
}

// opens opens a profile of these settings, without a secret or a network.
func opens(kind string, settings map[string]any) (any, error) {
	k, _ := Lookup(kind)
	return k.Open(decodeStrictly(settings), Env{HTTP: http.DefaultClient})
}

// changed is the example of a kind with another value of a setting, nil for none.
func changed(t *testing.T, kind, name string, value any) map[string]any {
	t.Helper()
	settings := example(t, kind)
	settings[name] = value
	maps.DeleteFunc(settings, func(_ string, value any) bool { return value == nil })
	return settings
}

// errorOf returns err as a *token.Error, with no code if it is not one.
func errorOf(err error) *token.Error {
	e, _ := errors.AsType[*token.Error](err)
	return cmp.Or(e, &token.Error{})
}

func TestEveryKindHasAnExampleThatOpens(t *testing.T) {
	for _, k := range Kinds {
		t.Run(k.Name, func(t *testing.T) {
			settings := example(t, k.Name)
			opened := must[any](t)(opens(k.Name, settings))
			switch opened := opened.(type) {
			case token.Minter:
				if u, err := url.Parse(opened.Endpoint()); err != nil || u.Scheme != "https" {
					t.Errorf("Endpoint is %q", opened.Endpoint())
				}
			case token.Signer, token.Verifier:
			default:
				t.Fatalf("%T can do nothing", opened)
			}
		})
	}
}

func TestEveryFieldIsDescribed(t *testing.T) {
	for _, k := range Kinds {
		if k.Doc == "" {
			t.Errorf("%s has no doc", k.Name)
		}
		seen := map[string]bool{}
		for _, f := range k.Fields() {
			switch {
			case f.Name == "" || f.Doc == "":
				t.Errorf("%s: field %+v has no name or doc", k.Name, f)
			case seen[f.Name]:
				t.Errorf("%s: %s is there twice", k.Name, f.Name)
			case f.Required && f.Default != "":
				t.Errorf("%s: %s is required and has a default", k.Name, f.Name)
			}
			seen[f.Name] = true
		}
	}
}

// keeps is an outage that keeps the form it was sent.
func keeps(form *url.Values) providertest.Fault {
	return func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		*form = r.PostForm
		providertest.Status(503, "")(w, r)
	}
}

// recorded is what an issuer was sent and must not come back in any text.
type recorded struct {
	mu   sync.Mutex
	sent []string
}

// over records the secrets of each request before f answers it.
func (rec *recorded) over(f providertest.Fault) providertest.Fault {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		form, _ := url.ParseQuery(string(body))
		rec.mu.Lock()
		for _, name := range []string{"client_secret", "client_assertion", "assertion"} {
			if v := form.Get(name); v != "" {
				rec.sent = append(rec.sent, v, url.QueryEscape(v))
				rec.sent = append(rec.sent, strings.Split(v, ".")...)
			}
		}
		if scheme, credentials, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && scheme == "Basic" {
			_, password, _ := r.BasicAuth()
			text, _ := url.QueryUnescape(password)
			rec.sent = append(rec.sent, credentials, password, text)
		}
		rec.mu.Unlock()
		r.Body = io.NopCloser(bytes.NewReader(body))
		f(w, r)
	}
}

// leaksIn finds what of it any form of err shows.
func (rec *recorded) leaksIn(err error) string {
	wire, _ := json.Marshal(err)
	texts := fmt.Sprintf("%v %+v %#v %s", err, err, err, wire)
	for e := errors.Unwrap(err); e != nil; e = errors.Unwrap(e) {
		texts += fmt.Sprintf("%v %#v", e, e)
	}
	rec.mu.Lock()
	defer rec.mu.Unlock()
	for _, s := range rec.sent {
		if s != "" && strings.Contains(texts, s) {
			return texts
		}
	}
	return ""
}

// Cases 43, 44, 47 and 48. Every kind gets the same answers, and classifies them in the same way.
func TestEveryKindThroughTheSameAnswers(t *testing.T) {
	s, client := startWithClient(t)

	var evil sync.Map
	elsewhere := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { evil.Store(r.URL.String(), true) }))
	defer elsewhere.Close()

	refuse, status, page := providertest.Refuse, providertest.Status, providertest.Answer
	const rejected, unavailable = token.ErrRejected, token.ErrUnavailable
	answers := []struct {
		name  string
		fault providertest.Fault
		code  token.Code
		oauth string
		text  string // what the message must say, after the host
	}{
		{"permanent refusal", refuse(400, "invalid_client", "no such client"), rejected, "invalid_client", "refused the request: invalid_client: no such client"},
		{"refusal as 401", refuse(401, "invalid_client", ""), rejected, "invalid_client", "refused the request: invalid_client"},
		{"refusal as plain text", page(400, "text/plain", `{"error":"invalid_client"}`), rejected, "invalid_client", "refused the request: invalid_client"},
		{"refusal as HTML", page(403, "text/html", `{"error":"invalid_grant"}`), rejected, "invalid_grant", "refused the request: invalid_grant"},
		{"refusal without a type", page(401, "", `{"error":"invalid_client"}`), rejected, "invalid_client", "refused the request: invalid_client"},
		{"another type of token", page(200, "application/json", `{"access_token":"0123456789abcdef","token_type":"mac"}`), rejected, "",
			`answered 200 OK with a token of the token_type "mac"; if it is used like Bearer, set token_type = "mac" in the profile`},
		{"refusal as 200", refuse(200, "invalid_grant", "no"), rejected, "invalid_grant", "refused the request: invalid_grant: no"},
		{"transient refusal", refuse(400, "temporarily_unavailable", ""), unavailable, "temporarily_unavailable", "refused the request: temporarily_unavailable"},
		{"outage", status(503, "30"), unavailable, "", "answered 503 Service Unavailable"},
		{"error page", status(500, ""), unavailable, "", "answered 500 Internal Server Error"},
		{"outage with OAuth error", refuse(503, "server_error", "later"), unavailable, "server_error", "answered 503 Service Unavailable: server_error: later"},
		{"rate limit", status(429, "120"), unavailable, "", "answered 429 Too Many Requests"},
		{"request timeout", status(408, ""), unavailable, "", "answered 408 Request Timeout"},
		{"firewall page", status(403, ""), unavailable, "", "answered 403 Forbidden with no OAuth error; a proxy or firewall may stand in between"},
		{"wrong path", status(404, ""), unavailable, "", "answered 404 Not Found: that URL is not a token endpoint"},
		{"login page", page(200, "text/html; charset=utf-8", "<form>"), unavailable, "", "answered 200 OK with an HTML page; a proxy or a login page may stand in between"},
		{"nonsense", page(200, "application/json", `{"access_token":`), unavailable, "", "answered 200 OK with invalid JSON"},
		{"empty", page(200, "application/json", `{}`), unavailable, "", "answered 200 OK with no access_token"},
		{"echo as refusal", providertest.Echo(401), rejected, "invalid_client", ""},
		{"echo as outage", providertest.Echo(500), unavailable, "invalid_client", ""},
		{"echo as success", providertest.Echo(200), rejected, "invalid_client", ""},
		{"redirect", providertest.Redirect(302, elsewhere.URL+"/moved"), unavailable, "",
			"answered with a redirect (302 Found), which tokend does not follow; it leads to " + strings.TrimPrefix(elsewhere.URL, "https://")},
	}
	retries := map[string]time.Duration{"outage": 30 * time.Second, "rate limit": 2 * time.Minute}
	for _, code := range []int{301, 303, 307, 308} {
		answers = append(answers, answers[len(answers)-1])
		last := &answers[len(answers)-1]
		last.name, last.fault, last.text = fmt.Sprint("redirect ", code), providertest.Redirect(code, "/elsewhere"),
			fmt.Sprintf("answered with a redirect (%s), which tokend does not follow", statusText(code))
	}

	for _, tr := range trials(t, s) {
		t.Run(tr.name, func(t *testing.T) {
			m := tr.open(t, client)
			host := must[*url.URL](t)(url.Parse(m.Endpoint())).Host
			t.Run("token", func(t *testing.T) { obtainsAGoodToken(t, m, tr.issuer, client) })
			for _, a := range answers {
				t.Run(a.name, func(t *testing.T) {
					var rec recorded
					before := tr.issuer.Requests()
					tr.issuer.Fail(rec.over(a.fault))
					defer tr.issuer.Heal()
					_, err := m.Mint(t.Context(), token.Target{})
					var e *token.Error
					if !errors.As(err, &e) || !errors.Is(err, a.code) || e.OAuth != a.oauth {
						t.Fatalf("got %#v, want %s %q", err, a.code, a.oauth)
					}
					other := map[string]string{"oauth2 basic": authPost, "oauth2 post": authBasic}[tr.name]
					if other != "" && a.oauth == "invalid_client" {
						a.text += fmt.Sprintf("; if client ID and secret are right, the issuer may want them by auth = %q", other)
					}
					if want := host + " " + a.text; !strings.HasPrefix(a.name, "echo") && a.text != "" && e.Message != want {
						t.Errorf("message is %q\nwant       %q", e.Message, want)
					}
					if got, want := time.Until(e.RetryAt).Round(10*time.Second), retries[a.name]; want > 0 && got != want || want == 0 && !e.RetryAt.IsZero() {
						t.Errorf("RetryAt is in %v, want %v", got, want)
					}
					if len(rec.sent) == 0 {
						t.Error("no secret was sent, so this proves nothing")
					}
					if leak := rec.leaksIn(err); leak != "" {
						t.Errorf("what was sent can be seen: %s", leak)
					}
					if n := tr.issuer.Requests() - before; n != 1 {
						t.Errorf("%d requests were made", n)
					}
				})
			}
			t.Run("token again", func(t *testing.T) { obtainsAGoodToken(t, m, tr.issuer, client) })
		})
	}
	evil.Range(func(url, _ any) bool { t.Errorf("a redirect was followed to %v", url); return true })
}

// obtainsAGoodToken mints one and uses it.
func obtainsAGoodToken(t *testing.T, m token.Minter, i issuer, client *http.Client) {
	t.Helper()
	before := i.Minted()
	begin := time.Now().Round(0)
	tok := must[token.Token](t)(m.Mint(t.Context(), token.Target{}))
	if i.Minted() != before+1 {
		t.Errorf("%d tokens were issued", i.Minted()-before)
	}
	if tok.Type != "Bearer" || tok.Issued.Before(begin) || tok.Life() < 59*time.Minute || tok.Issued != tok.Issued.Round(0) {
		t.Errorf("token is %+v", tok)
	}
	if tok.Skew < -2*time.Second || tok.Skew > 2*time.Second {
		t.Errorf("skew is %v on one machine", tok.Skew)
	}
	req := must[*http.Request](t)(http.NewRequest(http.MethodGet, i.APIURL()+"status", nil))
	req.Header.Set("Authorization", "Bearer "+tok.Secret.Reveal())
	res := must[*http.Response](t)(client.Do(req))
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Errorf("the API answers %s to the token", res.Status)
	}
}

func TestEveryKindWhileTheIssuerIsDown(t *testing.T) {
	s, client := startWithClient(t)
	all := trials(t, s)
	check(t, s.Stop())
	for _, tr := range all {
		m := tr.open(t, client)
		_, err := m.Mint(t.Context(), token.Target{})
		if !errors.Is(err, token.ErrUnavailable) || !strings.HasSuffix(err.Error(), " cannot be reached: it refuses connections") {
			t.Errorf("%s: %v", tr.name, err)
		}
	}
	check(t, s.Resume())
	for _, tr := range all {
		obtainsAGoodToken(t, tr.open(t, client), tr.issuer, client)
	}
}

func TestATargetIsHonouredOrRefused(t *testing.T) {
	s, client := startWithClient(t)
	scope, audience := token.Target{Scope: "api://other/.default"}, token.Target{Audience: "https://other.example"}
	refused := map[string]map[token.Target]string{
		"clms":                    {scope: "clms tokens have no scope", audience: "clms tokens have no audience"},
		"azure secret":            {audience: "azure tokens have no audience"},
		"azure certificate":       {audience: "azure tokens have no audience"},
		"azure certificate RS256": {audience: "azure tokens have no audience"},
		"aspose":                  {scope: "aspose tokens have no scope", audience: "aspose tokens have no audience"},
		"jwt-bearer":              {audience: "jwt-bearer tokens have no audience"},
	}
	for _, tr := range trials(t, s) {
		m := tr.open(t, client)
		for _, target := range []token.Target{scope, audience} {
			var form url.Values
			tr.issuer.Fail(keeps(&form))
			_, err := m.Mint(t.Context(), target)
			tr.issuer.Heal()
			if want := refused[tr.name][target]; want != "" {
				if err.Error() != want || !errors.Is(err, token.ErrInvalid) || form != nil {
					t.Errorf("%s, %+v: %v; sent %v", tr.name, target, err, form)
				}
				continue
			}
			if tr.kind == "jwt-bearer" {
				form = url.Values{"scope": {claimsOf(t, form.Get("assertion"))["scope"].(string)}}
			}
			if form.Get("scope") != target.Scope && form.Get("audience") != target.Audience {
				t.Errorf("%s, %+v: sent %v, %v", tr.name, target, form, err)
			}
		}
	}
}

func TestASecretInAFileIsRefused(t *testing.T) {
	for _, k := range Kinds {
		for _, f := range k.Fields() {
			if !f.Secret || f.Name == "certificate" {
				continue
			}
			with := changed(t, k.Name, f.Name, "canary")
			_, err := opens(k.Name, with)
			if err == nil || !strings.Contains(err.Error(), "is a secret and must not be in a file") || strings.Contains(err.Error(), "canary") {
				t.Errorf("%s, %s in the file: %v", k.Name, f.Name, err)
			}
			err = k.Prepare(&token.CreateProfile{Settings: with})
			if want := f.Name + " is a secret and cannot be a setting"; err == nil || err.Error() != want {
				t.Errorf("%s, %s as a setting: %v", k.Name, f.Name, err)
			}
		}
	}
}

func TestAMissingSettingIsNamed(t *testing.T) {
	for _, k := range Kinds {
		for _, f := range k.Fields() {
			_, err := opens(k.Name, changed(t, k.Name, f.Name, nil))
			if e := errorOf(err); f.Required && !f.Secret && (e.Field != f.Name || e.Message != f.Name+" is missing") {
				t.Errorf("%s without %s: %v", k.Name, f.Name, err)
			}
		}
	}
	_, err := opens("clms", nil)
	if err == nil || err.Error() != "client_id is missing; it comes with the service_key" {
		t.Errorf("clms without its key: %v", err)
	}
}

func TestPrepareRefuses(t *testing.T) {
	key, other := must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 2048)), must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 2048))
	leaf, cert := selfSigned(t, key, time.Now().AddDate(0, 6, 0))
	_, old := selfSigned(t, key, time.Date(2020, 1, 2, 0, 0, 0, 0, time.UTC))
	text := func(k *rsa.PrivateKey) string {
		return fixturetest.PEM("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(k))
	}
	pfx := string(must[[]byte](t)(pkcs12.Modern.Encode(key, leaf, nil, "pw")))
	certOnly := string(must[[]byte](t)(pkcs12.Modern.EncodeTrustStore([]*x509.Certificate{leaf}, "pw")))
	serviceKey := string(must[[]byte](t)(startIssuers(t).CLMS().NewServiceKey(2048)))
	with := func(name string, value any) string { return edited(t, serviceKey, map[string]any{name: value}) }

	type in = map[string]string // secrets as text; settings have a name that begins with "="
	const noKey = "private_key is not a private key that tokend can read (RSA, EC or Ed25519; PEM or DER)"
	for _, c := range []struct {
		kind, field, want string
		given             []in
	}{
		{"azure", "client_secret", "give a client_secret, or a certificate and its private_key, or a pfx and its pfx_password", []in{
			{}, {"client_secret": "abc", "certificate": cert + text(key)}, {"client_secret": "abc", "pfx": pfx}, {"client_secret": "abc", "private_key": text(key)},
			{"pfx": pfx, "private_key": text(key)}, {"private_key": text(key)}, {"pfx_password": "pw"},
		}},
		{"azure", "private_key", "give one private_key: in the certificate's file, or in a file of its own", []in{{"certificate": cert}, {"certificate": cert + text(key), "private_key": text(key)}}},
		{"azure", "private_key", "the key in private_key is not that of the certificate", []in{{"certificate": cert, "private_key": text(other)}}},
		{"azure", "certificate", "the certificate expired on 2020-01-02", []in{{"certificate": old, "private_key": text(key)}}},
		{"azure", "certificate", "certificate cannot be used: it is a file without a certificate in PEM or DER", []in{{"certificate": "abc", "private_key": text(key)}}},
		{"azure", "certificate", "certificate contains a private key and cannot be a setting", []in{{"=certificate": cert + text(key)}}},
		{"azure", "certificate", "certificate is given twice, as a setting and as a file", []in{{"certificate": cert + text(key), "=certificate": cert}}},
		{"azure", "pfx_password", "pfx_password is missing, or not the password of the pfx", []in{{"pfx": pfx}, {"pfx": pfx, "pfx_password": "px"}}},
		{"azure", "pfx", "the pfx cannot be read as PKCS #12 with one certificate and its key", []in{{"pfx": "abc"}, {"pfx": certOnly, "pfx_password": "pw"}}},
		{"azure", "client_secret", "client_secret looks like the secret's ID; use its value, which the portal shows only once, when you create the secret",
			[]in{{"client_secret": "00001111-aaaa-2222-BBBB-3333cccc4444"}}},
		{"azure", "client_secret", "client_secret contains a line break or an invisible character", []in{{"client_secret": "abc\ndef"}, {"client_secret": "abc\u200b"}, {"client_secret": "\xff\xf1"}}},
		{"azure", "client_secret", "client_secret begins or ends with a space, or is in quotes, probably from copying", []in{{"client_secret": " abc"}, {"client_secret": `"abc"`}}},
		{"azure", "client_secret", "client_secret is missing or empty", []in{{"client_secret": "\n"}}},
		{"azure", "client_secret", "client_secret is a PEM file; use the text of a secret", []in{{"client_secret": text(key)}}},

		{"clms", "service_key", "give either a service_key or a private_key", []in{{}, {"service_key": ""}, {"service_key": serviceKey, "private_key": text(key)}}},
		{"clms", "service_key", "the service key is a PEM file; use the whole JSON file", []in{{"service_key": text(key)}}},
		{"clms", "service_key", "the service key is cut off: its last brace is missing", []in{{"service_key": "{"}}},
		{"clms", "service_key", "the service key has no client_id", []in{{"service_key": with("client_id", nil)}}},
		{"clms", "service_key", "the service key has no user_id", []in{{"service_key": with("user_id", 5)}}},
		{"clms", "service_key", "the service key has no token_uri", []in{{"service_key": with("token_uri", "")}}},
		{"clms", "service_key", "the service key has no private_key", []in{{"service_key": with("private_key", nil)}}},
		{"clms", "service_key", "in the service key, " + noKey, []in{{"service_key": with("private_key", "x")}}},
		{"clms", "client_id", `client_id is "a" in the settings and "b" in the service key`, []in{{"service_key": with("client_id", "b"), "=client_id": "a"}}},
		{"clms", "servicekey", `clms has no secret "servicekey"`, []in{{"servicekey": serviceKey}}},
		{"clms", "client_id", `clms has no secret "client_id"`, []in{{"client_id": "x"}}},
		{"clms", "private_key", "private_key is a secret and cannot be a setting", []in{{"=private_key": text(key)}}},

		{"oauth2", "client_secret", "client_secret is missing or empty", []in{{}}},
		{"oauth2", "private_key", "private_key is missing", []in{{"=auth": "private_key_jwt"}}},
		{"oauth2", "private_key", `auth = "client_secret_basic" uses a client_secret, not a private_key`, []in{{"private_key": text(key)}}},
		{"oauth2", "client_secret", `auth = "private_key_jwt" uses a private_key, not a client_secret`, []in{{"=auth": "private_key_jwt", "private_key": text(key), "client_secret": "abc"}}},
		{"jwt-bearer", "private_key", "private_key is missing", []in{{}}},
		{"jwt-bearer", "client_secret", `jwt-bearer has no secret "client_secret"`, []in{{"client_secret": "abc"}}},
		{"jwt-bearer", "private_key", noKey, []in{{"private_key": "abc"}}},
		{"aspose", "client_secret", "client_secret is missing or empty", []in{{}}},
	} {
		for _, given := range c.given {
			a := token.CreateProfile{Settings: map[string]any{}, Secrets: map[string]token.Secret{}}
			for name, value := range given {
				if setting, ok := strings.CutPrefix(name, "="); ok {
					a.Settings[setting] = value
				} else {
					a.Secrets[name] = secret(value)
				}
			}
			kind, _ := Lookup(c.kind)
			wantInvalid(t, c.kind, kind.Prepare(&a), c.field, c.want)
			if len(a.Secrets)+len(a.Settings) != len(given) {
				t.Errorf("%s, %s: the request was changed", c.kind, c.want)
			}
		}
	}
}
