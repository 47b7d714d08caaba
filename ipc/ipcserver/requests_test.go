//go:build linux

package ipcserver

import (
	"encoding/json"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"tokend/ipc"
	"tokend/providers/token"
)

// decoders are those of the requests' bodies and queries.
var decoders = map[string]func(body string) error{
	"profile":    func(b string) error { _, err := decodeProfile(b); return err },
	"invalidate": func(b string) error { return invalidate(b, newMemory()) },
	"sign":       decoding(ipc.CheckRequest),
	"verify":     decoding(ipc.CheckVerification),
	"migrate":    decoding[token.KeystoreChoice](nil),
	"msi":        decoding[ipc.MSIRequest](nil),
	"events":     func(b string) error { _, err := decodeWatch(b); return err },
	"token":      func(b string) error { _, _, err := decodeQuery(b); return err },
}

func decoding[T any](check func(T) error) func(body string) error {
	return func(body string) error {
		_, err := with(check, func(*call, T) (any, error) { return nil, nil })(&call{body: []byte(body)})
		return err
	}
}

func decodeProfile(body string) (p token.CreateProfile, err error) {
	_, err = with(nil, func(_ *call, in ipc.ProfileBody) (_ any, err error) { p, err = profileOf(in); return nil, err })(&call{body: []byte(body)})
	return p, err
}

func invalidate(body string, b *memory) error {
	c := &call{Request: httptest.NewRequest("POST", "/", nil), w: httptest.NewRecorder(), name: "clms", body: []byte(body)}
	_, err := newHandler(b, Options{}).invalidate(c)
	return err
}

func TestStrictBodiesAndQueries(t *testing.T) {
	for _, c := range []struct{ decoder, body, field string }{
		{"profile", `{"name":"a","nmae":"b"}`, "nmae"},                                                    // unknown member
		{"profile", `{"Name":"a"}`, "Name"},                                                               // member in another case
		{"profile", `{"name":"a","name":"b"}`, "name"},                                                    // member twice
		{"profile", `{"name":"a","n\u0061me":"b"}`, "name"},                                               // member twice, escaped
		{"profile", `{"name":"a","settings":{"x":1,"x":2}}`, "settings.x"},                                // setting twice
		{"profile", `{"name":"a","settings":{"l":[{"x":1,"x":2}]}}`, "settings.l.x"},                      // setting twice in a list
		{"profile", `{"name":7}`, "name"},                                                                 // wrong type
		{"profile", `{"name":"a","secrets":{"key":4711}}`, "secrets"},                                     // secret that is a number
		{"profile", `{"name":"a","credential_expires":"tomorrow"}`, ""},                                   // not a time
		{"profile", `{"name":"a","secrets_base64":{"key":"#4711"}}`, ""},                                  // not base64
		{"profile", `{"name":"a","secrets":{"k":"x"},"secrets_base64":{"k":"eA=="}}`, "secrets_base64.k"}, // secret twice
		{"profile", `{"name":"a","settings":{"x":1e999}}`, "settings.x"},                                  // number out of range
		{"profile", `["a"]`, ""},                                                                          // not an object
		{"profile", `null`, ""},                                                                           // null
		{"profile", ``, ""},                                                                               // empty
		{"profile", `{"name":"a"`, ""},                                                                    // cut off
		{"profile", `{"name":"a"} {}`, ""},                                                                // two objects
		{"profile", `name=a`, ""},                                                                         // not JSON
		{"profile", "{\"name\":\"\xff\"}", ""},                                                            // not UTF-8
		{"profile", `{"name":"a","settings":` + strings.Repeat(`{"x":`, 10_000) + `1` + strings.Repeat(`}`, 10_001), "settings" + strings.Repeat(".x", maxDepth-1)},
		{"invalidate", `{"access_token":""}`, "access_token"}, {"invalidate", `{"token":"abc"}`, "token"}, {"invalidate", `{"access_token":["abc"]}`, ""},
		{"sign", `{}`, "url"},
		{"sign", `{"url":""}`, "url"},
		{"sign", `{"url":7}`, "url"},
		{"verify", `{}`, "token"},
		{"verify", `{"token":""}`, "token"},
		{"verify", `{"token":null}`, "token"},
		{"verify", `{"token":{"access_token":"4711"}}`, ""},
		{"verify", `{"token":"x","remote":1}`, "remote"},
		{"verify", `{"token":"4711","leeway":5}`, "leeway"},
		{"verify", "{\"token\":\"4711\xff\"}", ""},
		{"migrate", ``, ""}, {"migrate", `{"keystore":"os","keystore":"sealed"}`, "keystore"}, {"migrate", `{"keystore":7}`, "keystore"},
		{"migrate", `{"key":"x"}`, "key"}, {"migrate", `{"Keystore":"os"}`, "Keystore"}, {"migrate", `[]`, ""},
		{"msi", `{"profiles":"a"}`, "profiles"}, {"events", "profile=%00", "name"}, {"events", "x=1", "x"}, {"events", "profile=a/b", "name"}, {"events", "profile=", "name"}, {"events", "%zz", ""},
		{"token", "min_ttl=-5s", "min_ttl"},
		{"token", "min_ttl=-5", "min_ttl"},
		{"token", "min_ttl=5x", "min_ttl"},
		{"token", "min_ttl=", "min_ttl"},
		{"token", "min_ttl=1e9", "min_ttl"},
		{"token", "min_ttl=99999999999999999999h", "min_ttl"},
		{"token", "fresh=yes", "fresh"},
		{"token", "fresh", "fresh"},
		{"token", "Fresh=true", "Fresh"},
		{"token", "scopes=a", "scopes"},
		{"token", "scope=a&scope=b", "scope"},
		{"token", "scope=a%0Ab", "scope"},
		{"token", "scope=a%22", "scope"},
		{"token", "scope=%C3%A4", "scope"},
		{"token", "audience=a%00", "audience"},
		{"token", "audience=a%0D", "audience"},
		{"token", "audience=%E2%80%A8", "audience"},
		{"token", "audience=%7F", "audience"},
		{"token", "audience=%FF", "audience"},
		{"token", "audience=%zz", ""},
		{"token", "a;b", ""},
		{"token", "min_ttl=5m&min_ttl=5m", "min_ttl"},
		{"token", "min_ttl=300&fresh=true&other=1", "other"},
	} {
		err := decoders[c.decoder](c.body)
		var e *token.Error
		switch {
		case !errors.As(err, &e) || e.Code != token.ErrInvalid || e.Field != c.field && c.field != "":
			t.Errorf("%s %.60s: got %v, want ErrInvalid about %q", c.decoder, c.body, err, c.field)
		case strings.Contains(e.Message, "4711"):
			t.Errorf("%s %.60s: the message quotes a value: %s", c.decoder, c.body, e.Message)
		}
	}
}

func TestRequestsInTheirForms(t *testing.T) {
	for body, want := range map[string]string{``: "", `{}`: "", `{"access_token":null}`: "", `{"access_token":"abc"}`: "abc"} {
		b := newMemory()
		if err := invalidate(body, b); err != nil || len(b.dropped) != 1 || b.dropped[0].Reveal() != want {
			t.Errorf("%s: got %q, %v", body, b.dropped, err)
		}
	}
	for query, want := range map[string]token.Query{
		"": {}, "min_ttl=300": {MinTTL: 5 * time.Minute}, "min_ttl=1.5s&fresh=true": {MinTTL: 1500 * time.Millisecond, Fresh: true},
		"scope=a:b+https%3A%2F%2Fx%2F.default&audience=api%3A%2F%2F%C3%A4%26%3D%2B%25": {Target: token.Target{Scope: "a:b https://x/.default", Audience: "api://ä&=+%"}},
	} {
		if got, _, err := decodeQuery(query); err != nil || got != want {
			t.Errorf("%s: got %+v, %v", query, got, err)
		}
	}
	var r token.Request
	if err := decodeStrict([]byte(` {"url":"https:\/\/x\/\u00e9"} `), &r); err != nil || r.URL != "https://x/é" {
		t.Errorf("%+v, %v", r, err)
	}
}

// FuzzDecode: every decoder takes a request or says ErrInvalid, and a profile that
// it takes means the same after another trip.
func FuzzDecode(f *testing.F) {
	for decoder, body := range map[string]string{
		"profile": `{"name":"a","provider":"p","settings":{"x":[1,2.5,{"y":null}]},"secrets":{"k":"v"},"secrets_base64":{"b":"/w=="},"no_check":true}`,
		"msi":     `{"profiles":["a"],"endpoint":"http://127.0.0.1:4000/msi/token","header":"00"}`,
		"migrate": `{"keystore":"sealed","key_file":"/k"}`, "invalidate": `{"access_token":"abc"}`, "events": "profile=a&profile=b",
		"sign": `{"url":"https:\/\/\u00e9?a=1&b=2#c"}`, "verify": `{"token":"\u0000\ud800","remote":true}`,
		"token": "scope=a+b&audience=c&min_ttl=300s&fresh=true",
	} {
		f.Add(decoder, body)
	}
	f.Add("profile", `{"settings":{"":{"":1e400}}}`)
	f.Fuzz(func(t *testing.T, decoder, body string) {
		decode, ok := decoders[decoder]
		if !ok {
			return
		}
		if err := decode(body); err != nil && !errors.Is(err, token.ErrInvalid) {
			t.Fatalf("not ErrInvalid: %v", err)
		}
		p, err := decodeProfile(body)
		if err != nil {
			return
		}
		again := ipc.ProfileBody{CreateProfile: p, SecretsBase64: map[string][]byte{}}
		again.Secrets = nil
		for name, secret := range p.Secrets {
			again.SecretsBase64[name] = []byte(secret.Reveal())
		}
		trip, err := json.Marshal(again)
		if err != nil {
			return // a time beyond the year 9999
		}
		q, err := decodeProfile(string(trip))
		if err != nil || len(p.Secrets) != len(q.Secrets) || p.Name != q.Name || p.Provider != q.Provider {
			t.Fatalf("%+v became %+v, %v", p, q, err)
		}
		for name, secret := range p.Secrets {
			if !q.Secrets[name].Equal(secret) {
				t.Fatalf("secret %q changed", name)
			}
		}
	})
}
