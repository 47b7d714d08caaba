//go:build linux

package ipc

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	. "tokend/providers/fixturetest"
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
		var got token.Grant
		if err := readGrant(body, &got); err != nil || !sameGrant(got, want) {
			t.Errorf("%s: got %+v, %v, want %+v", name, got, err, want)
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
	Must(t, err)
	got, err := answering(t, ok(string(body))).Sign(t.Context(), "x", token.Request{URL: "https://x"})
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%s arrives as %+v, %v", body, got, err)
	}
	if wire := `{"url":"https://x/?a=1&b=<2>","headers":[{"name":"Signature","value":"eyJ.x-_y"},{"name":"x-api-user","value":"a \"b\" \\c@example.com"}],"issued_at":"2026-11-23T12:00:00Z","warning":"the clock is off"}`; string(body) != wire {
		t.Errorf("got %s\nwant %s", body, wire)
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
