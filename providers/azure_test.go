package providers

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"tokend/providers/fixturetest"
	"tokend/providers/providertest"
	"tokend/providers/token"
)

// Every code that a client credentials request can meet, with what becomes of
// it.
func TestAADSTSCodes(t *testing.T) {
	s, client := startWithClient(t)
	m := trials(t, s)[1].open(t, client)
	passing := strings.Fields("700024 90033 90006 50196")
	for _, number := range append(strings.Fields("7000215 7000222 700016 90002 70011 1002012 500011 700027 50012 7000112 53003"), passing...) {
		want := token.ErrRejected
		if slices.Contains(passing, number) {
			want = token.ErrUnavailable
		}
		s.Azure().Fail(providertest.AADSTS(number))
		_, err := m.Mint(t.Context(), token.Target{})
		e := errorOf(err)
		begin := s.Azure().Authority() + " refused the request: " + e.OAuth + ": AADSTS" + number + ": "
		if e.Code != want || e.OAuth == "" || e.Detail != "AADSTS"+number || e.Topic != e.Detail ||
			!strings.HasPrefix(e.Message, begin) || strings.Contains(e.Message, "Trace ID") {
			t.Errorf("%s: got %+v", number, *e)
		}
	}

	s.Azure().Fail(providertest.AADSTS("4711"))
	_, err := m.Mint(t.Context(), token.Target{})
	if e := errorOf(err); e.Detail != "AADSTS4711" || e.Topic != "invalid_request" || !strings.Contains(e.Message, "invalid_request: AADSTS4711: The request body") {
		t.Errorf("a code without an explanation: %v", err)
	}
	for _, description := range []string{"AADSTS: wrong", "AADSTS123456789012345", "see AADSTS7000215"} {
		r := &refusal{description: description}
		if explainAADSTS(r); r.detail != "" {
			t.Errorf("%s: %q", description, r.detail)
		}
	}
}

// What the issuer itself refuses of ours comes through.
func TestAzureRefusesWhatDoesNotFit(t *testing.T) {
	s, client := startWithClient(t)
	az := s.Azure()
	id, text := az.NewSecret()
	expired, expiredText := az.NewSecret()
	az.ExpireSecret(expired)
	disabled, disabledText := az.NewSecret()
	az.Disable(disabled)
	certID, _, _, err := az.NewCertificate(2048)
	check(t, err)
	_, otherCert, otherKey, err := az.NewCertificate(2048)
	check(t, err)
	clientSecret := func(text string) map[string]token.Secret {
		return map[string]token.Secret{"client_secret": secret(text)}
	}
	for name, c := range map[string]struct {
		settings map[string]any
		secrets  map[string]token.Secret
		detail   string
	}{
		"wrong secret":      {nil, clientSecret("wrong"), "AADSTS7000215"},
		"expired secret":    {map[string]any{"client_id": expired}, clientSecret(expiredText), "AADSTS7000222"},
		"disabled":          {map[string]any{"client_id": disabled}, clientSecret(disabledText), "AADSTS7000112"},
		"no such app":       {map[string]any{"client_id": "other"}, clientSecret(text), "AADSTS700016"},
		"no such tenant":    {map[string]any{"tenant": "other.example"}, clientSecret(text), "AADSTS90002"},
		"no such resource":  {map[string]any{"scope": "https://other.example/.default"}, clientSecret(text), "AADSTS500011"},
		"wrong certificate": {map[string]any{"client_id": certID}, map[string]token.Secret{"certificate": secret(string(otherCert) + string(otherKey))}, "AADSTS700027"},
	} {
		all := azureSettingsOf(s, id, c.settings)
		_, err := trial{kind: "azure", settings: all, secrets: c.secrets}.open(t, client).Mint(t.Context(), token.Target{})
		if e := errorOf(err); e.Code != token.ErrRejected || e.Detail != c.detail {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The URL of the endpoint will do for the tenant, and a domain of a national cloud
// names that cloud's service.
func TestAzureEndpointsAreTakenApart(t *testing.T) {
	for given, want := range map[[2]string]string{
		{"t.example", ""}: "https://login.microsoftonline.com/t.example", {"t.example", "login.example"}: "https://login.example/t.example",
		{"https://login.microsoftonline.com/t.example/oauth2/v2.0/token", ""}:                        "https://login.microsoftonline.com/t.example",
		{"https://login.microsoftonline.us/t.example", ""}:                                           "https://login.microsoftonline.us/t.example",
		{"https://login.microsoftonline.us/t.example/oauth2/v2.0/token", "login.microsoftonline.us"}: "https://login.microsoftonline.us/t.example",
		{"contoso.onmicrosoft.us", ""}:                                                               "https://login.microsoftonline.us/contoso.onmicrosoft.us",
		{"contoso.partner.onmschina.cn", ""}:                                                         "https://login.partner.microsoftonline.cn/contoso.partner.onmschina.cn",
		{"https://login.a.example/t/oauth2/token", "login.b.example"}:                                "", {"http://login.microsoftonline.com/t", ""}: "", {"https://u@login.a.example/t", ""}: "",
		{"https://login.a.example/common/oauth2/v2.0/token", ""}: "", {"https://login.a.example", ""}: "",
	} {
		with := map[string]any{"tenant": given[0], "client_id": "c", "scope": "s/.default"}
		if given[1] != "" {
			with["authority"] = given[1]
		}
		opened, err := opens("azure", with)
		if want == "" {
			if errorOf(err).Field != "tenant" {
				t.Errorf("%q: %v, %v", given, opened, err)
			}
			continue
		}
		if m, ok := opened.(*minter); !ok || m.Endpoint() != want+"/oauth2/v2.0/token" {
			t.Errorf("%q: %v, %v", given, opened, err)
		}
	}
}

// A resource is an identifier, to be used as it stands, however it looks.
func TestAzureResourcesStayAsTheyAre(t *testing.T) {
	s, client := startWithClient(t)
	m := trials(t, s)[1].open(t, client)
	_, err := m.Mint(t.Context(), token.Target{Scope: "api://x"})
	wantInvalid(t, "target", err, "scope", `scope "api://x" must end in /.default: "api://x/.default"`)
	for _, resource := range []string{"https://database.windows.net/", "https://database.windows.net", "api://A/b//", "API://x"} {
		var form url.Values
		s.Azure().Fail(keeps(&form))
		_, _ = m.Mint(t.Context(), token.Target{Scope: resource + "/.default"})
		if got := form.Get("scope"); got != resource+"/.default" {
			t.Errorf("%s: asks for %s", resource, got)
		}
	}
}

func TestAzureAssertion(t *testing.T) {
	s, client := startWithClient(t)
	az := s.Azure()
	id, cert, key, err := az.NewCertificate(2048)
	check(t, err)
	block, _ := pem.Decode(cert)
	strong, weak := sha256.Sum256(block.Bytes), sha1.Sum(block.Bytes)
	var form url.Values
	az.Fail(keeps(&form))
	for _, c := range []struct {
		settings map[string]any
		header   map[string]any
	}{
		{nil, map[string]any{"alg": "PS256", "typ": "JWT", "x5t#S256": base64.RawURLEncoding.EncodeToString(strong[:])}},
		{map[string]any{"algorithm": "RS256"}, map[string]any{"alg": "RS256", "typ": "JWT", "x5t": base64.RawURLEncoding.EncodeToString(weak[:])}},
		{map[string]any{"x5c": true}, map[string]any{"alg": "PS256", "typ": "JWT", "x5t#S256": base64.RawURLEncoding.EncodeToString(strong[:]),
			"x5c": base64.StdEncoding.EncodeToString(block.Bytes)}},
	} {
		all := azureSettingsOf(s, id, c.settings)
		m := trial{kind: "azure", settings: all, secrets: map[string]token.Secret{"certificate": secret(string(cert) + string(key))}}.open(t, client)
		jtis := map[any]bool{}
		for range 2 {
			now := time.Now().Unix()
			_, _ = m.Mint(t.Context(), token.Target{})
			header := headerOf(t, form.Get("client_assertion"))
			if chain, ok := header["x5c"].([]any); ok && len(chain) == 1 {
				header["x5c"] = chain[0]
			}
			if len(header) != len(c.header) {
				t.Errorf("header is %v", header)
			}
			for k, v := range c.header {
				if header[k] != v {
					t.Errorf("%s is %v, want %v", k, header[k], v)
				}
			}
			claims := claimsOf(t, form.Get("client_assertion"))
			nbf, _ := claims["nbf"].(float64)
			exp, _ := claims["exp"].(float64)
			if len(claims) != 6 || claims["iss"] != id || claims["sub"] != id || claims["aud"] != az.TokenURL() || exp-nbf != 600 {
				t.Errorf("claims are %v", claims)
			}
			if late := int64(nbf) - now; late < 0 || late > 1 {
				t.Errorf("nbf is %d s from now", late)
			}
			jtis[claims["jti"]] = true
		}
		if len(jtis) != 2 {
			t.Error("a jti was used twice")
		}
	}
}

func TestAzureTellsWhenTheCertificateEnds(t *testing.T) {
	s, client := startWithClient(t)
	ends := func(tr trial) time.Time {
		return tr.open(t, client).(interface{ CredentialExpires() time.Time }).CredentialExpires()
	}
	all := trials(t, s)
	if at := ends(all[1]); !at.IsZero() {
		t.Errorf("a client secret ends at %v", at)
	}
	if left := time.Until(ends(all[2])); left < 364*24*time.Hour || left > 367*24*time.Hour {
		t.Errorf("the certificate has %v left", left)
	}
}

// selfSigned makes a certificate for a key, and its PEM.
func selfSigned(t testing.TB, key crypto.Signer, until time.Time) (*x509.Certificate, string) {
	t.Helper()
	made, text, err := fixturetest.SelfSigned(key, until)
	return must[*x509.Certificate](t)(made, err), text
}

func TestAzurePrepareTakesEachFormOfACertificate(t *testing.T) {
	key := must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 2048))
	ca := must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 2048))
	leaf, leafPEM := selfSigned(t, key, time.Now().AddDate(0, 6, 0))
	root, rootPEM := selfSigned(t, ca, time.Now().AddDate(0, 6, 0))
	der := must[[]byte](t)(x509.MarshalPKCS8PrivateKey(key))
	keyPEM := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	modern := string(must[[]byte](t)(pkcs12.Modern.Encode(key, leaf, []*x509.Certificate{root}, "pw")))
	legacy := string(must[[]byte](t)(pkcs12.LegacyDES.Encode(key, leaf, nil, "")))

	k, _ := Lookup("azure")
	for name, c := range map[string]struct {
		secrets  map[string]string
		settings map[string]any
		chain    int
	}{
		"one PEM":           {map[string]string{"certificate": leafPEM + keyPEM}, nil, 1},
		"key first":         {map[string]string{"certificate": keyPEM + leafPEM}, nil, 1},
		"chain, CA first":   {map[string]string{"certificate": rootPEM + leafPEM + keyPEM}, nil, 2},
		"two PEMs":          {map[string]string{"certificate": leafPEM, "private_key": keyPEM}, nil, 1},
		"key in DER":        {map[string]string{"certificate": leafPEM, "private_key": string(der)}, nil, 1},
		"key in base64 DER": {map[string]string{"certificate": leafPEM, "private_key": base64.StdEncoding.EncodeToString(der)}, nil, 1},
		"setting":           {map[string]string{"private_key": keyPEM}, map[string]any{"certificate": leafPEM}, 1},
		"PFX":               {map[string]string{"pfx": modern, "pfx_password": "pw"}, nil, 2},
		"PFX in base64":     {map[string]string{"pfx": base64.StdEncoding.EncodeToString([]byte(modern)) + "\n", "pfx_password": "pw\n"}, nil, 2},
		"old PFX":           {map[string]string{"pfx": legacy}, nil, 1},
	} {
		a := handed(c.settings, c.secrets)
		if err := k.Prepare(&a); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(a.Secrets) != 1 || a.Secrets["private_key"].Reveal() != string(der) {
			t.Errorf("%s: what is kept is not the key alone", name)
		}
		kept := a.Settings["certificate"].(string)
		if !strings.HasPrefix(kept, leafPEM) || strings.Count(kept, "BEGIN") != c.chain || strings.Contains(kept, "PRIVATE") {
			t.Errorf("%s: certificate is\n%s", name, kept)
		}
	}
}
