package ipc

import (
	"encoding/json"
	"errors"
	"time"

	"tokend/providers/token"
)

// readGrant reads into g the answer to a request for a token, as format.AppendJSON
// writes it. Members that it does not know are from a later version.
//
// It decodes into a map: to study a struct by reflection costs a program that
// has just started 0.1 ms, a tenth of a launch.
func readGrant(body []byte, g *token.Grant) error {
	var members any
	err := json.Unmarshal(body, &members)
	object, _ := members.(map[string]any)
	text := func(name string) string {
		s, _ := object[name].(string)
		return s
	}
	at := func(name string) (t time.Time) {
		if text(name) != "" && err == nil {
			t, err = time.Parse(time.RFC3339, text(name))
		}
		return t
	}
	*g = token.Grant{
		Token: token.Token{
			Secret: token.NewSecret(text("access_token")), Type: text("token_type"), Scope: text("scope"),
			Issued: at("issued_at"), Expiry: at("expires_at"), RenewAt: at("renew_at"),
		},
		Second:  token.Header{Name: text("second_header"), Value: token.NewSecret(text("second_secret"))},
		Profile: token.WithResource(text("profile"), text("resource")), Present: token.Presentation(text("present")), Host: text("host"), Warning: text("warning"),
	}
	switch {
	case err != nil:
		return err
	case g.Secret.IsZero():
		return errors.New("an answer without a token")
	}
	return g.Present.Check()
}
