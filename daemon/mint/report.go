package mint

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"tokend/providers/token"
)

// What the Mint reports: the log and events as things happen, and for people who
// look the state, the last attempts and the last user of each token. None of it
// outlives the daemon.

// A Use is when a caller last asked for a token, and who that was: the zero User
// if it did not come over the socket.
type Use struct {
	At time.Time
	By token.User
}

// historyLength is how many attempts a slot remembers.
const historyLength = 10

// remember counts an attempt and adds it to the history, in place of the oldest one
// if need be.
func (s *slot) remember(took time.Duration, code token.Code) {
	s.of.tally[code]++
	attempt := token.Attempt{At: s.of.mint.now().UTC(), Took: took, Code: code}
	s.history = slices.Concat([]token.Attempt{attempt}, s.history[:min(len(s.history), historyLength-1)])
}

// Status returns the state of the tokens, the profile's own target first, in
// detail also with the last attempts and what the tokens say; and the outcomes of all
// attempts since the daemon started, by code, "" for a success.
func (t *Tokens) Status(detail bool) (list []token.TokenStatus, attempts map[token.Code]uint64) {
	t.mint.mu.Lock()
	defer t.mint.mu.Unlock()
	now := t.mint.now()
	for _, s := range slices.SortedFunc(slices.Values(t.slots), func(a, b *slot) int {
		return cmp.Or(cmp.Compare(a.target.Scope, b.target.Scope), cmp.Compare(a.target.Audience, b.target.Audience))
	}) {
		by := s.used.By
		st := token.TokenStatus{
			Target: s.target, State: "none", LastUsed: s.used.At.UTC(), LastUser: &by,
			Obtaining: s.flight != nil, Error: s.err, Failures: s.failures,
		}
		has := !s.tok.Secret.IsZero()
		if has {
			st.State = s.tok.State(now).String()
			st.Issued, st.Expiry, st.RenewAt = s.tok.Issued.UTC(), s.tok.Expiry.UTC(), s.tok.RenewAt.UTC()
		}
		if detail {
			st.History, st.Granted = s.history, s.tok.Scope
		}
		if detail && has {
			st.Content = preview(s.tok.Secret)
		}
		list = append(list, st)
	}
	return list, maps.Clone(t.tally)
}

// Stats are figures of the Mint as a whole.
type Stats struct {
	// CacheErr is why the cache cannot be read or written; Saving: some tokens
	// are not in it yet; CacheWrites is how often it was written.
	CacheErr    error
	Saving      bool
	CacheWrites uint64
	// Skew is the last issuer's clock minus ours, if one answered lately.
	Skew      time.Duration
	SkewKnown bool
	// SkewWarning says how far our clock is off from that issuer's, "" if that
	// does not matter.
	SkewWarning string
}

// Stats returns the figures as they are now.
func (m *Mint) Stats() Stats {
	m.mu.Lock()
	defer m.mu.Unlock()
	st := Stats{CacheErr: m.cache.err, Saving: len(m.cache.save)+len(m.cache.drop) > 0, CacheWrites: m.cache.writes}
	age, steady := m.now().Sub(m.clock.seen), m.Steady()-m.clock.steady
	if age < 0 || age > clockMemory || (age-steady).Abs() >= clockStep {
		return st // it is long ago, or our clock was set since, at once or bit by bit
	}
	st.Skew, st.SkewKnown = m.clock.skew, true
	if off := st.Skew.Abs(); off > skewTolerance {
		way := map[bool]string{true: "behind", false: "ahead of"}[st.Skew > 0]
		st.SkewWarning = fmt.Sprintf("this machine's clock is %v %s that of %s", off, way, m.clock.host)
	}
	return st
}

// A clock records how far our clock is from the last issuer's.
type clock struct {
	skew time.Duration // its time minus ours
	host string
	seen time.Time
	// steady is the time of Options.Steady then.
	steady time.Duration
}

const (
	// clockMemory is how long a clock counts.
	clockMemory = 2 * time.Hour
	// skewTolerance is how far an issuer's clock may differ from ours before
	// we warn.
	skewTolerance = time.Minute
)

// event reports what happened to s. Mint.mu is held.
func (s *slot) event(e token.Event) {
	e.Profile, e.Target = s.of.src.Name, s.target
	s.of.mint.Event(e)
}

// noteSuccess reports a token that was obtained. m.mu is held.
func (m *Mint) noteSuccess(s *slot, took time.Duration) {
	m.Log.Info("token obtained", s.attrs("expires", s.tok.Expiry.UTC(), "renew_at", s.tok.RenewAt.UTC(), "took", took)...)
	s.remember(took, "")
	m.noteKeyring(false)
	s.event(token.Event{Kind: token.EventObtained, Expires: s.tok.Expiry.UTC(), RenewAt: s.tok.RenewAt.UTC(), Took: took})
}

// noteFailure reports an attempt that failed. m.mu is held.
func (m *Mint) noteFailure(s *slot, took time.Duration) {
	message, kind := "no token obtained", token.EventFailed
	if errors.Is(s.err, token.ErrRejected) {
		message, kind = "token refused", token.EventRefused
	}
	attrs := s.attrs("code", string(s.err.Code), "error", s.err.Message, "failures", s.failures, "next_try", s.nextTry.UTC(), "took", took)
	if s.err.Topic != "" {
		attrs = append(attrs, "topic", s.err.Topic)
	}
	if s.err.Cause != nil {
		attrs = append(attrs, "cause", s.err.Cause.Error())
	}
	// Each caller makes a failure of the keystore's: its 1st, 2nd, 4th, 8th …
	// are enough.
	if !fromKeystore(s.err) || s.failures&(s.failures-1) == 0 {
		m.Log.Warn(message, attrs...)
	}
	s.remember(took, s.err.Code)
	if errors.Is(s.err, token.ErrLocked) {
		m.noteKeyring(true)
	}
	shown := *s.err
	shown.Cause, shown.RetryAt = nil, s.err.RetryAt.UTC()
	e := token.Event{Kind: kind, Expires: s.tok.Expiry.UTC(), Took: took, Error: &shown, Failures: s.failures}
	s.event(e)
	if expiring(s.tok, m.now()) && !s.tok.Expiry.Equal(s.warnedExpiry) {
		s.warnedExpiry = s.tok.Expiry
		m.Log.Warn("token expires and cannot be renewed", s.attrs("expires", s.tok.Expiry.UTC())...)
		e.Kind, e.Took = token.EventExpiring, 0
		s.event(e)
	}
}

// expiringAhead is how long before its expiry we warn about a token that could
// not be renewed; of one that lives short, the last fifth.
const expiringAhead = 5 * time.Minute

// expiring reports whether a token expires soon.
func expiring(t token.Token, now time.Time) bool {
	left := t.Expiry.Sub(now)
	return !t.Secret.IsZero() && left > 0 && left <= max(t.Life()/5, min(expiringAhead, t.Life()/2))
}

// noteKeyring reports when the keyring turns out to be locked, or unlocked again.
// m.mu is held.
func (m *Mint) noteKeyring(locked bool) {
	if m.keyringLocked == locked {
		return
	}
	m.keyringLocked = locked
	kind := map[bool]token.EventKind{true: token.EventLocked, false: token.EventUnlocked}[locked]
	m.Log.Info("keyring", "state", string(kind))
	m.Event(token.Event{Kind: kind})
}

func (s *slot) attrs(more ...any) []any {
	attrs := []any{"profile", s.of.src.Name}
	if s.target.Scope != "" {
		attrs = append(attrs, "scope", s.target.Scope)
	}
	if s.target.Audience != "" {
		attrs = append(attrs, "audience", s.target.Audience)
	}
	return append(attrs, more...)
}

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
