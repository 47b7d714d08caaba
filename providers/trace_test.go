package providers

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"tokend/providers/providertest"
	"tokend/providers/token"
)

// No kind's trace shows what was sent or what came, whatever the issuer does.
func TestTracesShowNoSecret(t *testing.T) {
	s, client := startWithClient(t)
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

func TestQuotesHoldNoSecretInAnySpelling(t *testing.T) {
	long := "Zx8Q~p+q/r%s&t=u v<w>öß-0123456789"
	q := newQuoter([]token.Secret{secret(long), secret("short"), secret("")})
	for name, text := range map[string]string{
		"plain":          "secret " + long + " is wrong",
		"form":           "client_secret=" + url.QueryEscape(long),
		"lower case hex": strings.ToLower(url.QueryEscape(long)),
		"path":           url.PathEscape(long),
		"base64":         base64.StdEncoding.EncodeToString([]byte(long)),
		"base64url":      base64.RawURLEncoding.EncodeToString([]byte(long)),
		"HTML":           "Zx8Q~p+q/r%s&amp;t=u v&lt;w&gt;öß-0123456789",
		"wrapped":        long[:18] + "\n" + long[18:],
		"control chars":  long[:18] + "\x1b\u202e" + long[18:],
		"first half":     "secret begins with " + long[:18],
		"twice":          long + " " + long,
		"short":          "is short",
	} {
		got := q.quote(text)
		if !strings.Contains(got, "[redacted]") {
			t.Errorf("%s: %q", name, got)
		}
		for i := range len(long) - 8 {
			if part := long[i : i+8]; strings.Contains(got, part) {
				t.Errorf("%s: %q holds %q", name, got, part)
			}
		}
	}
}

func TestQuotesAreShortAndPrintable(t *testing.T) {
	q := newQuoter(nil)
	for text, want := range map[string]string{
		"Signature verification failed":       "Signature verification failed",
		"a\r\nb\tc\x00d\x1b[31me":             "a b cd[31me",
		"right\u202eto\u2066left\u200b\ufeff": "righttoleft",
		"line\u2028para\u2029end":             "line para end",
		"\xff\xfe":                            "??",
		"Grüße, 世界":                           "Grüße, 世界",
		"":                                    "",
	} {
		if got := q.quote(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if got := q.quote(strings.Repeat("ü", 10000)); utf8.RuneCountInString(got) != maxQuote || !strings.HasSuffix(got, "…") {
		t.Errorf("%d characters: %q", utf8.RuneCountInString(got), got)
	}
}
