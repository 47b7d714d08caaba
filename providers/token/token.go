// Package token defines the types that all parts of tokend share: what a token,
// a secret, a profile and an error are. It imports nothing of ours and nothing
// heavy, because tokenctl links it.
package token

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// A Token is a secret with a lifetime. Its times are wall-clock times of this
// machine, without monotonic readings (Round(0)): a monotonic clock stands
// still while a laptop sleeps, a token's life does not.
type Token struct {
	Secret Secret
	// Type is the token_type (RFC 6749 §7.1), usually "Bearer".
	Type string
	// Scope is what was granted, if the issuer said so (RFC 6749 §5.1).
	Scope string
	// Issued is when the answer was received, Expiry that plus its expires_in.
	Issued, Expiry time.Time
	// RenewAt is when to obtain the next token. A provider sets it to the
	// issuer's advice (refresh_in), or leaves it zero for the daemon to set.
	RenewAt time.Time
	// Skew is the issuer's clock minus ours when the token arrived, in whole
	// seconds, according to the Date header; zero if unknown.
	Skew time.Duration
}

// A State says what to do with a token at some moment.
type State int

const (
	// Expired: obtain another token before answering.
	Expired State = iota
	// Due: serve the token, and obtain the next one.
	Due
	// Fresh: serve the token.
	Fresh
)

func (s State) String() string {
	return [...]string{"expired", "due", "fresh"}[s]
}

// leapTolerance is how far the clock may have gone back behind a token's
// Issued before its age counts as unknown.
const leapTolerance = time.Minute

// State returns the state of t at now. A token from the future (the clock was
// set back) is expired, because its true age is unknown.
func (t Token) State(now time.Time) State {
	switch {
	case t.Secret.IsZero() || now.Before(t.Issued.Add(-leapTolerance)) || !now.Before(t.ServeUntil()):
		return Expired
	case !now.Before(t.RenewAt):
		return Due
	}
	return Fresh
}

// Life returns the token's whole lifetime.
func (t Token) Life() time.Duration { return t.Expiry.Sub(t.Issued) }

// ServeUntil returns when tokend stops serving t: shortly before its expiry
// (10 s, or a tenth of a short life), so that it is still valid when it is
// used.
func (t Token) ServeUntil() time.Time {
	return t.Expiry.Add(-min(10*time.Second, t.Life()/10))
}

// A Target says what a token is for, where that differs from the profile's
// settings. The zero Target is the profile as configured.
type Target struct {
	// Scope is a space-separated list (RFC 6749 §3.3).
	Scope string `json:"scope,omitempty"`
	// Audience is the audience or resource, in the provider's own terms.
	Audience string `json:"audience,omitempty"`
}

// A Minter obtains tokens for one profile. Mint always asks the issuer; caching
// is up to the daemon. Its errors are *Error with ErrRejected, ErrUnavailable or
// ErrInvalid (this provider has no such target), or those of the keystore.
type Minter interface {
	Mint(ctx context.Context, t Target) (Token, error)
	// Endpoint returns the URL that Mint sends its request to.
	Endpoint() string
}

// A Signer signs single requests, for services that have no tokens.
type Signer interface {
	// Sign returns what to send with a request for r.URL. Errors are *Error,
	// with ErrInvalid and Field "url" for a URL that cannot be signed.
	Sign(ctx context.Context, r Request) (Signed, error)
}

// A Request is a request to sign.
type Request struct {
	URL string `json:"url"`
}

// Signed is a signed request.
type Signed struct {
	// URL is what was signed: the client must request exactly this one.
	URL     string
	Headers []Header
	// Issued is the time in the signature.
	Issued time.Time
	// Warning says why the service may refuse the request nevertheless.
	Warning string
}

// SecondSecret is the secret field with the value of a profile's second header.
const SecondSecret = "second_secret"

// A Header is one header of a request. Its value is a credential.
type Header struct {
	Name  string
	Value Secret
}

// A Verifier verifies tokens that others present.
type Verifier interface {
	// Verify verifies what was presented. A token that is not good is a Verdict,
	// not an error; an error means that there is no verdict.
	Verify(ctx context.Context, p Presented) (Verdict, error)
}

// Presented is what a caller presented to a profile's data source. It is the body of
// POST /v1/verify/NAME, where its secrets are in the open.
type Presented struct {
	Token Secret `json:"token"`
	// Consent is the consent token that came with it, if any: a person's consent
	// to hand out data.
	Consent Secret `json:"consent_token"`
	// Remote: ask the issuer's own service about Token.
	Remote bool `json:"remote"`
}

// A Verdict says whether a token is good, or the first reason why it is not;
// the signature comes before the claims. Its JSON form crosses the socket.
type Verdict struct {
	Valid bool `json:"valid"`
	// Reason is one word for programs: malformed, unknown_key, bad_signature,
	// wrong_issuer, wrong_audience, expired, not_yet_valid, …
	Reason string `json:"reason,omitempty"`
	// Message is the reason in words.
	Message string `json:"message,omitempty"`
	// Claims are the claims of a good token, Consent those of a good consent token.
	Claims  map[string]any `json:"claims,omitempty"`
	Consent map[string]any `json:"consent,omitempty"`
}

// A Record is a token as the cache keeps it.
type Record struct {
	Profile string
	Target  Target
	// Fingerprint identifies the profile's settings and credential. A record
	// with another fingerprint was obtained for something else.
	Fingerprint string
	Token       Token
}

// A Query is a caller's request for a token.
type Query struct {
	Target
	// MinTTL is the shortest remaining life that the caller can use.
	MinTTL time.Duration
	// Fresh asks for a newly obtained token.
	Fresh bool
	// Second asks for the value of the profile's second header too.
	Second bool
	// Warn says that a person reads what the caller prints.
	Warn bool
	// URL is where the caller will send the token; the profile's hosts must
	// cover it. With a URL the query need not name a profile.
	URL string
	// Trace, if there is one, collects the steps, for those who may manage
	// profiles.
	Trace *Trace
}

// A Grant is the answer to a Query: a token, and how to use it.
type Grant struct {
	Token
	// Profile is whose token it is, or NAME/RESOURCE.
	Profile string
	// Present says how to present the token to the profile's hosts.
	Present Presentation
	// Second is the header that they want besides, if Query.Second asked for it.
	Second Header
	// Host is which of the profile's hosts covers Query.URL, empty without one.
	Host string
	// Warning is for the person, if Query.Warn was set: the credential expires soon, and
	// what to do. Each user gets it once a day.
	Warning string
}

// A Presentation says how to present a profile's token to its hosts. It is text,
// as in the profile's file:
//
//	""             the way that the calling tool prefers
//	bearer         Authorization: Bearer TOKEN (RFC 6750 §2.1)
//	basic:USER     Authorization: Basic, with the token as password (RFC 7617)
//	header:NAME    NAME: TOKEN
//	acr            exchanged at its Azure Container Registry
type Presentation string

// Bearer and ACR are the presentations without a parameter.
const (
	Bearer Presentation = "bearer"
	ACR    Presentation = "acr"
)

// User returns the user name of a Basic presentation.
func (p Presentation) User() (name string, ok bool) {
	return strings.CutPrefix(string(p), "basic:")
}

// Header returns the name of a header whose value is the token alone.
func (p Presentation) Header() (name string, ok bool) {
	return strings.CutPrefix(string(p), "header:")
}

// Check returns an error that says what is wrong with p.
func (p Presentation) Check() error {
	const tchar = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^_`|~" // RFC 9110 §5.6.2
	user, basic := p.User()
	name, header := p.Header()
	switch {
	case basic && (user == "" || strings.ContainsFunc(user, func(r rune) bool { return r < ' ' || r > '~' || r == ':' })):
		return fmt.Errorf("%q is not a user name for Basic authentication (RFC 7617 §2)", user)
	case header && (name == "" || strings.Trim(name, tchar) != "" || strings.EqualFold(name, "Authorization")):
		return fmt.Errorf("%q is not the name of a header of its own", name)
	case basic, header, p == "", p == Bearer, p == ACR:
		return nil
	}
	return fmt.Errorf(`%q is not one of "bearer", "basic:USER", "header:NAME" and "acr"`, string(p))
}
