package providers

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"tokend/providers/providertest"
	"tokend/providers/strictjson"
	"tokend/providers/token"
)

func testMinter() *minter {
	return &minter{settings: endpointSettings{DefaultLifetime: duration(5 * time.Minute), MaxLifetime: duration(24 * time.Hour)}}
}

// grantOf reads a successful answer that came at now.
func grantOf(t *testing.T, now time.Time, body string) (token.Token, error) {
	t.Helper()
	return testMinter().grant(must[strictjson.Object](t)(strictjson.Parse([]byte(body))), now, nil)
}

// Case 45. The values of each line are separated by commas.
func TestLifetimes(t *testing.T) {
	for values, want := range map[string]time.Duration{
		`3600, "3600", 3600.9, 3.6e3, "3600.5"`: time.Hour,
		`1`:                                     time.Second,
		`0, -0, 0.5, "0", null, `:               5 * time.Minute,
		`86401, 9223372036854775807, 1e30, 1e999, "99999999999999999999999999"`: 24 * time.Hour,
		`-5, -1e999, "-5", "", " 3600", "1h", "NaN", true, [3600], {}`:          -1,
	} {
		for expires := range strings.SplitSeq(values, ", ") {
			body := `{"access_token":"abc","token_type":"bEARER","expires_in":` + expires + `}`
			if expires == "" {
				body = `{"access_token":"abc","token_type":"bEARER"}`
			}
			now := time.Now().Round(0)
			tok, err := grantOf(t, now, body)
			switch {
			case want < 0:
				if err == nil || err.Error() != "an expires_in that is not a number of seconds" {
					t.Errorf("expires_in %s: %v, %v", expires, tok.Life(), err)
				}
			case err != nil || tok.Life() != want || tok.Issued != now || tok.Type != "Bearer":
				t.Errorf("expires_in %s: %+v, %v", expires, tok, err)
			}
		}
	}
}

func TestRefreshInIsAdviceWithinTheLifetime(t *testing.T) {
	for refresh, want := range map[string]time.Duration{
		`1800`: 30 * time.Minute, `"1800"`: 30 * time.Minute, `3599`: 3599 * time.Second,
		`3600`: 0, `7200`: 0, `0`: 0, `null`: 0, `-5`: 0, `"soon"`: 0,
	} {
		now := time.Now().Round(0)
		tok, err := grantOf(t, now, `{"access_token":"abc","token_type":"Bearer","expires_in":3600,"refresh_in":`+refresh+`}`)
		if err != nil || want == 0 && !tok.RenewAt.IsZero() || want > 0 && tok.RenewAt != now.Add(want) {
			t.Errorf("refresh_in %s: RenewAt is %v after now, %v", refresh, tok.RenewAt.Sub(now), err)
		}
	}
}

// Cases 44 (names in another case) and 46.
func TestOnlyVisibleASCIIIsAnAccessToken(t *testing.T) {
	const good = "<nil>"
	long := strings.Repeat("a", maxToken)
	for want, values := range map[string][]string{
		good: {`"eyJ.a-b_c~+/=="`, `"` + long + `"`},
		"characters in access_token that RFC 6749 does not allow": {`"a\nb"`, `"a\rb"`, `"a b"`, `"a\u0000b"`, `"a\u007fb"`, `"a\u2028b"`, `"ä"`},
		"no access_token":                  {`""`, `5`, `null`, `{}`, `"","Access_Token":"abc","ACCESS_TOKEN":"abc"`},
		"more than 64 KiB as access_token": {`"` + long + `a"`},
	} {
		for _, value := range values {
			if _, err := grantOf(t, time.Now(), `{"token_type":"Bearer","access_token":`+value+`}`); fmt.Sprint(err) != want {
				t.Errorf("%.40s: %v", value, err)
			}
		}
	}
}

func TestTokenTypes(t *testing.T) {
	for _, c := range []struct{ accepted, value, want string }{
		{"Bearer", `"Bearer"`, ""}, {"Bearer", `"bearer"`, ""}, {"DPoP", `"BEARER"`, ""}, {"none", `"Bearer"`, ""},
		{"jwt", `"JWT"`, ""}, {"none", `""`, ""}, {"none", `null`, ""}, {"none", `1`, ""},
		{"Bearer", `"DPoP"`, `a token of the token_type "DPoP"; if it is used like Bearer, set token_type = "DPoP" in the profile`},
		{"none", `"mac"`, `a token of the token_type "mac"; if it is used like Bearer, set token_type = "mac" in the profile`},
		{"Bearer", `null`, `a token without token_type; if it is used like Bearer, set token_type = "none" in the profile`},
		{"Bearer", `1`, `a token without token_type; if it is used like Bearer, set token_type = "none" in the profile`},
		{"Bearer", `"x-Canary-token x"`, `a token of the token_type "[redacted]"; if it is used like Bearer, set token_type = "[redacted]" in the profile`},
	} {
		e := testMinter()
		e.settings.TokenType = c.accepted
		tok, err := e.grant(must[strictjson.Object](t)(strictjson.Parse([]byte(`{"access_token":"Canary-token","token_type":`+c.value+`}`))), time.Now(), nil)
		if c.want == "" && (err != nil || tok.Type != "Bearer") || c.want != "" && (err == nil || err.Error() != c.want) {
			t.Errorf("token_type %s, %s accepted: %v", c.value, c.accepted, err)
		}
	}
}

func TestBadScopes(t *testing.T) {
	for value, ok := range map[string]bool{`"a b https://x/.default"`: true, `""`: true, `null`: true, `["a"]`: true, `"a\nb"`: false, `"a\u001b[31m"`: false, `"a\u202eb"`: false, `"a\"b"`: false} {
		if _, err := grantOf(t, time.Now(), `{"access_token":"abc","token_type":"Bearer","scope":`+value+`}`); (err == nil) != ok {
			t.Errorf("scope %s: %v", value, err)
		}
	}
}

// Case 44, bodies that are not JSON objects.
func TestBadAnswers(t *testing.T) {
	const fine, html = `{"access_token":"abc","token_type":"Bearer"}`, "an HTML page; a proxy or a login page may stand in between"
	type came struct{ contentType, encoding, body string }
	for want, all := range map[string][]came{
		"<nil>": {
			{"application/json; charset=utf-8", "identity", fine}, {"application/json", "", " \n" + fine + "\n"}, {"application/json", "", "\ufeff" + fine},
			{"text/plain; charset=utf-8", "", fine}, {"text/html", "", fine}, {"application/octet-stream", "", fine}, {"json;;", "", fine}, {"", "", fine},
		},
		"a compressed body, which tokend did not ask for": {{"application/json", "gzip", fine}},
		html:                         {{"text/html", "", "<html>"}, {"", "", "<!doctype html><html>"}},
		"something that is not JSON": {{"text/plain", "", "access_token=abc&token_type=bearer"}},
		"more than 4 MiB":            {{"application/json", "", strings.Repeat(" ", maxAnswer) + fine}},
		"invalid JSON": {
			{"application/json", "", ""}, {"application/json", "", fine[:20]}, {"application/json", "", fine + "{}"}, {"application/json", "", `{"access_token":"` + "\xff" + `"}`},
			{"application/json", "", `{"a":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}`},
		},
		"JSON that is not an object":   {{"application/json", "", "[" + fine + "]"}, {"application/json", "", `"abc"`}, {"application/json", "", `null`}},
		"JSON with a duplicate member": {{"application/json", "", `{"access_token":"a","access_token":"b"}`}, {"application/json", "", `{"access_token":"a","access\u005ftoken":"b"}`}},
	} {
		for _, c := range all {
			a := answer{status: 200, header: http.Header{"Content-Type": {c.contentType}, "Content-Encoding": {c.encoding}}, body: []byte(c.body)}
			if _, err := a.object(); fmt.Sprint(err) != want {
				t.Errorf("%.80q: %v, want %q", c, err, want)
			}
		}
	}
}

// Case 48, when an issuer wants to be asked again.
func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	at := func(d time.Duration) string { return now.Add(d).Format(http.TimeFormat) }
	for name, c := range map[string]struct {
		text, date string
		want       time.Duration
	}{
		"absent":               {"", "", 0},
		"seconds":              {"30", "", 30 * time.Second},
		"spaces":               {" 30 ", "", 30 * time.Second},
		"a date":               {at(90 * time.Second), "", 90 * time.Second},
		"a date by a fast one": {at(10*time.Minute + 90*time.Second), at(10 * time.Minute), 90 * time.Second},
		"the past":             {at(-time.Hour), "", 0},
		"10 years":             {"315360000", "", time.Hour},
		"10 years as a date":   {at(87600 * time.Hour), "", time.Hour},
		"beyond numbers":       {strings.Repeat("9", 40), "", time.Hour},
		"no time":              {"0|-5|1.5|soon", "", 0},
	} {
		for text := range strings.SplitSeq(c.text, "|") {
			a := answer{header: http.Header{"Retry-After": {text}, "Date": {c.date}}, received: now}
			got := a.retryAt()
			if c.want == 0 && !got.IsZero() || c.want > 0 && got.Sub(now) != c.want {
				t.Errorf("%s: %v", name, got)
			}
		}
	}
}

func TestSkewIsTheIssuersClockMinusOurs(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 600e6, time.UTC)
	for date, want := range map[string]time.Duration{
		"Mon, 23 Nov 2026 12:05:00 GMT": 4*time.Minute + 59*time.Second,
		"Mon, 23 Nov 2026 12:00:00 GMT": 0,
		"Mon, 23 Nov 2026 11:55:00 GMT": -5 * time.Minute,
		"yesterday":                     0,
		"":                              0,
	} {
		if got := (answer{header: http.Header{"Date": {date}}, received: now}).skew(); got != want {
			t.Errorf("%s: %v, want %v", date, got, want)
		}
	}
}

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
