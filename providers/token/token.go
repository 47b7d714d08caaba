// Package token holds the words that every part of tokend speaks: what a
// token, a secret, a profile and an error are. It imports nothing of ours, and
// nothing heavy, because tokenctl links it.
package token

import (
	"context"
	"time"
)

// A Token is a secret with a lifetime. Its times are wall-clock times as this
// machine's clock saw them, stripped of monotonic readings (Round(0)): a
// monotonic clock stands still while a laptop sleeps, a token's life does not.
type Token struct {
	Secret Secret
	// Type is the token_type (RFC 6749 §7.1), usually "Bearer".
	Type string
	// Scope is what was granted, when the issuer said so (RFC 6749 §5.1).
	Scope string
	// Issued is when the answer was received, Expiry that plus its expires_in.
	Issued, Expiry time.Time
	// RenewAt is when to obtain the next one. A provider sets it to the
	// issuer's own advice (refresh_in), or leaves it zero; the daemon fills it
	// in when the token arrives.
	RenewAt time.Time
	// Skew is the issuer's clock minus ours when the token arrived, as far as
	// the Date header tells (whole seconds); zero when unknown.
	Skew time.Duration
}

// A State says what may be done with a token at some moment.
type State int

const (
	// Expired: obtain another before answering.
	Expired State = iota
	// Due: good to hand out, and time to obtain the next one.
	Due
	// Fresh: good to hand out.
	Fresh
)

func (s State) String() string {
	return [...]string{"expired", "due", "fresh"}[s]
}

// leapTolerance is how far the clock may have gone back behind a token's
// Issued before its age counts as unknown.
const leapTolerance = time.Minute

// State says what may be done with t at now. A token from the future (the
// clock was set back) counts as expired, for its true age is unknown.
func (t Token) State(now time.Time) State {
	switch {
	case t.Secret.IsZero() || now.Before(t.Issued.Add(-leapTolerance)) || !now.Before(t.ServeUntil()):
		return Expired
	case !now.Before(t.RenewAt):
		return Due
	}
	return Fresh
}

// Life is the token's whole lifetime.
func (t Token) Life() time.Duration { return t.Expiry.Sub(t.Issued) }

// ServeUntil is when t stops being handed out: shortly before its expiry
// (10 s, or a tenth of a short life), so that it still lives when it is used.
func (t Token) ServeUntil() time.Time {
	return t.Expiry.Add(-min(10*time.Second, t.Life()/10))
}

// A Target is what a token is for, where that differs from the profile's own
// settings. The zero Target is the profile as configured.
type Target struct {
	// Scope is a space-separated list (RFC 6749 §3.3).
	Scope string `json:"scope,omitempty"`
	// Audience is the audience or resource, in the provider's own terms.
	Audience string `json:"audience,omitempty"`
}

// A Minter obtains tokens for one profile. Mint always goes to the issuer;
// remembering tokens is the daemon's job. Its errors are *Error with
// ErrRejected, ErrUnavailable, ErrInvalid (the target makes no sense for this
// provider), or whatever the keystore said.
type Minter interface {
	Mint(ctx context.Context, t Target) (Token, error)
	// Endpoint is the URL that Mint goes to.
	Endpoint() string
}

// A Signer signs single requests, for services that know no tokens.
type Signer interface {
	// Sign gives what to send with a request for r.URL. Errors are *Error, with
	// ErrInvalid and Field "url" for a URL that cannot be signed.
	Sign(ctx context.Context, r Request) (Signed, error)
}

// A Request is what a Signer signs.
type Request struct {
	URL string `json:"url"`
}

// Signed is a request that was signed.
type Signed struct {
	// URL is what was signed: the request must go to exactly this one.
	URL     string
	Headers []Header
	// Issued is the time that the signature bears.
	Issued time.Time
	// Warning is what may make the service refuse it all the same.
	Warning string
}

// A Header is one header line of a request. Its value is a credential.
type Header struct {
	Name  string
	Value Secret
}

// A Verifier judges tokens that somebody else presented.
type Verifier interface {
	// Verify judges raw, by itself or, if remote, by asking the issuer's own
	// service. A token that is not good is a Verdict, not an error; errors
	// mean that no verdict could be reached.
	Verify(ctx context.Context, raw Secret, remote bool) (Verdict, error)
}

// A Verdict says whether a token is good, or the first reason why not; the
// signature is judged before the claims. Its JSON form crosses the socket.
type Verdict struct {
	Valid bool `json:"valid"`
	// Reason is one word for programs: malformed, unknown_key, bad_signature,
	// wrong_issuer, wrong_audience, expired, not_yet_valid, …
	Reason string `json:"reason,omitempty"`
	// Message is the reason in words.
	Message string `json:"message,omitempty"`
	// Claims are the claims of a good token.
	Claims map[string]any `json:"claims,omitempty"`
}

// A Record is a token as it is kept: with all that decides whether it is still
// the right one.
type Record struct {
	Profile string
	Target  Target
	// Fingerprint stands for the profile's settings and credential. A record
	// with another fingerprint was obtained for something else.
	Fingerprint string
	Token       Token
}

// A Query is one caller's wish.
type Query struct {
	Target
	// MinTTL is the least remaining life that the caller can use.
	MinTTL time.Duration
	// Fresh asks for a newly obtained token.
	Fresh bool
	// URL is what the token is to be sent to; a profile must claim it. With it
	// the profile need not be named.
	URL string
	// Trace, if there is one, collects what is done, for those who may manage
	// profiles.
	Trace *Trace
}

// A Grant is what a caller gets: a token, and what to do with it.
type Grant struct {
	Token
	// Profile is whose token it is.
	Profile string
	// Present says how the token is shown to the profile's hosts.
	Present Presentation
	// Host is which of the profile's hosts covers Query.URL, empty without one.
	Host string
}
