package daemon

import (
	"fmt"
	"time"

	"tokend/providers/token"
)

// A trace shows one request to those who look for a fault: what was decided
// here, and by the flight's context what the provider did.

func noTrace(w who) error {
	return &token.Error{Code: token.ErrDenied, Field: "trace", Message: fmt.Sprintf(
		"uid %d may use this profile and not trace it; who may manage profiles can", w.UID)}
}

// join has the flight's steps collected in t, unless it is under way or
// somebody else collects them. Daemon.mu is held.
func (f *flight) join(t *token.Trace) {
	switch {
	case t == nil:
	case f.launched, f.trace != nil && f.trace != t:
		t.Add("wait", "an attempt that others asked for is under way; its steps are not told here")
	default:
		f.trace = t
	}
}

// trace tells what was found in s and decided about it. Daemon.mu is held.
func (s *slot) trace(t *token.Trace, v verdict) {
	t.Add("profile", "%s, provider %s, %s", s.profile.name, s.profile.kind, s.profile.minter.Endpoint())
	switch v {
	case serve:
		t.Add("memory", "a good token is at hand since %s: the issuer is not asked", utc(s.tok.Issued).Format(time.RFC3339))
	case refuse:
		t.Add("memory", "the last attempt failed; the issuer is asked again at %s", utc(s.nextTry).Format(time.RFC3339))
	case wait:
		t.Add("memory", "no token at hand will do: the issuer is asked")
	}
}

// traceToken tells of the token that is handed out, and nothing of its text.
func traceToken(t *token.Trace, tok token.Token, now time.Time) {
	t.Add("token", "lives %v, %v of that are left; the next is obtained at %s",
		tok.Life().Round(time.Second), tok.Expiry.Sub(now).Round(time.Second), utc(tok.RenewAt).Format(time.RFC3339))
}

// outcome is a word for an error or none.
func outcome(err error) string {
	if err != nil {
		return err.Error()
	}
	return "ok"
}
