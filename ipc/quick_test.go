package ipc

import (
	"testing"
	"time"

	"tokend/providers/token"
	"tokend/providers/token/format"
)

// A token in the answer's full form, and in the least.
var quickGrants = []token.Grant{
	{Profile: "clms", Present: "basic:me", Host: "https://dev.example/x", Token: token.Token{
		Secret: token.NewSecret("eyJhbGciOiJub25lIn0.e30.~._-/+="), Type: "Bearer", Scope: "a b",
		Issued:  time.Date(2026, 11, 26, 5, 0, 0, 0, time.UTC),
		Expiry:  time.Date(2026, 11, 26, 6, 0, 0, 0, time.UTC),
		RenewAt: time.Date(2026, 11, 26, 5, 45, 0, 0, time.UTC)}},
	{Token: token.Token{Secret: token.NewSecret("x")}},
}

// What tokend writes is read in the quick way: else each get is slower, and
// nobody sees why.
func TestTokensAnswersAreReadQuickly(t *testing.T) {
	for _, g := range quickGrants {
		body := format.AppendJSON(nil, g, g.Issued)
		a, ok := quickAnswer(body)
		var want tokenAnswer
		if err := decode(body, &want); !ok || err != nil || !sameAnswer(a, want) {
			t.Errorf("%s: read as %+v, %v; encoding/json says %+v, %v", body, a.grant(), ok, want.grant(), err)
		}
	}
}

// Whatever is read in the quick way, encoding/json reads in the same way.
func FuzzQuickAnswer(f *testing.F) {
	for _, g := range quickGrants {
		f.Add(format.AppendJSON(nil, g, g.Issued))
	}
	for _, body := range []string{
		`{"access_token":"a","access_token":"b","expires_in":10}`, `{"access_token":"a","expires_in":01}`, `{"access_token":"a","expires_in":-1}`,
		`{"access_token":"a","expires_at":"2026-11-26T5:00:00Z"}`, `{"access_token":"a","expires_at":"2026-11-26T05:00:00,5Z"}`,
		`{"Access_Token":"a"}`, `{"access_token":"\u0061"}`, `{"access_token":"ä"}`, `{"access_token":"a"}}`, `{"access_token":"a",}`, `{}`, `{"expires_in":}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		a, ok := quickAnswer(body)
		if !ok {
			return
		}
		var want tokenAnswer
		if err := decode(body, &want); err != nil || !sameAnswer(a, want) {
			t.Errorf("read as %+v; encoding/json says %+v, %v", a, want, err)
		}
	})
}

func sameAnswer(a, b tokenAnswer) bool {
	same := a.AccessToken.Equal(b.AccessToken) && a.ExpiresAt.Equal(b.ExpiresAt) && a.IssuedAt.Equal(b.IssuedAt) && a.RenewAt.Equal(b.RenewAt)
	a.AccessToken, a.ExpiresAt, a.IssuedAt, a.RenewAt = b.AccessToken, b.ExpiresAt, b.IssuedAt, b.RenewAt
	return same && a == b
}
