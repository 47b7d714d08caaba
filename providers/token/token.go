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
}
