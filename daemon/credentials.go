package daemon

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	"tokend/providers/token"
)

// What the daemon says of a credential that ends soon: events at each step towards
// its end, and a warning beside a token.

// steps counts how near at now the end of e's credential is (token.StepsToEnd).
func (s *state) steps(e *entry, now time.Time) int {
	return token.StepsToEnd(e.Expires, now, s.Config.WarnAhead.Duration)
}

const (
	// credentialsAgain is how often tokend looks at the ends of credentials.
	credentialsAgain = time.Minute
	// warnAgain is how often the log repeats the warnings of status, and how often a
	// person gets the same one.
	warnAgain = 24 * time.Hour
)

// watchCredentials publishes each step of a credential towards its end, and when it
// needs no one any more, until ctx ends. It logs the warnings of status.
func watchCredentials(ctx context.Context, d *Daemon) {
	type position struct {
		end   time.Time
		steps int
	}
	seen := map[string]position{}
	var logged time.Time
	for again := time.Tick(credentialsAgain); ; {
		st, log := d.state.Load(), time.Since(logged) >= warnAgain
		if log {
			logged = time.Now()
		}
		for name, e := range st.profiles {
			before, now := seen[name], position{e.Expires.UTC(), st.steps(e, d.now())}
			if now != before && (now.steps > 0 || before.steps > 0) {
				d.publish(e, token.Event{Kind: token.EventCredential, Profile: name, State: token.CredentialState(now.steps), CredentialExpires: now.end})
			}
			seen[name] = now
			if log {
				for _, text := range warnings(d, st, e) {
					d.deps.Log.Warn("needs attention", "profile", name, "warning", text)
				}
			}
		}
		maps.DeleteFunc(seen, func(name string, _ position) bool { return st.profiles[name] == nil })
		select {
		case <-again:
		case <-ctx.Done():
			return
		}
	}
}

// warnOnce returns the warning for a person who gets a token of e, once a day for each
// user: the credential ends soon.
func (s *state) warnOnce(e *entry, c *Caller, now time.Time) string {
	if c == nil || s.steps(e, now) == 0 {
		return ""
	}
	last, said := e.warned.LoadOrStore(c.UID, now)
	if said && (now.Sub(last.(time.Time)) < warnAgain || !e.warned.CompareAndSwap(c.UID, last, now)) {
		return ""
	}
	name, _, _ := strings.Cut(e.Name, "/")
	next := "tell those who manage tokend"
	if s.administers(c, e) {
		next = "tokenctl rotate " + name
	}
	return fmt.Sprintf("The credential of %s %s: %s", name, token.EndText(e.Expires, now), next)
}
