package soak

import (
	"fmt"
	"sync"
	"time"

	"tokend/providers/token"
)

// A ledger knows which tokens the callers were given, and so which answers
// were wrong and which were lost.
type ledger struct {
	mu       sync.Mutex
	held     map[string]token.Token // by profile, the latest that a caller was given
	since    map[string]time.Time   // by profile, when its tokens were last dropped
	troubled time.Time              // until then the cache file could not be relied on
	damaged  bool                   // the cache file was damaged since tokend started
	answers  int
	waits    []time.Duration
	refusals map[token.Code]int // while there was no valid token
	fault    map[string]int
	shown    []string // the first faults in full
}

// writtenWithin is how soon a token that was obtained is in the cache file, if
// nothing is wrong with that.
const writtenWithin = 2 * time.Second

func newLedger() *ledger {
	return &ledger{held: map[string]token.Token{}, since: map[string]time.Time{}, refusals: map[token.Code]int{}, fault: map[string]int{}}
}

// answered takes note of a token that a caller asked for at one time and got at
// another; expiry is what the issuer says.
func (l *ledger) answered(profile string, t token.Token, expiry, asked, got time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answers++
	switch {
	case expiry.IsZero():
		l.blame("foreign tokens", "%s: a token that its issuer did not issue", profile)
	case !asked.Before(expiry):
		l.blame("expired tokens", "%s: asked at %v, expired at %v", profile, asked, expiry)
	case asked.After(l.since[profile]) && !l.held[profile].Issued.After(t.Issued):
		l.held[profile] = t
	}
}

// failed takes note of an error, or of no answer at all.
func (l *ledger) failed(profile string, code token.Code, text string, asked, got time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.held[profile]
	switch {
	case !h.Secret.IsZero() && h.Issued.Before(asked.Add(-time.Second)) && got.Before(h.ServeUntil()):
		l.blame("lost answers", "%s: %q (%s) at %v, %v after asking, though a token was good until %v",
			profile, text, code, got, got.Sub(asked).Round(time.Millisecond), h.ServeUntil())
	case code == token.ErrUnavailable || code == token.ErrLocked || code == token.ErrKeystore:
		l.refusals[code]++
	default:
		l.blame("unexpected errors", "%s: %q (%s)", profile, text, code)
	}
}

// dropped takes note that a caller has had a profile's tokens dropped, or is
// about to.
func (l *ledger) dropped(profile string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.held, profile)
	l.since[profile] = time.Now()
}

// ended takes note that tokend's process ended: what was not yet written, or
// could not be, is gone.
func (l *ledger) ended(at time.Time, cacheOpens bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for profile, t := range l.held {
		if l.damaged || !cacheOpens || !t.Issued.After(l.troubled) || at.Sub(t.Issued) < writtenWithin {
			delete(l.held, profile)
		}
	}
	l.damaged = false
}

// forget takes note that tokend may have lost every token.
func (l *ledger) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.held)
}

// trouble takes note that nothing can be written to the cache file until then.
func (l *ledger) trouble(until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.troubled = until
}

// damage takes note that the cache file was damaged under tokend.
func (l *ledger) damage() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.damaged = true
}

// note records a fault that another part of the run saw.
func (l *ledger) note(kind, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.blame(kind, format, args...)
}

// blame counts a fault, and keeps the first few. l.mu is held.
func (l *ledger) blame(kind, format string, args ...any) {
	l.fault[kind]++
	if l.fault[kind] <= 5 {
		l.shown = append(l.shown, kind+": "+fmt.Sprintf(format, args...))
	}
}

func (l *ledger) faults() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.shown
}
