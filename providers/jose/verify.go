package jose

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"tokend/providers/strictjson"
	"tokend/providers/token"
)

// maxToken bounds a token that is to be verified.
const maxToken = 16 << 10

// The reasons why a token is not good (token.Verdict).
const (
	ReasonMalformed    = "malformed"
	ReasonUnsupported  = "unsupported"
	ReasonAlgorithm    = "algorithm_not_allowed"
	ReasonUnknownKey   = "unknown_key"
	ReasonSignature    = "bad_signature"
	ReasonIssuer       = "wrong_issuer"
	ReasonAudience     = "wrong_audience"
	ReasonExpired      = "expired"
	ReasonNotYetValid  = "not_yet_valid"
	ReasonMissingClaim = "missing_claim"
	ReasonBadClaim     = "bad_claim"
	ReasonGateway      = "refused_by_gateway"
)

// A flaw is what is wrong with a token.
type flaw struct{ reason, words string }

func (f *flaw) Error() string { return f.words }

// Flaw returns an error that says what is wrong with a token.
func Flaw(reason, format string, args ...any) error {
	return &flaw{reason, fmt.Sprintf(format, args...)}
}

// Verdict makes a verdict of a token's claims or of its flaw. Other errors stay
// errors.
func Verdict(claims map[string]any, err error) (token.Verdict, error) {
	if f := (*flaw)(nil); errors.As(err, &f) {
		return token.Verdict{Reason: f.reason, Message: f.words}, nil
	}
	if err != nil {
		return token.Verdict{}, err
	}
	return token.Verdict{Valid: true, Claims: claims}, nil
}

// Quote returns a stranger's text in quotes, fit for a message.
func Quote(text string) string { return fmt.Sprintf("%q", token.Printable(text, 60)) }

// Rules say what a good token claims.
type Rules struct {
	Issuer string
	// Audiences are those of which a token must be for one.
	Audiences []string
	// OneAudience: aud must be a string, not a list.
	OneAudience bool
	// Type is the typ of the header (RFC 8725 §3.11), "" for any.
	Type string
	// KeyID: the header must have a kid.
	KeyID  bool
	Leeway time.Duration
}

// A Verifier verifies the JWTs of one issuer (RFC 7519 §7.2, RFC 8725).
type Verifier struct {
	keys      *KeySet
	rules     Rules
	validator *jwt.Validator
}

// NewVerifier returns a verifier that uses keys.
func NewVerifier(keys *KeySet, rules Rules) *Verifier {
	return &Verifier{keys, rules, jwt.NewValidator(jwt.WithLeeway(rules.Leeway), jwt.WithIssuer(rules.Issuer),
		jwt.WithAudience(rules.Audiences...), jwt.WithExpirationRequired(), jwt.WithIssuedAt())}
}

// Keys returns the keys that v uses.
func (v *Verifier) Keys() *KeySet { return v.keys }

// Claims returns the claims of a good token, numbers as json.Number. Its error
// is a flaw, or ErrUnavailable if the issuer's keys cannot be had. It makes no
// request while they are known.
func (v *Verifier) Claims(ctx context.Context, text string) (map[string]any, error) {
	j, err := parseJWS(text)
	switch {
	case err != nil:
		return nil, err
	case !slices.Contains(v.keys.policy.Algorithms, j.algorithm):
		return nil, Flaw(ReasonAlgorithm, "the token's algorithm %s is not allowed", Quote(j.algorithm))
	case v.rules.KeyID && j.keyID == "":
		return nil, Flaw(ReasonUnknownKey, "the token's header has no kid")
	}
	if err := v.checkSignature(ctx, j); err != nil {
		return nil, err
	}
	payload, err := j.claims()
	if err != nil {
		return nil, err
	}
	if err := v.validate(claims{payload, v.rules.OneAudience}); err != nil {
		return nil, err
	}
	if v.rules.Type != "" && !sameType(j.typ, v.rules.Type) {
		return nil, Flaw(ReasonUnsupported, "the token's typ is %s, not %q", Quote(j.typ), v.rules.Type)
	}
	return payload.Values(), nil
}

// checkSignature comes before the claims, so that nothing is said of a payload
// that the issuer has not signed.
func (v *Verifier) checkSignature(ctx context.Context, j jws) error {
	seen := v.keys.known.snapshot()
	key, err := v.keys.key(ctx, j.keyID, j.algorithm)
	if err != nil {
		return err
	}
	err = j.verify(key)
	if err == nil || j.keyID != "" {
		return err
	}
	// Without a kid, a token by a new key looks like a forgery by the old one.
	set, unavailable := v.keys.look(ctx, seen, time.Now().Round(0))
	if unavailable != nil {
		return unavailable
	}
	if newer, found := set.find("", j.algorithm); found {
		err = j.verify(newer)
	}
	return err
}

// A jws is a token with nothing of it verified. Keys and their addresses in its
// header (jwk, jku, x5c, x5u) are not even read, because an attacker would bring
// them along (RFC 8725 §3.10). Many issuers send them, so they are not a reason
// to refuse a token.
type jws struct {
	algorithm, keyID, typ string
	signed                string
	payload, signature    []byte
}

// parseJWS parses a token in compact serialization (RFC 7515 §7.1).
func parseJWS(text string) (j jws, err error) {
	if err := checkForm(text); err != nil {
		return jws{}, err
	}
	parts := strings.Split(text, ".")
	header, bad1 := decodeBase64(parts[0])
	payload, bad2 := decodeBase64(parts[1])
	signature, bad3 := decodeBase64(parts[2])
	if errors.Join(bad1, bad2, bad3) != nil {
		return jws{}, Flaw(ReasonMalformed, "the token is not in canonical base64url")
	}
	o, err := strictjson.Parse(header)
	if err != nil {
		return jws{}, Flaw(ReasonMalformed, "the token's header is %v", err)
	}
	// What would change the meaning of the rest: extensions that must be
	// understood (RFC 7515 §4.1.11), a payload that is not encoded (RFC 7797),
	// encryption and compression (RFC 7516 §4.1).
	for _, name := range []string{"crit", "b64", "enc", "zip"} {
		if o.Has(name) {
			return jws{}, Flaw(ReasonUnsupported, "the token's header has %q, which is not supported", name)
		}
	}
	for _, name := range []string{"alg", "kid", "typ"} {
		if o.Has(name) && !o.IsText(name) {
			return jws{}, Flaw(ReasonMalformed, "the token's %s is not a string", name)
		}
	}
	j = jws{o.Text("alg"), o.Text("kid"), o.Text("typ"), parts[0] + "." + parts[1], payload, signature}
	if j.algorithm == "" {
		return jws{}, Flaw(ReasonMalformed, "the token's header names no algorithm")
	}
	return j, nil
}

// checkForm refuses what is not a JWS in compact serialization.
func checkForm(text string) error {
	if len(text) > maxToken {
		return Flaw(ReasonMalformed, "the token is longer than 16 KiB")
	}
	switch dots := strings.Count(text, "."); {
	case strings.HasPrefix(text, "{"):
		return Flaw(ReasonUnsupported, "the token is in JSON serialization, not a compact JWS")
	case dots == 4:
		return Flaw(ReasonUnsupported, "the token is encrypted (JWE), not a compact JWS")
	case dots != 2:
		return Flaw(ReasonMalformed, "the token is not a compact JWS, which has three parts with dots between them")
	}
	return nil
}

// verify checks the signature with a key that is for its algorithm.
func (j jws) verify(key publicKey) error {
	if !slices.Contains(key.algorithms, j.algorithm) {
		return Flaw(ReasonAlgorithm, "the token's algorithm %s is not that of its key", Quote(j.algorithm))
	}
	if method(j.algorithm).Verify(j.signed, j.signature, key.public) != nil {
		return Flaw(ReasonSignature, "the token's signature is not that of the issuer's key")
	}
	return nil
}

// claims returns the payload.
func (j jws) claims() (strictjson.Object, error) {
	o, err := strictjson.Parse(j.payload)
	if err != nil {
		return nil, Flaw(ReasonMalformed, "the token's payload is %v", err)
	}
	return o, nil
}

// Unverified returns the payload of a token without verifying anything.
func Unverified(text string) (strictjson.Object, error) {
	j, err := parseJWS(text)
	if err != nil {
		return nil, err
	}
	return j.claims()
}

// sameType compares media types, of which "application/" may be left out (RFC
// 7515 §4.1.9).
func sameType(a, b string) bool {
	short := func(typ string) string { return strings.TrimPrefix(strings.ToLower(typ), "application/") }
	return short(a) == short(b)
}

// validate has golang-jwt validate the claims, and says in a verdict's words what
// it found.
func (v *Verifier) validate(c claims) error {
	err := v.validator.Validate(c)
	if err == nil {
		return nil
	}
	if f := (*flaw)(nil); errors.As(err, &f) {
		return f
	}
	for _, name := range []string{"iss", "aud", "exp"} {
		if !c.Has(name) {
			return Flaw(ReasonMissingClaim, "the token has no %s", name)
		}
	}
	at := func(name string) string {
		date, _ := c.date(name)
		return date.UTC().Format(time.RFC3339)
	}
	iss, _ := c.GetIssuer()
	aud, _ := c.GetAudience()
	switch {
	case iss != v.rules.Issuer:
		return Flaw(ReasonIssuer, "the token is from %s, not from %s", Quote(iss), v.rules.Issuer)
	case errors.Is(err, jwt.ErrTokenInvalidAudience), errors.Is(err, jwt.ErrTokenRequiredClaimMissing): // which is there, and empty
		return Flaw(ReasonAudience, "the token is for %s, not for %s", Quote(strings.Join(aud, ", ")), strings.Join(v.rules.Audiences, " or "))
	case errors.Is(err, jwt.ErrTokenExpired):
		return Flaw(ReasonExpired, "the token expired at %s", at("exp"))
	case errors.Is(err, jwt.ErrTokenNotValidYet):
		return Flaw(ReasonNotYetValid, "the token is not valid before %s (nbf)", at("nbf"))
	}
	return Flaw(ReasonNotYetValid, "the token is not valid before %s (iat)", at("iat"))
}

// claims are a token's claims for golang-jwt, each in the one form that RFC 7519
// §4.1 allows. Their errors are flaws.
type claims struct {
	strictjson.Object
	oneAudience bool
}

// Validate checks what the library has no rule for.
func (c claims) Validate() error {
	_, err := c.GetSubject()
	return err
}

func (c claims) GetIssuer() (string, error)                   { return c.text("iss") }
func (c claims) GetSubject() (string, error)                  { return c.text("sub") }
func (c claims) GetExpirationTime() (*jwt.NumericDate, error) { return c.date("exp") }
func (c claims) GetNotBefore() (*jwt.NumericDate, error)      { return c.date("nbf") }
func (c claims) GetIssuedAt() (*jwt.NumericDate, error)       { return c.date("iat") }

// GetAudience returns aud, which is a string or a list of them. Without
// checking it, tokens that were made for others would do.
func (c claims) GetAudience() (jwt.ClaimStrings, error) {
	list := c.Texts("aud")
	switch {
	case !c.Has("aud"):
		return nil, nil
	case c.IsText("aud"):
		return jwt.ClaimStrings{c.Text("aud")}, nil
	case c.oneAudience:
		return nil, Flaw(ReasonBadClaim, "the token's aud is not a string")
	case list == nil:
		return nil, Flaw(ReasonBadClaim, "the token's aud is neither a string nor a list of strings")
	}
	return list, nil
}

func (c claims) text(name string) (string, error) {
	if c.Has(name) && !c.IsText(name) {
		return "", Flaw(ReasonBadClaim, "the token's %s is not a string", name)
	}
	return c.Text(name), nil
}

// date reads a NumericDate (RFC 7519 §2): a number of seconds, perhaps with a
// fraction.
func (c claims) date(name string) (*jwt.NumericDate, error) {
	if !c.Has(name) {
		return nil, nil
	}
	const year10000 = 253402300800
	n, err := strconv.ParseFloat(string(c.Object[name]), 64) // a string begins with a quote
	if err != nil || n < 0 || n >= year10000 {
		return nil, Flaw(ReasonBadClaim, "the token's %s is not a number of seconds since 1970 that makes sense", name)
	}
	return &jwt.NumericDate{Time: time.UnixMilli(int64(n * 1000))}, nil
}
