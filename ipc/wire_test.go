package ipc

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"tokend/providers/token"
	"tokend/providers/token/format"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func sameGrant(a, b token.Grant) bool {
	same := a.Secret.Equal(b.Secret) && a.Expiry.Equal(b.Expiry) && a.Issued.Equal(b.Issued) && a.RenewAt.Equal(b.RenewAt)
	return same && a.Type == b.Type && a.Scope == b.Scope && a.Profile == b.Profile && a.Present == b.Present && a.Host == b.Host
}

func TestTokenCrossesTheWire(t *testing.T) {
	for name, tok := range map[string]token.Token{
		"plain": {Secret: token.NewSecret("eyJhbGciOiJub25lIn0.e30.~._-/+="), Type: "Bearer", Scope: "read write",
			Issued: noon, Expiry: noon.Add(time.Hour), RenewAt: noon.Add(45 * time.Minute)},
		"text that JSON must escape": {Secret: token.NewSecret("a\"b\\c\u2028é"), Type: "Be\"arer", Issued: noon, Expiry: noon.Add(time.Hour)},
		"no lifetime":                {Secret: token.NewSecret("x"), Type: "Bearer"},
	} {
		want := token.Grant{Token: tok, Profile: "clms", Present: "basic:me", Host: "https://a.example/b"}
		body := format.AppendJSON(nil, want, noon)
		if !json.Valid(body) {
			t.Fatalf("%s: not JSON: %s", name, body)
		}
		if got, err := readGrant(body); err != nil || !sameGrant(got, want) {
			t.Errorf("%s: got %+v, %v, want %+v", name, got, err, want)
		}
	}
}

// asJSON is the answer to a request for a token as encoding/json reads it.
type asJSON struct {
	AccessToken token.Secret       `json:"access_token"`
	TokenType   string             `json:"token_type"`
	Scope       string             `json:"scope"`
	ExpiresAt   time.Time          `json:"expires_at"`
	IssuedAt    time.Time          `json:"issued_at"`
	RenewAt     time.Time          `json:"renew_at"`
	Profile     string             `json:"profile"`
	Present     token.Presentation `json:"present"`
	Host        string             `json:"host"`
}

// FuzzReadGrant: what is read is what encoding/json reads.
func FuzzReadGrant(f *testing.F) {
	f.Add(format.AppendJSON(nil, token.Grant{Profile: "clms", Present: "basic:me", Host: "https://dev.example/x",
		Token: token.Token{Secret: token.NewSecret("x"), Type: "Bearer", Issued: noon, Expiry: noon}}, noon))
	for _, body := range []string{
		`{"access_token":"a","access_token":"b","expires_in":10}`, `{"access_token":"a","expires_in":01}`, `{"access_token":"a","later":{"x":["}",1]}}`,
		`{"access_token":"a","expires_at":"2026-11-26T5:00:00Z"}`, ` {"a\u0063cess_token" : "\u0061\\\"" , "scope":"ä"} `, `{"access_token":"a\\"}`,
		`{"access_token":"a"}}`, `{"access_token":"a",}`, `{}`, `{"access_token":7}`, `["access_token"]`, `{"x":1,"y":-1e9,"z":null,"access_token":"a"}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := readGrant(body)
		if err != nil {
			return
		}
		var a asJSON
		if err := decode(body, &a); err != nil {
			return // a member that is not a string is as good as missing
		}
		want := token.Grant{Token: token.Token{Secret: a.AccessToken, Type: a.TokenType, Scope: a.Scope, Issued: a.IssuedAt, Expiry: a.ExpiresAt, RenewAt: a.RenewAt},
			Profile: a.Profile, Present: a.Present, Host: a.Host}
		if !otherCase(body) && !sameGrant(got, want) {
			t.Errorf("%q is read as %+v; encoding/json reads %+v", body, got, want)
		}
	})
}

// otherCase reports whether a member differs from ours in case only, for which
// encoding/json takes it.
func otherCase(body []byte) bool {
	known := []string{"access_token", "token_type", "scope", "expires_at", "issued_at", "renew_at", "profile", "present", "host"}
	for name := range members(body) {
		for _, k := range known {
			if name != k && strings.EqualFold(name, k) {
				return true
			}
		}
	}
	return false
}

func TestEveryCodeHasItsStatus(t *testing.T) {
	for code, status := range map[token.Code]int{
		token.ErrNotFound: 404, token.ErrExists: 409, token.ErrDenied: 403, token.ErrRejected: 502, token.ErrUnavailable: 503,
		token.ErrLocked: 503, token.ErrKeystore: 503, token.ErrInvalid: 400, token.ErrInternal: 500, "from_the_future": 500,
	} {
		if got := HTTPStatus(code); got != status {
			t.Errorf("%s: %d, want %d", string(code), got, status)
		}
	}
}

func header(name, value string) token.Header {
	return token.Header{Name: name, Value: token.NewSecret(value)}
}

func TestSignedRequestCrossesTheWire(t *testing.T) {
	want := token.Signed{URL: "https://x/?a=1&b=<2>", Issued: noon, Warning: "the clock is off",
		Headers: []token.Header{header("Signature", "eyJ.x-_y"), header("x-api-user", `a "b" \c@example.com`)}}
	body, err := EncodeSigned(want)
	if err != nil {
		t.Fatal(err)
	}
	var answer signedAnswer
	if err := decode(body, &answer); err != nil || !reflect.DeepEqual(answer.signed(), want) {
		t.Errorf("%s arrives as %+v, %v", body, answer.signed(), err)
	}
	if !strings.Contains(string(body), `"https://x/?a=1&b=<2>"`) {
		t.Errorf("the URL is escaped: %s", body)
	}
	want.Issued = noon.Add(999 * time.Millisecond).In(time.FixedZone("CET", 3600))
	if body, err := EncodeSigned(want); err != nil || !strings.Contains(string(body), `"issued_at":"2026-11-23T12:00:00Z"`) {
		t.Errorf("%s, %v", body, err)
	}
}

func TestHeadersThatAreNotOneLineAreNotSent(t *testing.T) {
	for name, headers := range map[string][]token.Header{
		"none":             nil,
		"no name":          {header("", "x")},
		"space in name":    {header("a b", "x")},
		"colon in name":    {header("a:", "x")},
		"line end in name": {header("a\r\nb", "x")},
		"name not ASCII":   {header("é", "x")},
		"no value":         {{Name: "a"}},
		"line end":         {header("a", "x\r\nb: y")},
		"bare line end":    {header("a", "x\ny")},
		"NUL":              {header("a", "x\x00")},
		"tab":              {header("a", "x\ty")},
		"not ASCII":        {header("a", "é")},
		"space at the end": {header("a", "x ")},
		"second one":       {header("a", "x"), header("b", "\n")},
	} {
		_, err := EncodeSigned(token.Signed{URL: "https://x", Headers: headers})
		if err == nil {
			t.Errorf("%s: it is sent", name)
		} else if strings.Contains(err.Error(), "y") && strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: the error shows the value: %v", name, err)
		}
	}
	if _, err := EncodeSigned(token.Signed{Headers: []token.Header{header("a", "b")}}); err == nil {
		t.Error("without a URL it is sent")
	}
}
