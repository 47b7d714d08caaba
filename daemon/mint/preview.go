package mint

import (
	"encoding/base64"
	"encoding/json"
	"strings"

	"tokend/providers/token"
)

// preview returns what a token says. It verifies nothing: that is up to the
// service that the token is for.
func preview(t token.Secret) *token.ClaimsPreview {
	parts := strings.Split(t.Reveal(), ".")
	switch {
	case len(parts) == 5 && isJOSEHeader(parts[0]):
		return &token.ClaimsPreview{Format: "jwe"}
	case len(parts) != 3 || !isJOSEHeader(parts[0]):
		return &token.ClaimsPreview{Format: "opaque"}
	}
	claims := decodePart(parts[1])
	if claims == nil {
		return &token.ClaimsPreview{Format: "opaque"}
	}
	return &token.ClaimsPreview{
		Format:   "jwt",
		Issuer:   text(claims["iss"]),
		Subject:  text(claims["sub"]),
		Audience: texts(claims["aud"]),
		Client:   firstText(claims["client_id"], claims["azp"], claims["appid"]),
		Scopes:   append(words(claims["scope"], claims["scp"]), texts(claims["roles"])...),
	}
}

// isJOSEHeader reports whether a part says how a token is signed or encrypted
// (RFC 7515 §4, RFC 7516 §4).
func isJOSEHeader(part string) bool { return text(decodePart(part)["alg"]) != "" }

// decodePart reads one part of a JWT, base64url of a JSON object; nil if it is not
// one.
func decodePart(part string) (members map[string]any) {
	b, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil || json.Unmarshal(b, &members) != nil {
		return nil
	}
	return members
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

func firstText(values ...any) string {
	for _, v := range values {
		if s := text(v); s != "" {
			return s
		}
	}
	return ""
}

// texts returns the strings of a claim that is a string or a list of them.
func texts(v any) (list []string) {
	if s := text(v); s != "" {
		return []string{s}
	}
	many, _ := v.([]any)
	for _, one := range many {
		if s := text(one); s != "" {
			list = append(list, s)
		}
	}
	return list
}

// words returns the words of claims that are strings of words, or lists.
func words(values ...any) (list []string) {
	for _, v := range values {
		for _, s := range texts(v) {
			list = append(list, strings.Fields(s)...)
		}
	}
	return list
}
