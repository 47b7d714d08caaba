package mint

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"

	"tokend/providers/token"
)

// claims are what we show of a JWT: of its header the algorithm, of its payload
// the rest.
type claims struct {
	Algorithm texts `json:"alg"`
	Issuer    texts `json:"iss"`
	Subject   texts `json:"sub"`
	Audience  texts `json:"aud"`
	ClientID  texts `json:"client_id"`
	Party     texts `json:"azp"`
	AppID     texts `json:"appid"`
	Scope     texts `json:"scope"`
	EntraList texts `json:"scp"`
	Roles     texts `json:"roles"`
}

// texts are the strings of a claim that is a string or a list of them. A claim of
// another type has none.
type texts []string

// UnmarshalJSON never fails.
func (t *texts) UnmarshalJSON(b []byte) error {
	var one any
	_ = json.Unmarshal(b, &one) // it is valid JSON
	many, ok := one.([]any)
	if !ok {
		many = []any{one}
	}
	for _, v := range many {
		if s, ok := v.(string); ok && s != "" {
			*t = append(*t, s)
		}
	}
	return nil
}

// text returns the claim as one string.
func (t texts) text() string {
	if len(t) != 1 {
		return ""
	}
	return t[0]
}

// preview returns what a token says. It verifies nothing: that is up to the
// service that the token is for.
func preview(secret token.Secret) *token.ClaimsPreview {
	parts := strings.Split(secret.Reveal(), ".")
	header, signed := decodePart(parts[0])
	signed = signed && header.Algorithm.text() != "" // RFC 7515 §4, RFC 7516 §4
	if signed && len(parts) == 5 {
		return &token.ClaimsPreview{Format: "jwe"}
	}
	if signed && len(parts) == 3 {
		if c, ok := decodePart(parts[1]); ok {
			client := slices.Concat(c.ClientID, c.Party, c.AppID)
			scopes := strings.Fields(strings.Join(slices.Concat(c.Scope, c.EntraList), " "))
			return &token.ClaimsPreview{
				Format: "jwt", Issuer: c.Issuer.text(), Subject: c.Subject.text(), Audience: c.Audience,
				Client: client[:min(1, len(client))].text(), Scopes: slices.Concat(scopes, c.Roles),
			}
		}
	}
	return &token.ClaimsPreview{Format: "opaque"}
}

// decodePart reads one part of a JWT, base64url of a JSON object.
func decodePart(part string) (c claims, ok bool) {
	b, err := base64.RawURLEncoding.DecodeString(part)
	return c, err == nil && json.Unmarshal(b, &c) == nil
}
