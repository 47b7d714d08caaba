package providers

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"tokend/providers/providertest"
	"tokend/providers/token"
)

// Every code that a client credentials request can meet, with what becomes of
// it.
func TestAADSTSCodes(t *testing.T) {
	s := startIssuers(t)
	m := trials(t, s)[1].open(t, clientFor(t, s.CertPEM(), HTTPConfig{}))
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
	s := startIssuers(t)
	az := s.Azure()
	client := clientFor(t, s.CertPEM(), HTTPConfig{})
	id, text := az.NewSecret()
	expired, expiredText := az.NewSecret()
	az.ExpireSecret(expired)
	disabled, disabledText := az.NewSecret()
	az.Disable(disabled)
	certID, _, _, err := az.NewCertificate(2048)
	if err != nil {
		t.Fatal(err)
	}
	_, otherCert, otherKey, err := az.NewCertificate(2048)
	if err != nil {
		t.Fatal(err)
	}
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
	s := startIssuers(t)
	m := trials(t, s)[1].open(t, clientFor(t, s.CertPEM(), HTTPConfig{}))
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
	s := startIssuers(t)
	az := s.Azure()
	client := clientFor(t, s.CertPEM(), HTTPConfig{})
	id, cert, key, err := az.NewCertificate(2048)
	if err != nil {
		t.Fatal(err)
	}
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
	s := startIssuers(t)
	client := clientFor(t, s.CertPEM(), HTTPConfig{})
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
func selfSigned(t *testing.T, key *rsa.PrivateKey, until time.Time) (*x509.Certificate, string) {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: until.Add(-48 * time.Hour), NotAfter: until}
	der := must[[]byte](t)(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))
	return must[*x509.Certificate](t)(x509.ParseCertificate(der)), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
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

func TestAzurePrepareRefuses(t *testing.T) {
	key := must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 2048))
	other := must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 2048))
	leaf, cert := selfSigned(t, key, time.Now().AddDate(0, 6, 0))
	_, old := selfSigned(t, key, time.Date(2020, 1, 2, 0, 0, 0, 0, time.UTC))
	text := func(k *rsa.PrivateKey) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(k)}))
	}
	pfx := string(must[[]byte](t)(pkcs12.Modern.Encode(key, leaf, nil, "pw")))
	k, _ := Lookup("azure")
	const (
		choice   = "give a client_secret, or a certificate and its private_key, or a pfx and its pfx_password"
		oneKey   = "give one private_key: in the certificate's file, or in a file of its own"
		password = "pfx_password is missing, or not the password of the pfx"
	)
	for name, c := range map[string]struct {
		secrets     map[string]string
		settings    map[string]any
		field, want string
	}{
		"nothing":                {nil, nil, "client_secret", choice},
		"secret and certificate": {map[string]string{"client_secret": "abc", "certificate": cert + text(key)}, nil, "client_secret", choice},
		"secret and PFX":         {map[string]string{"client_secret": "abc", "pfx": pfx}, nil, "client_secret", choice},
		"secret and key":         {map[string]string{"client_secret": "abc", "private_key": text(key)}, nil, "client_secret", choice},
		"PFX and key":            {map[string]string{"pfx": pfx, "private_key": text(key)}, nil, "client_secret", choice},
		"key alone":              {map[string]string{"private_key": text(key)}, nil, "client_secret", choice},
		"password alone":         {map[string]string{"pfx_password": "pw"}, nil, "client_secret", choice},
		"certificate alone":      {map[string]string{"certificate": cert}, nil, "private_key", oneKey},
		"two keys":               {map[string]string{"certificate": cert + text(key), "private_key": text(key)}, nil, "private_key", oneKey},
		"another key": {map[string]string{"certificate": cert, "private_key": text(other)}, nil, "private_key",
			"the key in private_key is not that of the certificate"},
		"expired": {map[string]string{"certificate": old, "private_key": text(key)}, nil, "certificate",
			"the certificate expired on 2020-01-02"},
		"no PEM": {map[string]string{"certificate": "abc", "private_key": text(key)}, nil, "certificate",
			"certificate cannot be used: it contains no certificate in PEM or DER"},
		"key as a setting": {nil, map[string]any{"certificate": cert + text(key)}, "certificate",
			"certificate contains a private key and cannot be a setting"},
		"certificate twice": {map[string]string{"certificate": cert + text(key)}, map[string]any{"certificate": cert}, "certificate",
			"certificate is given twice, as a setting and as a file"},
		"no password":       {map[string]string{"pfx": pfx}, nil, "pfx_password", password},
		"wrong password":    {map[string]string{"pfx": pfx, "pfx_password": "px"}, nil, "pfx_password", password},
		"no PFX":            {map[string]string{"pfx": "abc"}, nil, "pfx", "the pfx cannot be read as PKCS #12 with one certificate and its key"},
		"ID for value":      {map[string]string{"client_secret": "00001111-aaaa-2222-BBBB-3333cccc4444"}, nil, "client_secret", "client_secret looks like the secret's ID; use its value, which the portal shows only once, when you create the secret"},
		"line in secret":    {map[string]string{"client_secret": "abc\ndef"}, nil, "client_secret", "client_secret contains a line break or an invisible character"},
		"space in secret":   {map[string]string{"client_secret": " abc"}, nil, "client_secret", "client_secret begins or ends with a space, which is a sign of a slip in copying"},
		"hidden in secret":  {map[string]string{"client_secret": "abc\u200b"}, nil, "client_secret", "client_secret contains a line break or an invisible character"},
		"newline as secret": {map[string]string{"client_secret": "\n"}, nil, "client_secret", "client_secret is empty"},
		"bytes as secret":   {map[string]string{"client_secret": "\xff\xf1"}, nil, "client_secret", "client_secret contains a line break or an invisible character"},
		"PEM as secret":     {map[string]string{"client_secret": text(key)}, nil, "client_secret", "client_secret is a PEM file; use the text of a secret"},
	} {
		a := handed(c.settings, c.secrets)
		wantInvalid(t, name, k.Prepare(&a), c.field, c.want)
	}
}
