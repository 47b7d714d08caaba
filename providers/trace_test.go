package providers

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"tokend/providers/providertest"
	"tokend/providers/token"
)

// No kind's trace shows what was sent or what came, whatever the issuer does.
func TestTracesShowNoSecret(t *testing.T) {
	s := startIssuers(t)
	client := clientFor(t, s.CertPEM(), HTTPConfig{})
	for _, tr := range trials(t, s) {
		m := tr.open(t, client)
		for name, fault := range map[string]providertest.Fault{
			"token": nil, "echo": providertest.Echo(401), "echoed token": echoToken, "page": providertest.Status(503, ""),
		} {
			var rec recorded
			if fault != nil {
				tr.issuer.Fail(rec.over(fault))
			}
			trace := token.NewTrace()
			tok, err := m.Mint(token.WithTrace(t.Context(), trace), token.Target{})
			tr.issuer.Heal()
			text, _ := json.Marshal(trace.Steps())
			shown := string(text)
			for _, step := range []string{`"request"`, `"connect"`, `"tls"`, `"answer"`} {
				if !strings.Contains(shown, step) {
					t.Errorf("%s, %s: there is no step %s in %s", tr.name, name, step, shown)
				}
			}
			for _, secret := range append(rec.sent, tok.Secret.Reveal()) {
				if len(secret) > 3 && strings.Contains(shown, secret) {
					t.Errorf("%s, %s: %q is in %s", tr.name, name, secret, shown)
				}
			}
			for field, secret := range tr.secrets {
				if strings.Contains(shown, strings.TrimSpace(secret.Reveal())) {
					t.Errorf("%s, %s: %s is in %s", tr.name, name, field, shown)
				}
			}
			if name == "token" && err != nil {
				t.Errorf("%s: %v", tr.name, err)
			}
		}
	}
}

// echoToken answers with what was sent where a trace shows values.
func echoToken(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	sent := r.PostForm.Get("client_secret") + r.PostForm.Get("client_assertion") + r.PostForm.Get("assertion")
	providertest.Answer(200, "application/json", fmt.Sprintf(
		`{"access_token":"x-y-z-canary","token_type":"Bearer","scope":%q,"expires_in":60,%q:1}`, sent, sent))(w, r)
}
