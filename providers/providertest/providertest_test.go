package providertest

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

func start(t *testing.T) (*Server, *http.Client) {
	t.Helper()
	s, err := Start(Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(s.CertPEM()) {
		t.Fatal("no certificate")
	}
	return s, &http.Client{
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// post sends a form and returns the status and the JSON answer.
func post(t *testing.T, c *http.Client, to string, form url.Values, change ...func(*http.Request)) (int, map[string]any) {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, to, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for _, f := range change {
		f(r)
	}
	res, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]any{}
	_ = json.Unmarshal(body, &m) // an HTML page has no members
	return res.StatusCode, m
}

type serviceKey struct {
	ClientID string `json:"client_id"`
	UserID   string `json:"user_id"`
	TokenURI string `json:"token_uri"`
	Private  string `json:"private_key"`
	key      *rsa.PrivateKey
}

func newServiceKey(t *testing.T, c *CLMS) serviceKey {
	t.Helper()
	text, err := c.NewServiceKey(2048)
	if err != nil {
		t.Fatal(err)
	}
	var k serviceKey
	if err := json.Unmarshal(text, &k); err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(k.Private))
	if k.key, err = x509.ParsePKCS1PrivateKey(block.Bytes); err != nil {
		t.Fatal(err)
	}
	return k
}

func sign(t *testing.T, method jwt.SigningMethod, key any, header, claims map[string]any) string {
	t.Helper()
	tok := jwt.NewWithClaims(method, jwt.MapClaims(claims))
	maps.Copy(tok.Header, header)
	text, err := tok.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// changed copies m with some members replaced, or removed by nil.
func changed(m, by map[string]any) map[string]any {
	m = maps.Clone(m)
	for k, v := range by {
		if m[k] = v; v == nil {
			delete(m, k)
		}
	}
	return m
}

func TestCLMSRefusesWithItsOwnTexts(t *testing.T) {
	s, client := start(t)
	k, other := newServiceKey(t, s.CLMS()), newServiceKey(t, s.CLMS())
	now := time.Now()
	claims := map[string]any{"iss": k.ClientID, "sub": k.UserID, "aud": k.TokenURI, "iat": now.Add(-30 * time.Second).Unix(), "exp": now.Add(time.Hour).Unix()}
	by := func(change map[string]any) url.Values {
		return url.Values{"grant_type": {grantJWTBearer}, "assertion": {sign(t, jwt.SigningMethodRS256, k.key, nil, changed(claims, change))}}
	}
	asserting := func(text string) url.Values {
		return url.Values{"grant_type": {grantJWTBearer}, "assertion": {text}}
	}
	asJSON := func(r *http.Request) { r.Header.Set("Content-Type", "application/json") }
	get := func(r *http.Request) { r.Method = http.MethodGet }

	for name, c := range map[string]struct {
		form        url.Values
		change      func(*http.Request)
		status      int
		oauth, text string
	}{
		"good":             {by(nil), nil, 200, "", ""},
		"GET":              {by(nil), get, 405, "invalid_request", "POST only"},
		"JSON body":        {by(nil), asJSON, 400, "invalid_request", "Missing 'grant_type'"},
		"no grant_type":    {url.Values{}, nil, 400, "invalid_request", "Missing 'grant_type'"},
		"other grant_type": {url.Values{"grant_type": {"password"}}, nil, 400, "invalid_request", "Only grant type 'urn:ietf:params:oauth:grant-type:jwt-bearer' is supported"},
		"no assertion":     {url.Values{"grant_type": {grantJWTBearer}}, nil, 400, "invalid_request", "Missing 'assertion'"},
		"HMAC with the PEM": {asserting(sign(t, jwt.SigningMethodHS256, []byte(k.Private), nil, claims)), nil, 400,
			"invalid_request", "Only RS256 signature algorithm is supported"},
		"PS256": {asserting(sign(t, jwt.SigningMethodPS256, k.key, nil, claims)), nil, 400,
			"invalid_request", "Only RS256 signature algorithm is supported"},
		"unknown iss": {by(map[string]any{"iss": "x"}), nil, 400, "invalid_grant", "No associated key found"},
		"another key": {asserting(sign(t, jwt.SigningMethodRS256, other.key, nil, claims)), nil, 400, "invalid_grant", "Signature verification failed"},
		"wrong aud":   {by(map[string]any{"aud": k.TokenURI + "/"}), nil, 400, "invalid_grant", "Audience doesn't match"},
		"no aud":      {by(map[string]any{"aud": nil}), nil, 400, "invalid_grant", `Token is missing the "aud" claim`},
		"expired":     {by(map[string]any{"exp": now.Add(-time.Minute).Unix()}), nil, 400, "invalid_grant", "Signature has expired"},
		"no exp":      {by(map[string]any{"exp": nil}), nil, 400, "invalid_grant", "Missing 'exp' claim"},
		"long exp":    {by(map[string]any{"exp": now.Add(25 * time.Hour).Unix()}), nil, 400, "invalid_grant", "JWT expiration is more than a day in the future"},
		"nbf":         {by(map[string]any{"nbf": now.Unix()}), nil, 400, "invalid_grant", "The 'nbf' claim is not suppported"},
		"no iat":      {by(map[string]any{"iat": nil}), nil, 400, "invalid_grant", "Missing 'iat' claim"},
		"old iat":     {by(map[string]any{"iat": now.Add(-61 * time.Minute).Unix()}), nil, 400, "invalid_grant", "JWT was issued more than an hour in the past"},
		"early iat":   {by(map[string]any{"iat": now.Add(30 * time.Second).Unix()}), nil, 400, "invalid_grant", "The token is not yet valid (iat)"},
		"future iat":  {by(map[string]any{"iat": now.Add(5 * time.Minute).Unix()}), nil, 400, "invalid_grant", "JWT issue time is in the future"},
		"scope":       {by(map[string]any{"scope": "x"}), nil, 400, "invalid_grant", "Scopes are not supported yet"},
		"wrong sub":   {by(map[string]any{"sub": "x"}), nil, 400, "invalid_grant", "JWT subject doesn't match user_id of service key."},
		"malformed":   {asserting("x.y"), nil, 500, "", ""},
		"no iss":      {by(map[string]any{"iss": nil}), nil, 500, "", ""},
	} {
		change := c.change
		if change == nil {
			change = func(*http.Request) {}
		}
		status, m := post(t, client, s.CLMS().TokenURI(), c.form, change)
		if status != c.status || fmt.Sprint(m["error"], m["error_description"]) != fmt.Sprint(orNil(c.oauth), orNil(c.text)) {
			t.Errorf("%s: %d %v", name, status, m)
		}
		if text, _ := m["access_token"].(string); (c.status == 200) != (len(text) >= 86) {
			t.Errorf("%s: access_token is %q", name, text)
		}
	}
	if s.CLMS().Minted() != 1 {
		t.Errorf("%d tokens were issued", s.CLMS().Minted())
	}
}

// orNil is what an absent member prints as.
func orNil(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func TestAzureRefusesWithItsOwnCodes(t *testing.T) {
	s, client := start(t)
	az := s.Azure()
	id, secret := az.NewSecret()
	expired, expiredSecret := az.NewSecret()
	az.ExpireSecret(expired)
	disabled, disabledSecret := az.NewSecret()
	az.Disable(disabled)
	certID, cert, keyText, err := az.NewCertificate(2048)
	if err != nil {
		t.Fatal(err)
	}
	certDER, _ := pem.Decode(cert)
	keyDER, _ := pem.Decode(keyText)
	parsed, err := x509.ParsePKCS8PrivateKey(keyDER.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(certDER.Bytes)
	header := map[string]any{"x5t#S256": base64.RawURLEncoding.EncodeToString(sum[:])}
	now := time.Now()
	n := 0
	claims := func(by map[string]any) map[string]any {
		n++
		return changed(map[string]any{"iss": certID, "sub": certID, "aud": az.TokenURL(), "nbf": now.Unix(), "exp": now.Add(10 * time.Minute).Unix(), "jti": fmt.Sprint(n)}, by)
	}
	form := func(by map[string]any) url.Values {
		f := url.Values{}
		for k, v := range changed(map[string]any{"grant_type": "client_credentials", "client_id": id, "client_secret": secret, "scope": az.Scope()}, by) {
			f.Set(k, v.(string))
		}
		return f
	}
	asserting := func(text string) url.Values {
		return form(map[string]any{"client_id": certID, "client_secret": nil, "client_assertion": text,
			"client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"})
	}
	ps256 := func(key any, header, claims map[string]any) url.Values {
		return asserting(sign(t, jwt.SigningMethodPS256, key, header, claims))
	}
	std := map[string]any{"x5t#S256": base64.StdEncoding.EncodeToString(sum[:])}
	once := ps256(parsed, header, claims(nil))

	for _, c := range []struct {
		name   string
		form   url.Values
		tenant string
		code   string
	}{
		{"secret", form(nil), az.Tenant(), ""},
		{"certificate", once, az.Tenant(), ""},
		{"certificate, MSAL's spelling", ps256(parsed, std, claims(nil)), az.Tenant(), ""},
		{"the same assertion again", once, az.Tenant(), "50012"},
		{"other tenant", form(nil), "other.example", "90002"},
		{"wrong secret", form(map[string]any{"client_secret": "x"}), az.Tenant(), "7000215"},
		{"expired secret", form(map[string]any{"client_id": expired, "client_secret": expiredSecret}), az.Tenant(), "7000222"},
		{"disabled", form(map[string]any{"client_id": disabled, "client_secret": disabledSecret}), az.Tenant(), "7000112"},
		{"unknown application", form(map[string]any{"client_id": "x"}), az.Tenant(), "700016"},
		{"no secret", form(map[string]any{"client_secret": nil}), az.Tenant(), "7000218"},
		{"no scope", form(map[string]any{"scope": nil}), az.Tenant(), "900144"},
		{"two scopes", form(map[string]any{"scope": "a/.default b/.default"}), az.Tenant(), "70011"},
		{"no .default", form(map[string]any{"scope": "api://resource"}), az.Tenant(), "1002012"},
		{"unknown resource", form(map[string]any{"scope": "https://x/.default"}), az.Tenant(), "500011"},
		{"other grant", form(map[string]any{"grant_type": "password"}), az.Tenant(), "70003"},
		{"another key", ps256(stranger, header, claims(nil)), az.Tenant(), "700027"},
		{"no thumbprint", ps256(parsed, nil, claims(nil)), az.Tenant(), "700027"},
		{"RS256 with x5t#S256", asserting(sign(t, jwt.SigningMethodRS256, parsed, header, claims(nil))), az.Tenant(), "700027"},
		{"HS256", asserting(sign(t, jwt.SigningMethodHS256, cert, header, claims(nil))), az.Tenant(), "700027"},
		{"other aud", ps256(parsed, header, claims(map[string]any{"aud": "x"})), az.Tenant(), "50012"},
		{"other sub", ps256(parsed, header, claims(map[string]any{"sub": "x"})), az.Tenant(), "50012"},
		{"no jti", ps256(parsed, header, claims(map[string]any{"jti": nil})), az.Tenant(), "50012"},
		{"expired", ps256(parsed, header, claims(map[string]any{"exp": now.Add(-time.Hour).Unix()})), az.Tenant(), "700024"},
		{"not yet", ps256(parsed, header, claims(map[string]any{"nbf": now.Add(time.Hour).Unix()})), az.Tenant(), "700024"},
		{"no JWT", asserting("x"), az.Tenant(), "50012"},
	} {
		status, m := post(t, client, "https://"+az.Authority()+"/"+c.tenant+"/oauth2/v2.0/token", c.form)
		text, _ := m["error_description"].(string)
		if (c.code == "") != (status == 200) || c.code != "" && !strings.HasPrefix(text, "AADSTS"+c.code+": ") {
			t.Errorf("%s: %d %v", c.name, status, m)
		}
		if c.code != "" && fmt.Sprint(m["error_codes"]) != "["+number(c.code)+"]" {
			t.Errorf("%s: error_codes is %v", c.name, m["error_codes"])
		}
		if tok, _ := m["access_token"].(string); c.code == "" && !strings.HasPrefix(tok, "eyJ") {
			t.Errorf("%s: access_token is %q", c.name, tok)
		}
	}
}

// number is a code as fmt prints the float64 of it.
func number(code string) string {
	var n float64
	_ = json.Unmarshal([]byte(code), &n)
	return fmt.Sprint(n)
}

func TestAsposeRefuses(t *testing.T) {
	s, client := start(t)
	id, secret := s.Aspose().NewClient()
	good := url.Values{"grant_type": {"client_credentials"}, "client_id": {id}, "client_secret": {secret}}
	to := s.Aspose().BaseURL() + "/connect/token"
	if status, m := post(t, client, to, good); status != 200 || m["expires_in"] != 86400.0 {
		t.Errorf("%d %v", status, m)
	}
	with := func(name string, value ...string) url.Values {
		form := maps.Clone(good)
		form[name] = value
		return form
	}
	asJSON := func(r *http.Request) { r.Header.Set("Content-Type", "application/json") }
	get := func(r *http.Request) { r.Method = http.MethodGet }
	as := func(*http.Request) {}
	for name, c := range map[string]struct {
		form   url.Values
		change func(*http.Request)
		error  string
	}{
		"GET":                          {good, get, "invalid_request"},
		"JSON body":                    {good, asJSON, "invalid_request"},
		"nothing":                      {url.Values{}, as, "invalid_client"},
		"no secret":                    {with("client_secret"), as, "invalid_client"},
		"wrong secret":                 {with("client_secret", "x"), as, "invalid_client"},
		"swapped":                      {url.Values{"grant_type": {"client_credentials"}, "client_id": {secret}, "client_secret": {id}}, as, "invalid_client"},
		"wrong secret and other grant": {url.Values{"grant_type": {"password"}, "client_id": {id}}, as, "invalid_client"},
		"other grant":                  {with("grant_type", "password"), as, "unsupported_grant_type"},
		"no grant":                     {with("grant_type"), as, "unsupported_grant_type"},
	} {
		if status, m := post(t, client, to, c.form, c.change); status != 400 || len(m) != 1 || m["error"] != c.error {
			t.Errorf("%s: %d %v", name, status, m)
		}
	}
}

func TestOAuth2Refuses(t *testing.T) {
	s, client := start(t)
	o := s.OAuth2()
	id, secret := o.NewClient()
	encoded := func(r *http.Request) { r.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret)) }
	plain := func(r *http.Request) { r.SetBasicAuth(id, secret) }
	nothing := func(*http.Request) {}
	for name, c := range map[string]struct {
		form   url.Values
		change func(*http.Request)
		status int
		code   string
	}{
		"basic":           {url.Values{"grant_type": {"client_credentials"}}, encoded, 200, ""},
		"post":            {url.Values{"grant_type": {"client_credentials"}, "client_id": {id}, "client_secret": {secret}}, nothing, 200, ""},
		"basic unencoded": {url.Values{"grant_type": {"client_credentials"}}, plain, 401, "invalid_client"},
		"both":            {url.Values{"grant_type": {"client_credentials"}, "client_id": {id}, "client_secret": {secret}}, encoded, 400, "invalid_request"},
		"wrong secret":    {url.Values{"grant_type": {"client_credentials"}, "client_id": {id}, "client_secret": {"x"}}, nothing, 400, "invalid_client"},
		"repeated":        {url.Values{"grant_type": {"client_credentials", "client_credentials"}}, encoded, 400, "invalid_request"},
		"no grant":        {url.Values{}, encoded, 400, "invalid_request"},
		"other grant":     {url.Values{"grant_type": {"password"}}, encoded, 400, "unsupported_grant_type"},
		"GET":             {url.Values{"grant_type": {"client_credentials"}}, func(r *http.Request) { encoded(r); r.Method = "GET" }, 400, "invalid_request"},
	} {
		if status, m := post(t, client, o.TokenURL(), c.form, c.change); status != c.status || fmt.Sprint(m["error"]) != fmt.Sprint(orNil(c.code)) {
			t.Errorf("%s: %d %v", name, status, m)
		}
	}

	iss, keyText, err := o.NewGrantKey("ES256")
	if err != nil {
		t.Fatal(err)
	}
	key, err := jwt.ParseECPrivateKeyFromPEM(keyText)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	claims := map[string]any{"iss": iss, "aud": o.TokenURL(), "iat": now.Add(-time.Minute).Unix(), "exp": now.Add(time.Minute).Unix(), "jti": "1"}
	for _, c := range []struct {
		change map[string]any
		text   string
	}{
		{nil, ""},
		{nil, "jti must be new"},
		{map[string]any{"jti": nil}, "jti must be new"},
		{map[string]any{"iss": "x"}, "unknown iss"},
		{map[string]any{"aud": "x"}, "aud must be the token endpoint"},
		{map[string]any{"exp": now.Add(2 * time.Hour).Unix()}, "exp must be within an hour"},
		{map[string]any{"exp": nil}, "exp must be within an hour"},
		{map[string]any{"iat": now.Add(time.Minute).Unix()}, "iat must be in the past"},
	} {
		form := url.Values{"grant_type": {grantJWTBearer}, "assertion": {sign(t, jwt.SigningMethodES256, key, nil, changed(claims, c.change))}}
		if _, m := post(t, client, o.TokenURL(), form); fmt.Sprint(m["error_description"]) != fmt.Sprint(orNil(c.text)) {
			t.Errorf("%v: %v", c.change, m)
		}
	}
	form := url.Values{"grant_type": {grantJWTBearer}, "assertion": {sign(t, jwt.SigningMethodHS256, keyText, nil, claims)}}
	if _, m := post(t, client, o.TokenURL(), form); m["error_description"] != "alg must be ES256" {
		t.Errorf("HS256: %v", m)
	}
}

func TestTheAPITakesCurrentTokensOnly(t *testing.T) {
	s, client := start(t)
	id, secret := s.Aspose().NewClient()
	mint := func() string {
		_, m := post(t, client, s.Aspose().BaseURL()+"/connect/token",
			url.Values{"grant_type": {"client_credentials"}, "client_id": {id}, "client_secret": {secret}})
		return m["access_token"].(string)
	}
	ask := func(to, token string) (int, string, string) {
		r, err := http.NewRequest(http.MethodGet, to, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		res, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		return res.StatusCode, res.Header.Get("WWW-Authenticate"), string(body)
	}
	aspose := s.Aspose().APIURL() + "words"
	token := mint()
	if status, _, _ := ask(aspose, token); status != 200 {
		t.Errorf("a good token: %d", status)
	}
	if status, challenge, _ := ask(aspose, "x"); status != 401 || challenge != `Bearer error="invalid_token"` {
		t.Errorf("an unknown token: %d %s", status, challenge)
	}
	if status, _, body := ask(s.CLMS().APIURL(), token); status != 401 || !strings.Contains(body, `"type":"Unauthorized"`) {
		t.Errorf("another issuer's token at CLMS: %d %s", status, body)
	}
	s.Aspose().SetLifetime(0)
	if status, challenge, _ := ask(aspose, mint()); status != 401 || !strings.Contains(challenge, "The access token expired") {
		t.Errorf("an expired token: %d %s", status, challenge)
	}
	s.Aspose().RevokeTokens()
	if status, _, _ := ask(aspose, token); status != 401 {
		t.Errorf("a revoked token: %d", status)
	}

	k := newServiceKey(t, s.CLMS())
	s.CLMS().SetLifetime(0)
	now := time.Now()
	_, m := post(t, client, k.TokenURI, url.Values{"grant_type": {grantJWTBearer}, "assertion": {sign(t, jwt.SigningMethodRS256, k.key, nil,
		map[string]any{"iss": k.ClientID, "sub": k.UserID, "aud": k.TokenURI, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()})}})
	status, challenge, body := ask(s.CLMS().APIURL(), m["access_token"].(string))
	if status != 401 || challenge != "" || strings.TrimSpace(body) != `{"error":"invalid_token","error_description":"Access token expired"}` {
		t.Errorf("an expired token at CLMS: %d %s %s", status, challenge, body)
	}
}

func TestAStoppedServerRefusesConnectionsAndResumesOnItsPort(t *testing.T) {
	s, client := start(t)
	id, secret := s.Aspose().NewClient()
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {id}, "client_secret": {secret}}
	to := s.Aspose().BaseURL() + "/connect/token"
	if err := s.Resume(); err == nil {
		t.Error("a running server can be resumed")
	}
	for range 2 {
		if err := s.Stop(); err != nil {
			t.Fatal(err)
		}
		if _, err := client.PostForm(to, form); err == nil || !strings.Contains(err.Error(), "refused") {
			t.Fatalf("stopped: %v", err)
		}
		if err := s.Resume(); err != nil {
			t.Fatal(err)
		}
		if status, m := post(t, client, to, form); status != 200 {
			t.Fatalf("resumed: %d %v", status, m)
		}
	}
	if s.Aspose().Minted() != 2 {
		t.Errorf("%d tokens were issued", s.Aspose().Minted())
	}
}

func TestAHangingIssuerHoldsOnlyItsOwn(t *testing.T) {
	s, client := start(t)
	release := make(chan struct{})
	s.OAuth2().Fail(Hang(release))
	held := make(chan int)
	go func() {
		res, err := client.PostForm(s.OAuth2().TokenURL(), url.Values{})
		if err != nil {
			held <- 0
			return
		}
		res.Body.Close()
		held <- res.StatusCode
	}()
	if status, _ := post(t, client, s.Aspose().BaseURL()+"/connect/token", url.Values{}); status != 400 {
		t.Errorf("aspose answers %d", status)
	}
	select {
	case status := <-held:
		t.Errorf("the hanging issuer answered %d", status)
	default:
	}
	close(release)
	if status := <-held; status != http.StatusServiceUnavailable {
		t.Errorf("the released issuer answers %d", status)
	}
}

func TestItIsAPlainLibrary(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	if deps := strings.Fields(string(out)); slices.Contains(deps, "testing") || !slices.Contains(deps, "net/http") {
		t.Error("it imports testing")
	}
}
