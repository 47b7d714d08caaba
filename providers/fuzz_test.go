package providers

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"tokend/providers/fixturetest"
	"tokend/providers/jose"
	"tokend/providers/strictjson"
	"tokend/providers/token"
)

// wantPlainError checks what every error of a provider promises: a code, one
// short line for people, and nothing of what was sent.
func wantPlainError(t *testing.T, err error, sent string, codes ...token.Code) {
	t.Helper()
	var e *token.Error
	if !errors.As(err, &e) {
		t.Fatalf("%T: %v", err, err)
	}
	text := e.Message + e.OAuth + e.Detail
	switch {
	case !slices.Contains(codes, e.Code):
		t.Fatalf("code %s: %v", e.Code, err)
	case e.Message == "" || len(text) > 4096:
		t.Fatalf("%d bytes of text", len(text))
	case strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }):
		t.Fatalf("not fit to be shown: %q", text)
	case strings.Contains(text, sent):
		t.Fatalf("it shows what was sent: %q", text)
	}
}

// Whatever a token endpoint answers, the outcome is a good token or an error
// that is fit to be shown.
func FuzzIssuerAnswer(f *testing.F) {
	const sent = "Canary8Q~0123456789abcdef"
	const good = `{"access_token":"abc","token_type":"Bearer","expires_in":3600}`
	f.Add(uint16(200), "application/json", "", "", "", []byte(good))
	for _, body := range []string{`{"token_type":"bearer","expires_in":"3599","access_token":"eyJ.e30.x","refresh_in":1800}`,
		`{"access_token":"a","access_token":"b"}`, `{"access_token":"a\nb","token_type":"Bearer","expires_in":1e999}`, "\ufeff{}", `[]`} {
		f.Add(uint16(200), "application/json", "", "", "", []byte(body))
	}
	f.Add(uint16(200), "text/html", "gzip", "", "", []byte("<form>"))
	f.Add(uint16(400), "application/json", "", "", "", []byte(`{"error":"invalid_client","error_description":"`+sent+`\u001b[31m"}`))
	f.Add(uint16(401), "application/json;charset=\"", "", "Thu, 01 Jan 1970 00:00:00 GMT", "", []byte(`{"error":"invalid_grant","error":"x"}`))
	f.Add(uint16(429), "", "", "120", "", []byte("slow down "+sent))
	f.Add(uint16(307), "", "", "", "https://attacker.example/?"+sent, []byte(nil))
	f.Add(uint16(503), "application/json", "", "99999999999999999999", "", []byte(`{"error":"\u202e`+sent+`"}`))
	f.Fuzz(func(t *testing.T, status uint16, contentType, encoding, retry, location string, body []byte) {
		requests := 0
		handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			requests++
			_, _ = io.Copy(io.Discard, r.Body)
			for name, value := range map[string]string{"Content-Type": contentType, "Content-Encoding": encoding, "Retry-After": retry, "Location": location} {
				w.Header()[name] = []string{value}
			}
			w.WriteHeader(200 + int(status)%400)
			_, _ = w.Write(body)
		})
		client := fixturetest.InProcess(handler)
		m := trial{kind: "aspose", settings: map[string]any{"client_id": "id", "base_url": "https://issuer.example"},
			secrets: map[string]token.Secret{"client_secret": secret(sent)}}.open(t, client)
		tok, err := m.Mint(t.Context(), token.Target{})
		if requests != 1 {
			t.Fatalf("%d requests", requests)
		}
		if err != nil {
			wantPlainError(t, err, sent, token.ErrUnavailable, token.ErrRejected)
			return
		}
		if life := tok.Life(); tok.Secret.IsZero() || strings.ContainsAny(tok.Secret.Reveal(), " \t\r\n\x00\x7f") || life < time.Second || life > 24*time.Hour ||
			!tok.RenewAt.IsZero() && (!tok.RenewAt.After(tok.Issued) || !tok.RenewAt.Before(tok.Expiry)) || strings.ContainsFunc(tok.Scope, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Fatalf("%+v", tok)
		}
	})
}

// Metadata lead to keys of the right issuer over https, or to nothing.
func FuzzMetadata(f *testing.F) {
	const base = "https://issuer.example"
	f.Add([]byte(`{"issuer":"https://issuer.example","jwks_uri":"https://issuer.example/jwks"}`))
	f.Add([]byte(`{"issuer":"https://attacker.example","jwks_uri":"https://issuer.example/jwks"}`))
	f.Add([]byte(`{"issuer":"https://issuer.example","jwks_uri":"http://issuer.example/jwks"}`))
	f.Add([]byte(`{"issuer":"https://issuer.example","jwks_uri":"https://user@issuer.example:0/%zz?\u0000"}`))
	f.Add([]byte(`{"issuer":"https://issuer.example","jwks_uri":"https://issuer.example#jwks"}`))
	f.Add([]byte(`{"issuer":"https://issuer.example","Issuer":"x","jwks_uri":["https://issuer.example/jwks"]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var asked []string
		handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked = append(asked, r.URL.Scheme)
			w.Header().Set("Content-Type", "application/json")
			if len(asked) == 1 {
				_, _ = w.Write(body)
				return
			}
			_, _ = io.WriteString(w, `{"keys":[]}`)
		})
		m := &metadata{client: fixturetest.InProcess(handler), issuer: base,
			urls: []string{base + "/.well-known/openid-configuration"}, mustName: true}
		_, err := m.fetch(t.Context())
		if err != nil {
			wantPlainError(t, err, "Canary", token.ErrUnavailable)
			return
		}
		o, parsed := strictjson.Parse(body)
		if parsed != nil || o.Text("issuer") != base || !strings.HasPrefix(strings.ToLower(o.Text("jwks_uri")), "https://") || len(asked) != 2 {
			t.Fatalf("%q led to %q", body, asked)
		}
	})
}

// What is handed in as a certificate becomes a key and a
// certificate that belong together, or an error that names the field.
func FuzzCertificate(f *testing.F) {
	key := must[*ecdsa.PrivateKey](f)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	_, cert := selfSigned(f, key, time.Now().Add(1000*time.Hour))
	f.Add(cert + fixturetest.PEM("PRIVATE KEY", must[[]byte](f)(x509.MarshalPKCS8PrivateKey(key))))
	f.Add(cert)
	f.Fuzz(func(t *testing.T, text string) {
		a := token.CreateProfile{Name: "a", Settings: map[string]any{"tenant": "t", "client_id": "c", "scope": "s"}, Secrets: map[string]token.Secret{"certificate": secret(text)}}
		k, _ := Lookup("azure")
		err := k.Prepare(&a)
		if err != nil {
			if e := errorOf(err); e.Code != token.ErrInvalid || e.Field == "" || strings.Contains(e.Message, "\n") {
				t.Fatalf("%v", err)
			}
			return
		}
		if text == "" {
			return // as if nothing was handed in
		}
		signer, err := jose.ParseKey(a.Secrets["private_key"].Reveal())
		check(t, err)
		chain, err := jose.ParseCertificates(a.Settings["certificate"].(string))
		if err != nil || !jose.Belongs(chain[0], signer) {
			t.Fatalf("the certificate is not that of the key: %v", err)
		}
	})
}
