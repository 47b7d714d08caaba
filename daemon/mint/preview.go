package mint

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"

	"tokend/providers/token"
)

// preview returns what a token says. It verifies nothing: that is up to the
// service that the token is for.
func preview(secret token.Secret) *token.ClaimsPreview {
	parts := strings.Split(secret.Reveal(), ".")
	signed := text(decodePart(parts[0])["alg"]) != "" // RFC 7515 §4, RFC 7516 §4
	if signed && len(parts) == 5 {
		return &token.ClaimsPreview{Format: "jwe"}
	}
	if signed && len(parts) == 3 {
		if c := decodePart(parts[1]); c != nil {
			shown := map[string]any{}
			for _, name := range token.ShownClaims {
				if value, ok := c[name]; ok {
					shown[name] = value
				}
			}
			return &token.ClaimsPreview{
				Format: "jwt", Claims: shown, Issuer: text(c["iss"]), Subject: text(c["sub"]), Audience: texts(c["aud"]),
				Client: cmp.Or(text(c["client_id"]), text(c["azp"]), text(c["appid"])),
				Scopes: slices.Concat(strings.Fields(text(c["scope"])), strings.Fields(text(c["scp"])), texts(c["roles"])),
			}
		}
	}
	return &token.ClaimsPreview{Format: "opaque"}
}

// decodePart reads one part of a JWT, base64url of a JSON object; nil if it is
// something else.
func decodePart(part string) (claims map[string]any) {
	if b, err := base64.RawURLEncoding.DecodeString(part); err == nil {
		_ = json.Unmarshal(b, &claims)
	}
	return claims
}

// texts returns the strings of a claim that is a string or a list. A claim of
// another type has none.
func texts(claim any) (texts []string) {
	many, ok := claim.([]any)
	if !ok {
		many = []any{claim}
	}
	for _, v := range many {
		if s, ok := v.(string); ok && s != "" {
			texts = append(texts, s)
		}
	}
	return texts
}

// text returns a claim's strings as one.
func text(claim any) string { return strings.Join(texts(claim), " ") }
