package ipc

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"tokend/providers/token"
)

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
			t.Errorf("%s: the value is told: %v", name, err)
		}
	}
	if _, err := EncodeSigned(token.Signed{Headers: []token.Header{header("a", "b")}}); err == nil {
		t.Error("without a URL it is sent")
	}
}

func TestStrictRequestsAndVerifications(t *testing.T) {
	for _, c := range []struct{ body, field string }{
		{``, ""}, {`{}`, "url"}, {`null`, ""}, {`{"url":""}`, "url"}, {`{"url":7}`, "url"}, {`{"url":"x","method":"GET"}`, "method"},
		{`{"url":"x","url":"y"}`, "url"}, {`{"Url":"x"}`, "Url"}, {`{"url":"x"}{}`, ""},
	} {
		_, err := DecodeRequest([]byte(c.body))
		wantInvalid(t, c.body, err, c.field)
	}
	for _, c := range []struct{ body, field string }{
		{``, ""}, {`{}`, "token"}, {`{"token":""}`, "token"}, {`{"token":null}`, "token"}, {`{"token":{"access_token":"4711"}}`, ""},
		{`{"token":"x","token":"y"}`, "token"}, {`{"token":"x","remote":1}`, "remote"}, {`{"token":"x","REMOTE":true}`, "REMOTE"},
		{`{"token":"4711","leeway":5}`, "leeway"}, {"{\"token\":\"4711\xff\"}", ""},
	} {
		_, _, err := DecodeVerification([]byte(c.body))
		wantInvalid(t, c.body, err, c.field)
	}
	r, err := DecodeRequest([]byte(` {"url":"https:\/\/x\/\u00e9"} `))
	if err != nil || r.URL != "https://x/é" {
		t.Errorf("%+v, %v", r, err)
	}
}

func wantInvalid(t *testing.T, body string, err error, field string) {
	t.Helper()
	var e *token.Error
	if !errors.As(err, &e) || e.Code != token.ErrInvalid || e.Field != field && field != "" {
		t.Errorf("%s: got %v, want ErrInvalid about %q", body, err, field)
	} else if strings.Contains(e.Message, "4711") {
		t.Errorf("%s: the message quotes a value: %s", body, e.Message)
	}
}

func FuzzDecodeRequest(f *testing.F) {
	f.Add([]byte(`{"url":"https://x/?a=1&b=2#c"}`))
	f.Add([]byte(`{"url":"https:\/\/\u00e9"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := DecodeRequest(body)
		if err != nil {
			if !errors.Is(err, token.ErrInvalid) {
				t.Fatalf("not ErrInvalid: %v", err)
			}
			return
		}
		again, err := encodeRequest(r)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := DecodeRequest(again); err != nil || back != r {
			t.Fatalf("%+v became %+v, %v", r, back, err)
		}
	})
}

func FuzzDecodeVerification(f *testing.F) {
	f.Add([]byte(`{"token":"eyJ.eyJ.x","remote":true}`))
	f.Add([]byte(`{"token":"\u0000\ud800"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		raw, remote, err := DecodeVerification(body)
		if err != nil {
			if !errors.Is(err, token.ErrInvalid) || !raw.IsZero() {
				t.Fatalf("not ErrInvalid alone: %v", err)
			}
			return
		}
		again, err := encodeVerification(raw, remote)
		if err != nil {
			t.Fatal(err)
		}
		if back, r, err := DecodeVerification(again); err != nil || !back.Equal(raw) || r != remote {
			t.Fatalf("%q became %q, %v", raw.Reveal(), back.Reveal(), err)
		}
	})
}
