package jose

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
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
	ReasonConsent      = "bad_consent"
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
	if f, ok := errors.AsType[*flaw](err); ok {
		return token.Verdict{Reason: f.reason, Message: f.words}, nil
	}
	if err != nil {
		return token.Verdict{}, err
	}
	return token.Verdict{Valid: true, Claims: claims}, nil
}

// Quote returns a stranger's text in quotes, fit for a message.
func Quote(text string) string { return fmt.Sprintf("%q", token.Printable(text, 60)) }

// Rules say what a good token is.
type Rules struct {
	// Issuer is whose tokens they are, in messages.
	Issuer string
	// Audiences are those of which a token must be for one, by AudienceClaim
	// ("aud").
	Audiences     []string
	AudienceClaim string
	// Algorithms are those that keys may be used with.
	Algorithms []string
	// Type is the typ of the header (RFC 8725 §3.11), "" for any.
	Type   string
	Leeway time.Duration
	// Strict leaves nothing open: keys state their kid, use and alg, tokens have a
	// kid, and aud is a string, not a list.
	Strict bool
	// Required are the claims that a token must have besides iss, AudienceClaim and
	// exp.
	Required []string
}

// Published is the key set (RFC 7517 §5) of an issuer, and the URL that it is from.
type Published struct {
	Issuer, From string
	Keys         strictjson.Object
}

// A Verifier verifies JWTs (RFC 7519 §7.2, RFC 8725). It fetches the issuer's keys
// when they are first needed; while the issuer cannot be reached, they stay usable
// for a day.
type Verifier struct {
	rules Rules
	fetch func(context.Context) ([]Published, error)

	mu    sync.Mutex
	known knownKeys
	// flight is closed when the current fetch ends; nil if there is none.
	flight chan struct{}
}

// NewVerifier returns a verifier that knows no keys yet. fetch gets the key sets of
// the issuers whose tokens count, which is one, but for consents. Its errors are
// ErrUnavailable.
func NewVerifier(rules Rules, fetch func(context.Context) ([]Published, error)) *Verifier {
	rules.AudienceClaim = cmp.Or(rules.AudienceClaim, "aud")
	return &Verifier{rules: rules, fetch: fetch}
}

// topicKeys is the text of docs/errors.md on key sets without a usable key.
const topicKeys = "issuer-keys"

// Look fetches the keys, and returns what it found, in words. The error is
// ErrUnavailable, also if no key can be used.
func (v *Verifier) Look(ctx context.Context) ([]string, error) {
	known, err := v.fetchAgain(ctx)
	if err == nil && len(known.keys) == 0 {
		err = &token.Error{Code: token.ErrUnavailable, Topic: topicKeys, Message: v.rules.Issuer + " publishes no key that can verify these tokens"}
	}
	if err != nil {
		return nil, err
	}
	return []string{fmt.Sprintf("keys of %s: %d", v.rules.Issuer, len(known.keys))}, nil
}

// Inherit takes over the keys that another Verifier of the same rules knows, so
// that they outlive a reload. old may be in use; v must not be yet.
func (v *Verifier) Inherit(old any) {
	if o, ok := old.(*Verifier); ok && v.rules.Issuer == o.rules.Issuer && v.rules.Strict == o.rules.Strict && slices.Equal(v.rules.Algorithms, o.rules.Algorithms) {
		v.known = o.snapshot()
	}
}

// Verify implements token.Verifier.
func (v *Verifier) Verify(ctx context.Context, p token.Presented) (token.Verdict, error) {
	switch {
	case p.Remote:
		return token.Verdict{}, &token.Error{Code: token.ErrInvalid, Field: "remote", Message: "this profile's issuer has no service that verifies tokens"}
	case !p.Consent.IsZero(): // which must not be taken for verified
		return Verdict(nil, Flaw(ReasonConsent, "there is a consent token, and this profile's issuer has none"))
	}
	return Verdict(v.claims(ctx, p.Token.Reveal()))
}

// claims returns the claims of a good token, numbers as json.Number. Its error
// is a flaw, or ErrUnavailable if the issuer's keys cannot be had. It makes no
// request while they are known.
func (v *Verifier) claims(ctx context.Context, text string) (map[string]any, error) {
	h, err := readHeader(text)
	switch {
	case err != nil:
		return nil, err
	case !slices.Contains(v.rules.Algorithms, h.algorithm):
		return nil, Flaw(ReasonAlgorithm, "the token's algorithm %s is not allowed", Quote(h.algorithm))
	case v.rules.Strict && h.keyID == "":
		return nil, Flaw(ReasonUnknownKey, "the token's header has no kid")
	}
	key, err := v.key(ctx, h.keyID, h.algorithm)
	if err != nil {
		return nil, err
	}
	c, err := v.parse(text, h.algorithm, key)
	if errors.Is(err, errSignature) && h.keyID == "" {
		// Without a kid, a token by a new key looks like a forgery by the old one.
		known, unavailable := v.fetchAgain(ctx)
		if unavailable != nil {
			return nil, unavailable
		}
		if newer, found := known.find("", h.algorithm); found {
			c, err = v.parse(text, h.algorithm, newer)
		}
	}
	if err != nil {
		return nil, err
	}
	// Media types, of which "application/" may be left out (RFC 7515 §4.1.9).
	short := func(typ string) string { return strings.TrimPrefix(strings.ToLower(typ), "application/") }
	if v.rules.Type != "" && short(h.typ) != short(v.rules.Type) {
		return nil, Flaw(ReasonUnsupported, "the token's typ is %s, not %q", Quote(h.typ), v.rules.Type)
	}
	return c.Values(), nil
}

// A header is what counts of a token's header (RFC 7515 §4.1). Keys and their
// addresses in it (jwk, jku, x5c, x5u) are not even read, because an attacker
// would bring them along (RFC 8725 §3.10). Many issuers send them, so they are
// not a reason to refuse a token.
type header struct{ algorithm, keyID, typ string }

// readHeader checks the form of a JWS in compact serialization (RFC 7515 §7.1),
// and in its header what golang-jwt does not look at. Its error is a flaw.
func readHeader(text string) (h header, err error) {
	switch dots := strings.Count(text[:min(len(text), maxToken)], "."); {
	case len(text) > maxToken:
		return header{}, Flaw(ReasonMalformed, "the token is longer than 16 KiB")
	case dots == 4 || strings.HasPrefix(text, "{"):
		return header{}, Flaw(ReasonUnsupported, "the token is encrypted (JWE) or in JSON serialization, not a compact JWS")
	case dots != 2:
		return header{}, Flaw(ReasonMalformed, "the token is not a compact JWS, which has three parts with dots between them")
	}
	var parts [3][]byte
	for i, part := range strings.Split(text, ".") {
		if parts[i], err = decodeBase64(part); err != nil {
			return header{}, Flaw(ReasonMalformed, "the token's %s is not canonical base64url", [...]string{"header", "payload", "signature"}[i])
		}
	}
	o, err := strictjson.Parse(parts[0])
	if err != nil {
		return header{}, Flaw(ReasonMalformed, "the token's header is %v", err)
	}
	// What would change the meaning of the rest: extensions that must be
	// understood (RFC 7515 §4.1.11), a payload that is not encoded (RFC 7797),
	// encryption and compression (RFC 7516 §4.1).
	for _, name := range []string{"crit", "b64", "enc", "zip"} {
		if o.Has(name) {
			return header{}, Flaw(ReasonUnsupported, "the token's header has %q, which is not supported", name)
		}
	}
	for name, into := range map[string]*string{"alg": &h.algorithm, "kid": &h.keyID, "typ": &h.typ} {
		if *into = o.Text(name); o.Has(name) && !o.IsText(name) {
			return header{}, Flaw(ReasonMalformed, "the token's %s is not a string", name)
		}
	}
	if h.algorithm == "" {
		return header{}, Flaw(ReasonMalformed, "the token's header names no algorithm")
	}
	return h, nil
}

// Unverified returns the payload of a token without verifying anything.
func Unverified(text string) (strictjson.Object, error) {
	if _, err := readHeader(text); err != nil {
		return nil, err
	}
	var c claims
	if _, _, err := jwt.NewParser().ParseUnverified(text, &c); err != nil {
		return nil, c.flawOf(err, "")
	}
	return c.Object, nil
}

var errSignature = Flaw(ReasonSignature, "the token's signature is not that of the issuer's key")

// parse has golang-jwt parse a token, verify its signature, and validate its
// claims.
func (v *Verifier) parse(text, algorithm string, key publicKey) (*claims, error) {
	if !slices.Contains(key.algorithms, algorithm) {
		return nil, Flaw(ReasonAlgorithm, "the token's algorithm %s is not that of its key", Quote(algorithm))
	}
	c := &claims{rules: v.rules}
	parser := jwt.NewParser(jwt.WithStrictDecoding(), jwt.WithValidMethods(v.rules.Algorithms), jwt.WithLeeway(v.rules.Leeway),
		jwt.WithIssuer(key.issuer), jwt.WithAudience(v.rules.Audiences...), jwt.WithExpirationRequired(), jwt.WithIssuedAt())
	_, err := parser.ParseWithClaims(text, c, func(t *jwt.Token) (any, error) {
		t.Method = method(algorithm)
		return key.public, nil
	})
	if errors.Is(err, jwt.ErrTokenMalformed) { // by its payload, which the library parses first
		dot := strings.LastIndexByte(text, '.')
		signature, _ := decodeBase64(text[dot+1:])
		if method(algorithm).Verify(text[:dot], signature, key.public) != nil {
			return nil, errSignature // nothing is said of what the issuer has not signed
		}
	}
	if err != nil {
		return nil, c.flawOf(err, key.issuer)
	}
	return c, nil
}

// flawOf says in a verdict's words what golang-jwt found.
func (c *claims) flawOf(err error, issuer string) error {
	if f, ok := errors.AsType[*flaw](err); ok {
		return f
	}
	switch {
	case errors.Is(err, jwt.ErrTokenMalformed), errors.Is(err, jwt.ErrTokenUnverifiable):
		return Flaw(ReasonMalformed, "the token's payload is not JSON")
	case errors.Is(err, jwt.ErrTokenSignatureInvalid):
		return errSignature
	}
	for _, name := range append([]string{"iss", c.rules.AudienceClaim, "exp"}, c.rules.Required...) {
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
	case iss != issuer:
		return Flaw(ReasonIssuer, "the token is from %s, not from %s", Quote(iss), issuer)
	case errors.Is(err, jwt.ErrTokenInvalidAudience), errors.Is(err, jwt.ErrTokenRequiredClaimMissing): // which is there, and empty
		return Flaw(ReasonAudience, "the token is for %s, not for %s", Quote(strings.Join(aud, ", ")), strings.Join(c.rules.Audiences, " or "))
	case errors.Is(err, jwt.ErrTokenExpired):
		return Flaw(ReasonExpired, "the token expired at %s", at("exp"))
	case errors.Is(err, jwt.ErrTokenNotValidYet):
		return Flaw(ReasonNotYetValid, "the token is not valid before %s (nbf)", at("nbf"))
	case errors.Is(err, jwt.ErrTokenUsedBeforeIssued):
		return Flaw(ReasonNotYetValid, "the token is not valid before %s (iat)", at("iat"))
	}
	return Flaw(ReasonBadClaim, "the token's claims are not valid")
}

// claims are a token's claims, each in the one form that RFC 7519 §4.1 allows.
// Their errors are flaws.
type claims struct {
	strictjson.Object
	rules Rules
}

// UnmarshalJSON has golang-jwt parse strictly.
func (c *claims) UnmarshalJSON(text []byte) (err error) {
	if c.Object, err = strictjson.Parse(text); err != nil {
		return Flaw(ReasonMalformed, "the token's payload is %v", err)
	}
	return nil
}

// Validate checks what golang-jwt has no rule for, after it verified the
// signature.
func (c *claims) Validate() error {
	_, err := c.GetSubject()
	if slices.ContainsFunc(c.rules.Required, func(name string) bool { return !c.Has(name) }) {
		err = cmp.Or(err, jwt.ErrTokenRequiredClaimMissing)
	}
	return err
}

func (c *claims) GetIssuer() (string, error)                   { return c.text("iss") }
func (c *claims) GetSubject() (string, error)                  { return c.text("sub") }
func (c *claims) GetExpirationTime() (*jwt.NumericDate, error) { return c.date("exp") }
func (c *claims) GetNotBefore() (*jwt.NumericDate, error)      { return c.date("nbf") }
func (c *claims) GetIssuedAt() (*jwt.NumericDate, error)       { return c.date("iat") }

// GetAudience returns the audience, which is a string or a list of them. Without
// checking it, tokens that were made for others would do.
func (c *claims) GetAudience() (jwt.ClaimStrings, error) {
	name := c.rules.AudienceClaim
	list := c.Texts(name)
	switch {
	case !c.Has(name):
		return nil, nil
	case c.IsText(name):
		return jwt.ClaimStrings{c.Text(name)}, nil
	case c.rules.Strict:
		return nil, Flaw(ReasonBadClaim, "the token's %s is not a string", name)
	case list == nil:
		return nil, Flaw(ReasonBadClaim, "the token's %s is neither a string nor a list of strings", name)
	}
	return list, nil
}

func (c *claims) text(name string) (string, error) {
	if c.Has(name) && !c.IsText(name) {
		return "", Flaw(ReasonBadClaim, "the token's %s is not a string", name)
	}
	return c.Text(name), nil
}

// date reads a NumericDate (RFC 7519 §2): a number of seconds, perhaps with a
// fraction.
func (c *claims) date(name string) (*jwt.NumericDate, error) {
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
