package providers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"tokend/providers/token"
)

// maxLeeway bounds how far clocks may be apart.
const maxLeeway = 5 * time.Minute

// verifierSettings are those of every kind that verifies tokens.
type verifierSettings struct {
	Leeway    duration `toml:"leeway" default:"60s" doc:"how far the clocks may be apart, 5m at most"`
	UserAgent string   `toml:"user_agent" default:"tokend" doc:"User-Agent of the requests to the issuer"`
}

func (s verifierSettings) check() error {
	if time.Duration(s.Leeway) > maxLeeway {
		return invalid("leeway", "leeway is more than 5m")
	}
	return checkUserAgent(s.UserAgent)
}

// checkBase checks a URL that paths are added to.
func checkBase(field, text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "https" || u.Hostname() == "":
		return invalid(field, "%s must be a URL that begins with https://", field)
	case u.User != nil:
		return invalid(field, "%s must hold no user name or password", field)
	case strings.ContainsAny(text, "?#"):
		return invalid(field, "%s must have no query and no fragment", field)
	}
	return nil
}

// A verifier judges the JWTs of one issuer (RFC 7519 §7.2, RFC 8725) by the
// keys that it publishes.
type verifier struct {
	keys *issuerKeys
	// needsKeyID: a token must name its key.
	needsKeyID bool
	rules      claimRules
}

// claimRules say what a token must claim.
type claimRules struct {
	issuer    string
	audiences []string
	// oneAudience: aud must be a text, not a list.
	oneAudience bool
	// typ is the type of token (RFC 8725 §3.11), "" for any.
	typ    string
	leeway time.Duration
}

// Inherit takes over the keys that old knows, a verifier of the same issuer, so
// that they outlive a reload. Both share them from then on, and old may still be
// in use; v must not be yet. Another issuer's or kind's are left alone.
func (v *verifier) Inherit(old any) {
	other, ok := old.(interface{ issuer() *issuerKeys })
	if ok && v.keys.same(other.issuer()) {
		v.keys.known = other.issuer().known
	}
}

func (v *verifier) issuer() *issuerKeys { return v.keys }

// Verify judges raw by the issuer's keys. It makes no request while these are
// known.
func (v *verifier) Verify(ctx context.Context, raw token.Secret, remote bool) (token.Verdict, error) {
	if remote {
		return token.Verdict{}, invalid("remote", "this profile's issuer has no service that verifies tokens")
	}
	return conclude(v.judge(ctx, raw.Reveal()))
}

// conclude makes a verdict of claims or a flaw; other errors stay errors.
func conclude(claims map[string]any, err error) (token.Verdict, error) {
	if f := (*flaw)(nil); errors.As(err, &f) {
		return token.Verdict{Reason: f.reason, Message: f.words}, nil
	}
	if err != nil {
		return token.Verdict{}, err
	}
	return token.Verdict{Valid: true, Claims: claims}, nil
}

// judge gives the claims of a good token. The signature comes first, so that
// nothing is said of claims that nobody vouches for.
func (v *verifier) judge(ctx context.Context, text string) (map[string]any, error) {
	t, err := parseJWS(text)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(v.keys.policy.algorithms, t.algorithm) {
		return nil, flawed(reasonAlgorithm, "the token's algorithm %s is not allowed", shown(t.algorithm))
	}
	if v.needsKeyID && t.keyID == "" {
		return nil, flawed(reasonUnknownKey, "the token's header has no kid")
	}
	if err := v.checkSignature(ctx, t); err != nil {
		return nil, err
	}
	return v.rules.judge(t, time.Now())
}

// checkSignature checks a signature by the issuer's key.
func (v *verifier) checkSignature(ctx context.Context, t jws) error {
	seen := v.keys.known.snapshot()
	key, err := v.keys.key(ctx, t.keyID, t.algorithm)
	if err != nil {
		return err
	}
	err = t.verify(key)
	if f := (*flaw)(nil); t.keyID != "" || !errors.As(err, &f) || f.reason != reasonSignature {
		return err
	}
	// Without a kid, a token by a new key looks like a forgery by the old one.
	set, unknown := v.keys.look(ctx, seen, time.Now().Round(0))
	if unknown != nil {
		return unknown
	}
	if newer, found := set.find("", t.algorithm); found {
		return t.verify(newer)
	}
	return err
}

// judge gives the claims of a token whose signature is good.
func (r claimRules) judge(t jws, now time.Time) (map[string]any, error) {
	if r.typ != "" && !sameType(t.typ, r.typ) {
		return nil, flawed(reasonUnsupported, "the token's typ is %s, not %q", shown(t.typ), r.typ)
	}
	m, err := parseObject(t.payload)
	if err != nil {
		return nil, flawed(reasonMalformed, "the token's payload is %v", err)
	}
	for _, check := range []func(members, time.Time) error{r.checkIssuer, r.checkAudience, r.checkTimes, checkSubject} {
		if err := check(m, now); err != nil {
			return nil, err
		}
	}
	return t.claims()
}

// sameType compares media types of which "application/" may be left out (RFC
// 7515 §4.1.9).
func sameType(a, b string) bool {
	short := func(typ string) string { return strings.TrimPrefix(strings.ToLower(typ), "application/") }
	return short(a) == short(b)
}

// claims are the claims as they stand, numbers in their own spelling.
func (t jws) claims() (claims map[string]any, err error) {
	dec := json.NewDecoder(bytes.NewReader(t.payload))
	dec.UseNumber()
	if err := dec.Decode(&claims); err != nil {
		return nil, flawed(reasonMalformed, "the token's payload is invalid JSON")
	}
	return claims, nil
}

func (r claimRules) checkIssuer(m members, _ time.Time) error {
	iss, err := m.claim("iss")
	if err != nil {
		return err
	}
	if iss != r.issuer {
		return flawed(reasonIssuer, "the token is from %s, not from %s", shown(iss), r.issuer)
	}
	return nil
}

// checkAudience looks for one of ours (RFC 7519 §4.1.3). Without this, tokens
// that were made for somebody else would do.
func (r claimRules) checkAudience(m members, _ time.Time) error {
	if !m.has("aud") {
		return flawed(reasonMissingClaim, "the token has no aud")
	}
	list := m.texts("aud")
	switch raw := m["aud"]; {
	case raw[0] == '"':
		list = []string{m.text("aud")}
	case r.oneAudience:
		return flawed(reasonBadClaim, "the token's aud is no text")
	case list == nil || !onlyTexts(raw):
		return flawed(reasonBadClaim, "the token's aud is neither a text nor a list of texts")
	}
	for _, aud := range list {
		if slices.Contains(r.audiences, aud) {
			return nil
		}
	}
	return flawed(reasonAudience, "the token is for %s, not for %s", shown(strings.Join(list, ", ")), strings.Join(r.audiences, " or "))
}

// onlyTexts tells a list without null, which would decode as a text.
func onlyTexts(raw json.RawMessage) bool {
	var list []*string
	return json.Unmarshal(raw, &list) == nil && !slices.Contains(list, nil)
}

// checkTimes checks exp, nbf and iat (RFC 7519 §4.1.4 to §4.1.6).
func (r claimRules) checkTimes(m members, now time.Time) error {
	if !m.has("exp") {
		return flawed(reasonMissingClaim, "the token has no exp")
	}
	exp, err := m.date("exp")
	if err != nil {
		return err
	}
	if !now.Before(exp.Add(r.leeway)) {
		return flawed(reasonExpired, "the token expired at %s", exp.UTC().Format(time.RFC3339))
	}
	for _, name := range []string{"nbf", "iat"} {
		if !m.has(name) {
			continue
		}
		from, err := m.date(name)
		if err != nil {
			return err
		}
		if now.Before(from.Add(-r.leeway)) {
			return flawed(reasonNotYetValid, "the token is not valid before %s (%s)", from.UTC().Format(time.RFC3339), name)
		}
	}
	return nil
}

func checkSubject(m members, _ time.Time) error {
	if !m.has("sub") {
		return nil
	}
	_, err := m.claim("sub")
	return err
}

// claim is a claim that must be there and be a text.
func (m members) claim(name string) (string, error) {
	raw, ok := m[name]
	switch {
	case !ok:
		return "", flawed(reasonMissingClaim, "the token has no %s", name)
	case raw[0] != '"':
		return "", flawed(reasonBadClaim, "the token's %s is no text", name)
	}
	return m.text(name), nil
}

// date reads a NumericDate (RFC 7519 §2): a number of seconds, perhaps with a
// fraction.
func (m members) date(name string) (time.Time, error) {
	const year10000 = 253402300800
	n, err := strconv.ParseFloat(string(m[name]), 64) // a JSON text begins with a quote
	if err != nil || n < 0 || n >= year10000 {
		return time.Time{}, flawed(reasonBadClaim, "the token's %s is no number of seconds since 1970 with a meaning", name)
	}
	whole, fraction := math.Modf(n)
	return time.Unix(int64(whole), int64(fraction*1e9)), nil
}
