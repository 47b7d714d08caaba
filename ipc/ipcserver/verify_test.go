//go:build linux

package ipcserver

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"tokend/providers/token"
)

// askAuthorize asks with header lines, as a proxy passes them on.
func (s *running) askAuthorize(t *testing.T, lines string) (*http.Response, string) {
	t.Helper()
	return s.say(t, "GET /v1/authorize/clms HTTP/1.1\r\nHost: x\r\n"+lines+"\r\n")
}

func TestAuthorizeLetsGoodTokensThroughAndNothingElse(t *testing.T) {
	s := start(t, newMemory(), Options{})
	for _, c := range []struct {
		name, lines, reason string
		status              int
	}{
		{"API key", "X-API-Key: good\r\n", "", 204},
		{"bearer", "Authorization: Bearer good\r\n", "", 204},
		{"bearer in another case", "authorization: bEARER  good \r\n", "", 204},
		{"both", "X-API-Key: good\r\nAuthorization: Bearer good\r\n", "", 204},
		{"beside another scheme", "X-API-Key: good\r\nAuthorization: Basic Z29vZDo=\r\n", "", 204},
		{"beside an empty one", "X-API-Key:\r\nAuthorization: Bearer good\r\n", "", 204},
		{"none", "", "missing", 401},
		{"empty", "X-API-Key: \r\n", "missing", 401},
		{"empty bearer", "Authorization: Bearer \r\n", "missing", 401},
		{"no scheme", "Authorization: good\r\n", "missing", 401},
		{"another scheme", "Authorization: Basic good\r\n", "missing", 401},
		{"another header", "Cookie: token=good\r\nProxy-Authorization: Bearer good\r\n", "missing", 401},
		{"different ones", "X-API-Key: good\r\nAuthorization: Bearer bare\r\n", "ambiguous", 401},
		{"different ones, bad first", "X-API-Key: bad\r\nAuthorization: Bearer good\r\n", "ambiguous", 401},
		{"joined by a proxy", "X-API-Key: good, good\r\n", "malformed", 401},
		{"bad", "X-API-Key: bad\r\n", "malformed", 401},
		{"expired", "X-API-Key: expired\r\n", "expired", 401},
		{"for another", "X-API-Key: other\r\n", "wrong_audience", 403},
		{"with consent", "X-API-Key: good\r\nX-Consent-Token: consented\r\n", "", 204},
		{"an empty consent", "X-API-Key: good\r\nX-Consent-Token: \r\n", "", 204},
		{"bad consent", "X-API-Key: good\r\nX-Consent-Token: x\r\n", "bad_consent", 403},
		{"consent alone", "X-Consent-Token: consented\r\n", "missing", 401},
		{"bad with consent", "X-API-Key: bad\r\nX-Consent-Token: consented\r\n", "malformed", 401},
	} {
		t.Run(c.name, func(t *testing.T) {
			answer, body := s.askAuthorize(t, c.lines)
			if answer.StatusCode != c.status || answer.Header.Get("X-Tokend-Reason") != c.reason {
				t.Errorf("got %s, %v", answer.Status, answer.Header)
			}
			if answer.Header.Get("Cache-Control") != "no-store" {
				t.Error("the answer may be stored")
			}
			challenge := map[string]string{"missing": "Bearer", "ambiguous": `Bearer error="invalid_request"`}[c.reason]
			if c.status == 401 && challenge == "" {
				challenge = `Bearer error="invalid_token"`
			}
			if got := answer.Header.Get("WWW-Authenticate"); got != challenge {
				t.Errorf("WWW-Authenticate: %q, want %q", got, challenge)
			}
			if c.status == 204 {
				if body != "" || answer.Header.Get("Content-Length") != "" {
					t.Errorf("204 with a body: %q", body)
				}
				return
			}
			var v token.Verdict
			if err := json.Unmarshal([]byte(body), &v); err != nil || v.Valid || v.Reason != c.reason || v.Message == "" || v.Claims != nil {
				t.Errorf("verdict %s (%v)", body, err)
			}
			for name := range answer.Header {
				if strings.HasPrefix(name, "X-Tokend-") && name != "X-Tokend-Reason" {
					t.Errorf("a token that is not good has %s", name)
				}
			}
			if strings.Contains(body, canary) {
				t.Error("the answer shows the claims of a bad token")
			}
		})
	}
}

// Headers that two programs could read differently are no question for a verdict.
func TestHeadersThatCouldBeReadInTwoWaysAreRefused(t *testing.T) {
	s := start(t, newMemory(), Options{})
	for _, lines := range []string{
		"X-API-Key: good\r\nX-API-Key: good\r\n", "X-API-Key: good\r\nX-Consent-Token: consented\r\nX-Consent-Token: consented\r\n", "X-API-Key: good\r\nx-api-key: bare\r\n", "X-API-Key: good\r\nX-API-Key:\r\n",
		"Authorization: Bearer good\r\nAuthorization: Bearer good\r\n", "Authorization: Basic eDp5\r\nAuthorization: Bearer good\r\n",
		"Authorization: Bearer\tgood\r\n", "Authorization: Bearer \tgood\r\n", "Authorization: bearer good\tx\r\n",
		"Authorization: Bearer good x\r\n", "Authorization: Bearer good, Bearer bare\r\n", "Authorization: Bearer,good\r\n",
		"Authorization: Bearer\u00a0good\r\n", "Authorization: Bearer \u00a0good\r\n", "Authorization: Bearer=good\r\n",
		"X-API-Key: good\r\nAuthorization: Bearer\tgood\r\n",
		"X-API-Key: good\r\nOrigin:\r\nOrigin: http://evil.example\r\n", "X-API-Key: good\r\nOrigin: null\r\nOrigin: null\r\n",
	} {
		answer, body := s.askAuthorize(t, lines)
		if answer.StatusCode != 400 || !strings.Contains(body, `"code":"invalid"`) {
			t.Errorf("%q: %s %s", lines, answer.Status, body)
		}
	}
	for _, lines := range []string{"Origin:\r\n", "Origin: null\r\n"} {
		if answer, _ := s.say(t, "GET /v1/status HTTP/1.1\r\nHost: x\r\n"+lines+"\r\n"); answer.StatusCode != 403 {
			t.Errorf("%q: %s", lines, answer.Status)
		}
	}
}

func TestAuthorizeTellsOfTheTokenInHeaders(t *testing.T) {
	s := start(t, newMemory(), Options{})
	for _, c := range []struct {
		token, subject, issuer string
		claims                 bool
		sent, consent          string
	}{
		{"good", "group:x", "https://ds.example", true, "", ""},
		{"good", "group:x", "https://ds.example", true, "consented", `{"app":"a1","sub":"person"}`},
		{"good", "group:x", "https://ds.example", true, "long", ""},
		{"odd", "", "", true, "", ""},
		{"huge", "s", "", false, "", ""},
		{"bare", "", "", false, "", ""},
	} {
		answer, _ := s.askAuthorize(t, "X-API-Key: "+c.token+"\r\nX-Consent-Token: "+c.sent+"\r\n")
		head := answer.Header
		if answer.StatusCode != 204 || head.Get("X-Tokend-Subject") != c.subject || head.Get("X-Tokend-Issuer") != c.issuer || head.Get("X-Evil") != "" {
			t.Errorf("%s: %s, %v", c.token, answer.Status, head)
		}
		for _, name := range []string{"X-Tokend-Subject", "X-Tokend-Issuer", "X-Tokend-Claims", "X-Tokend-Consent"} {
			if len(head[name]) != 1 {
				t.Errorf("%s: %s is there %d times; a client's own could be passed on", c.token, name, len(head[name]))
			}
		}
		if consent, err := base64.RawURLEncoding.DecodeString(head.Get("X-Tokend-Consent")); err != nil || string(consent) != c.consent {
			t.Errorf("%s, %s: consent %s (%v)", c.token, c.sent, consent, err)
		}
		text := head.Get("X-Tokend-Claims")
		if (text != "") != c.claims || len(text) > maxClaims {
			t.Errorf("%s: %d bytes of claims", c.token, len(text))
		}
		if !c.claims {
			continue
		}
		b, err := base64.RawURLEncoding.DecodeString(text)
		wanted, _ := json.Marshal(verdicts[c.token].Claims)
		if err != nil || string(b) != string(wanted) {
			t.Errorf("%s: claims %s (%v), want %s", c.token, b, err, wanted)
		}
	}
}

// A proxy takes 401 and 403 for verdicts and 2xx for a yes: nothing else that
// tokend has to say may look like one.
func TestAuthorizeWithoutAVerdictIsNeitherYesNorNo(t *testing.T) {
	for _, code := range []token.Code{token.ErrNotFound, token.ErrDenied, token.ErrRejected, token.ErrUnavailable, token.ErrLocked,
		token.ErrKeystore, token.ErrInvalid, token.ErrExists, token.ErrInternal, "from_the_future"} {
		b := newMemory()
		b.fail = &token.Error{Code: code, Message: "no verdict"}
		answer, body := start(t, b, Options{}).askAuthorize(t, "X-API-Key: good\r\n")
		if s := answer.StatusCode; s < 400 || s == 401 || s == 403 {
			t.Errorf("%s: %s", string(code), answer.Status)
		}
		if !strings.Contains(body, `"code":"`+string(code)+`"`) {
			t.Errorf("%s: %s", string(code), body)
		}
	}
}
