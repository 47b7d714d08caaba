package ipc

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"tokend/providers/token"
	"tokend/providers/token/format"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func TestTokenCrossesTheWire(t *testing.T) {
	for name, tok := range map[string]token.Token{
		"plain": {Secret: token.NewSecret("abc.def-123"), Type: "Bearer", Scope: "read write",
			Issued: noon, Expiry: noon.Add(time.Hour), RenewAt: noon.Add(45 * time.Minute)},
		"text that JSON must escape": {Secret: token.NewSecret("a\"b\\c\u2028é"), Type: "Be\"arer", Issued: noon, Expiry: noon.Add(time.Hour)},
		"no lifetime":                {Secret: token.NewSecret("x"), Type: "Bearer"},
	} {
		want := token.Grant{Token: tok, Profile: "clms", Present: "basic:me", Host: "https://a.example/b"}
		body := format.AppendJSON(nil, want, noon)
		if !json.Valid(body) {
			t.Fatalf("%s: not JSON: %s", name, body)
		}
		var answer tokenAnswer
		if err := decode(body, &answer); err != nil {
			t.Fatal(err)
		}
		if got := answer.grant(); got.Profile != want.Profile || got.Present != want.Present || got.Host != want.Host || !got.Secret.Equal(tok.Secret) || got.Type != tok.Type || got.Scope != tok.Scope ||
			!got.Issued.Equal(tok.Issued) || !got.Expiry.Equal(tok.Expiry) || !got.RenewAt.Equal(tok.RenewAt) {
			t.Errorf("%s: got %+v, want %+v", name, got, tok)
		}
	}
}

func TestAdditionCrossesTheWire(t *testing.T) {
	a := token.CreateProfile{
		Name: "azure-prod", Provider: "azure",
		Settings: map[string]any{
			"tenant": "t", "lifetime": int64(3600), "factor": 0.5, "on": true,
			"scopes": []any{"a", int64(1)}, "form": map[string]any{"n": int64(9007199254740993)},
		},
		Secrets:           map[string]token.Secret{"pem": token.NewSecret("-----BEGIN\n\"é"), "pfx": token.NewSecret("\x30\x82\xff\x00")},
		CredentialExpires: noon, NoCheck: true, Step: token.StepAbandon,
	}
	body, err := encodeAddition(a)
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeAddition(body)
	if err != nil {
		t.Fatal(err)
	}
	for name, secret := range a.Secrets {
		if !got.Secrets[name].Equal(secret) {
			t.Errorf("secret %s arrived changed", name)
		}
	}
	if len(got.Secrets) != len(a.Secrets) {
		t.Errorf("%d secrets arrived, %d were sent", len(got.Secrets), len(a.Secrets))
	}
	got.Secrets, a.Secrets = nil, nil
	if !reflect.DeepEqual(got, a) {
		t.Errorf("got  %#v\nwant %#v", got, a)
	}
}

func TestStrictBodies(t *testing.T) {
	for _, c := range []struct{ name, body, field string }{
		{"unknown member", `{"name":"a","nmae":"b"}`, "nmae"},
		{"member in another case", `{"Name":"a"}`, "Name"},
		{"member twice", `{"name":"a","name":"b"}`, "name"},
		{"member twice, escaped", `{"name":"a","n\u0061me":"b"}`, "name"},
		{"setting twice", `{"name":"a","settings":{"x":1,"x":2}}`, "settings.x"},
		{"setting twice in a list", `{"name":"a","settings":{"l":[{"x":1,"x":2}]}}`, "settings.l.x"},
		{"wrong type", `{"name":7}`, "name"},
		{"secret that is a number", `{"name":"a","secrets":{"key":4711}}`, "secrets"},
		{"not a time", `{"name":"a","credential_expires":"tomorrow"}`, "credential_expires"},
		{"not base64", `{"name":"a","secrets_base64":{"key":"#4711"}}`, "secrets_base64"},
		{"secret twice", `{"name":"a","secrets":{"k":"x"},"secrets_base64":{"k":"eA=="}}`, "secrets_base64.k"},
		{"number out of range", `{"name":"a","settings":{"x":1e999}}`, "settings.x"},
		{"not an object", `["a"]`, ""},
		{"null", `null`, ""},
		{"empty", ``, ""},
		{"cut off", `{"name":"a"`, ""},
		{"two objects", `{"name":"a"} {}`, ""},
		{"not JSON", `name=a`, ""},
		{"not UTF-8", "{\"name\":\"\xff\"}", ""},
		{"deep", `{"name":"a","settings":` + strings.Repeat(`{"x":`, 10_000) + `1` + strings.Repeat(`}`, 10_001), "settings" + strings.Repeat(".x", maxDepth-1)},
	} {
		_, err := DecodeAddition([]byte(c.body))
		var e *token.Error
		if !errors.As(err, &e) || e.Code != token.ErrInvalid {
			t.Errorf("%s: got %v, want ErrInvalid", c.name, err)
			continue
		}
		if e.Field != c.field {
			t.Errorf("%s: names the field %q, want %q", c.name, e.Field, c.field)
		}
		if strings.Contains(e.Message, "4711") {
			t.Errorf("%s: the message quotes a value: %s", c.name, e.Message)
		}
	}
}

func TestInvalidationBody(t *testing.T) {
	for _, c := range []struct {
		body, want string
		bad        bool
	}{
		{body: ``},
		{body: `{}`},
		{body: `{"access_token":null}`},
		{body: `{"access_token":"abc"}`, want: "abc"},
		{body: `{"access_token":""}`, bad: true},
		{body: `{"token":"abc"}`, bad: true},
		{body: `{"access_token":["abc"]}`, bad: true},
	} {
		got, err := DecodeInvalidation([]byte(c.body))
		if c.bad != errors.Is(err, token.ErrInvalid) || got.Reveal() != c.want {
			t.Errorf("%s: got %q, %v", c.body, got.Reveal(), err)
		}
	}
	body, err := encodeInvalidation(token.NewSecret("abc"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := DecodeInvalidation(body); err != nil || got.Reveal() != "abc" {
		t.Errorf("%s arrives as %q, %v", body, got.Reveal(), err)
	}
}

func TestQueryCrossesTheWire(t *testing.T) {
	for _, q := range []token.Query{
		{},
		{Target: token.Target{Scope: "a:b https://x/.default", Audience: "api://ä&=+%"}, MinTTL: 90 * time.Minute, Fresh: true},
		{MinTTL: 1500 * time.Millisecond},
	} {
		got, err := DecodeQuery(encodeQuery(q))
		if err != nil || got != q {
			t.Errorf("%+v arrives as %+v, %v", q, got, err)
		}
	}
}

func TestStrictQueries(t *testing.T) {
	for query, field := range map[string]string{
		"min_ttl=-5s":                    "min_ttl",
		"min_ttl=-5":                     "min_ttl",
		"min_ttl=5x":                     "min_ttl",
		"min_ttl=":                       "min_ttl",
		"min_ttl=1e9":                    "min_ttl",
		"min_ttl=99999999999999999999h":  "min_ttl",
		"fresh=yes":                      "fresh",
		"fresh":                          "fresh",
		"Fresh=true":                     "Fresh",
		"scopes=a":                       "scopes",
		"scope=a&scope=b":                "scope",
		"scope=a%0Ab":                    "scope",
		"scope=a%22":                     "scope",
		"scope=%C3%A4":                   "scope",
		"audience=a%00":                  "audience",
		"audience=a%0D":                  "audience",
		"audience=%E2%80%A8":             "audience",
		"audience=%7F":                   "audience",
		"audience=%FF":                   "audience",
		"audience=%zz":                   "",
		"a;b":                            "",
		"min_ttl=5m&min_ttl=5m":          "min_ttl",
		"min_ttl=300&fresh=true&other=1": "other",
	} {
		_, err := DecodeQuery(query)
		var e *token.Error
		if !errors.As(err, &e) || e.Code != token.ErrInvalid || e.Field != field {
			t.Errorf("%s: got %#v, want ErrInvalid with field %q", query, err, field)
		}
	}
	if q, err := DecodeQuery("min_ttl=300"); err != nil || q.MinTTL != 5*time.Minute {
		t.Errorf("plain seconds: %v, %v", q.MinTTL, err)
	}
}

func TestNames(t *testing.T) {
	for _, name := range []string{"clms", "Azure_2.prod-x", "ä", strings.Repeat("x", 128)} {
		if err := CheckName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"", "a/b", "a\nb", "a\x00", "a\u2028b", "a\x7f", "a\xff", "\x1b[31m", "a\u202eb", strings.Repeat("x", 129)} {
		if err := CheckName(name); !errors.Is(err, token.ErrInvalid) {
			t.Errorf("%q: got %v, want ErrInvalid", name, err)
		}
	}
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

// Whatever the server accepts means the same after another trip.
func FuzzDecodeAddition(f *testing.F) {
	f.Add([]byte(`{"name":"a","provider":"p","settings":{"x":[1,2.5,{"y":null}]},"secrets":{"k":"v"},"secrets_base64":{"b":"/w=="},"no_check":true}`))
	f.Add([]byte(`{"name":"a","name":"b"}`))
	f.Add([]byte(`{"settings":{"":{"":1e400}}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		a, err := DecodeAddition(body)
		if err != nil {
			if !errors.Is(err, token.ErrInvalid) {
				t.Fatalf("not ErrInvalid: %v", err)
			}
			return
		}
		again, err := encodeAddition(a)
		if err != nil {
			return // a time beyond the year 9999
		}
		b, err := DecodeAddition(again)
		if err != nil {
			t.Fatalf("%q accepted, its own form %q is not: %v", body, again, err)
		}
		for name, secret := range a.Secrets {
			if !b.Secrets[name].Equal(secret) {
				t.Fatalf("secret %q changed", name)
			}
		}
		if len(a.Secrets) != len(b.Secrets) || a.Name != b.Name || a.Provider != b.Provider {
			t.Fatalf("%+v became %+v", a, b)
		}
	})
}

func FuzzDecodeQuery(f *testing.F) {
	f.Add("scope=a+b&audience=c&min_ttl=300s&fresh=true")
	f.Add("min_ttl=300&fresh=false")
	f.Fuzz(func(t *testing.T, raw string) {
		q, err := DecodeQuery(raw)
		if err != nil {
			if !errors.Is(err, token.ErrInvalid) {
				t.Fatalf("not ErrInvalid: %v", err)
			}
			return
		}
		if again, err := DecodeQuery(encodeQuery(q)); err != nil || again != q {
			t.Fatalf("%+v became %+v, %v", q, again, err)
		}
	})
}
