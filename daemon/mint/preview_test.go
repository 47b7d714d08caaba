package mint

import (
	"encoding/base64"
	"reflect"
	"strings"
	"testing"

	"tokend/providers/token"
)

// jwt makes a token of JSON parts; its signature is no signature.
func jwt(parts ...string) token.Secret {
	for i, part := range parts {
		parts[i] = base64.RawURLEncoding.EncodeToString([]byte(part))
	}
	return token.NewSecret(strings.Join(parts, "."))
}

func TestWhatATokenSaysOfItself(t *testing.T) {
	const head = `{"alg":"RS256"}`
	opaque := &token.ClaimsPreview{Format: "opaque"}
	for name, c := range map[string]struct {
		token token.Secret
		want  *token.ClaimsPreview
	}{
		"RFC 9068": {jwt(head, `{"iss":"https://id","sub":"s","aud":"https://a","client_id":"c","scope":"read write","exp":1}`, "sig"),
			&token.ClaimsPreview{Format: "jwt", Issuer: "https://id", Subject: "s", Audience: []string{"https://a"}, Client: "c", Scopes: []string{"read", "write"},
				Claims: map[string]any{"iss": "https://id", "sub": "s", "aud": "https://a", "scope": "read write", "exp": 1.0}}},
		"Entra": {jwt(head, `{"aud":["x","y"],"appid":"app","roles":["Read.All"],"scp":["user"],"tid":"t","ver":"2.0","name":"Jane"}`, "sig"),
			&token.ClaimsPreview{Format: "jwt", Audience: []string{"x", "y"}, Client: "app", Scopes: []string{"user", "Read.All"},
				Claims: map[string]any{"aud": []any{"x", "y"}, "appid": "app", "roles": []any{"Read.All"}, "scp": []any{"user"}, "tid": "t", "ver": "2.0"}}},
		"claims of other kinds": {jwt(head, `{"iss":7,"sub":{},"aud":[1,"x",null],"scope":true}`, "sig"),
			&token.ClaimsPreview{Format: "jwt", Audience: []string{"x"},
				Claims: map[string]any{"iss": 7.0, "sub": map[string]any{}, "aud": []any{1.0, "x", nil}, "scope": true}}},
		"no signature": {jwt(head, `{"sub":"s"}`, ""), &token.ClaimsPreview{Format: "jwt", Subject: "s", Claims: map[string]any{"sub": "s"}}},
		"encrypted":    {jwt(`{"alg":"dir","enc":"A128GCM"}`, "", "iv", "text", "tag"), &token.ClaimsPreview{Format: "jwe"}},
		"opaque":       {token.NewSecret("abc.def.ghi"), opaque},
		"one word":     {token.NewSecret("abc"), opaque},
		"no claims":    {jwt(head, `[]`, "sig"), opaque},
		"no algorithm": {jwt(`{}`, `{"sub":"s"}`, "sig"), opaque},
		"four parts":   {jwt(head, `{}`, "a", "b"), opaque},
	} {
		if got := preview(c.token); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}
