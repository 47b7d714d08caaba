package ipcserver

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"

	"tokend/ipc"
	"tokend/providers/token"
)

// authorize answers a proxy that asks whether to let a request through, whose
// header it passes on: nginx's auth_request, a forward-auth. Only 204 means
// yes, only 401 and 403 are verdicts.
func (h *handler) authorize(c *call) (any, error) {
	shown, verdict, err := presented(c.Header)
	if err == nil && verdict.Reason == "" {
		c.event = token.AuditEntry{Do: "verify", Profile: c.name}
		verdict, err = h.backend.Verify(c.Context(), c.name, shown)
	}
	switch {
	case err != nil:
		return nil, err
	case !verdict.Valid:
		return c.turnAway(verdict), nil
	}
	// These are always there, since some proxies pass on the client's own where one is
	// missing; what cannot stand in a header as it is, or is too long, makes it empty.
	head := c.w.Header()
	head.Set("X-Tokend-Subject", headerText(verdict.Claims["sub"]))
	head.Set("X-Tokend-Issuer", headerText(verdict.Claims["iss"]))
	head.Set("X-Tokend-Claims", encodeClaims(verdict.Claims, maxClaims))
	head.Set("X-Tokend-Consent", encodeClaims(verdict.Consent, maxConsent))
	c.status = http.StatusNoContent
	return text(""), nil
}

// presented finds the token in X-API-Key or Authorization (RFC 6750 §2.1), and the
// consent token in X-Consent-Token.
// Both of the former may hold it; two different ones are refused, lest the service
// behind the proxy reads the other one. For the same reason a header that programs read
// in different ways is an error. "missing" and "ambiguous" are reasons of its own;
// the others are the verifier's.
func presented(head http.Header) (p token.Presented, v token.Verdict, err error) {
	consent, err := single(head, "X-Consent-Token")
	if err != nil {
		return p, v, err
	}
	p.Consent = token.NewSecret(consent)
	for _, name := range []string{"X-Api-Key", "Authorization"} {
		text, err := single(head, name)
		if err == nil && name == "Authorization" {
			text, err = bearerToken(text)
		}
		next := token.NewSecret(text)
		switch {
		case err != nil:
			return p, v, err
		case next.IsZero():
		case p.Token.IsZero():
			p.Token = next
		case !p.Token.Equal(next):
			return p, token.Verdict{Reason: "ambiguous", Message: "X-API-Key and Authorization hold different tokens"}, nil
		}
	}
	if p.Token.IsZero() {
		v = token.Verdict{Reason: "missing", Message: "no token in X-API-Key or Authorization: Bearer"}
	}
	return p, v, nil
}

// single returns the value of a header that may be there once.
func single(head http.Header, name string) (string, error) {
	values := head.Values(name)
	if len(values) > 1 {
		return "", invalid(name, "the request has %d %s headers", len(values), name)
	}
	return strings.Join(values, ""), nil
}

// bearerToken returns the token of an Authorization header, "" if it has another scheme
// or no token.
func bearerToken(value string) (string, error) {
	const scheme = "Bearer"
	if len(value) < len(scheme) || !strings.EqualFold(value[:len(scheme)], scheme) {
		return "", nil
	}
	rest := value[len(scheme):]
	text := strings.TrimLeft(rest, " ")
	if rest != "" && text == rest || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' || r == ',' }) {
		return "", invalid("Authorization", "the Authorization header is not in the form Bearer TOKEN (RFC 6750 section 2.1)")
	}
	return text, nil
}

// turnAway answers for a token that is not good: 403 for one that is good and
// for another service, or lacks a good consent token, 401 with a challenge (RFC 6750
// §3) for all others. The challenge names no error if there was no token (§3.1).
func (c *call) turnAway(v token.Verdict) token.Verdict {
	v.Valid, v.Claims, v.Consent = false, nil, nil
	c.w.Header().Set("X-Tokend-Reason", v.Reason)
	challenge := `Bearer error="invalid_token"`
	switch v.Reason {
	case "wrong_audience", "bad_consent":
		c.status = http.StatusForbidden
		return v
	case "missing":
		challenge = "Bearer"
	case "ambiguous":
		challenge = `Bearer error="invalid_request"`
	}
	c.status = http.StatusUnauthorized
	c.w.Header().Set("WWW-Authenticate", challenge)
	return v
}

const (
	// maxClaim, maxClaims and maxConsent bound what goes into response headers: proxies
	// have buffers of a few KiB for all of them together.
	maxClaim   = 512
	maxClaims  = 8 << 10
	maxConsent = 4 << 10
)

// encodeClaims is claims as JSON in base64url, empty without any or if that is
// longer than most.
func encodeClaims(claims map[string]any, most int) string {
	b, err := json.Marshal(claims)
	if err != nil || claims == nil || base64.RawURLEncoding.EncodedLen(len(b)) > most {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// headerText is a claim that is text and can be a header's value, else "".
func headerText(claim any) string {
	text, _ := claim.(string)
	if len(text) > maxClaim || !ipc.IsVisible(text) {
		return ""
	}
	return text
}
