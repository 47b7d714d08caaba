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

// steps counts how near the end of e's credential is (token.StepsToEnd).
func (d *Daemon) steps(st *state, e *entry) int {
	return token.StepsToEnd(e.Expires, d.now(), st.Config.WarnAhead.Duration)
}

// changed has those look again who depend on the profiles.
func (d *Daemon) changed() {
	d.sinks.Update()
	select {
	case d.credentials <- struct{}{}:
	default:
	}
}

// credentialsAgain is how often tokend looks at the ends of credentials.
const credentialsAgain = time.Minute

// watchCredentials publishes each step of a credential towards its end, and when it
// needs no one any more, until ctx ends.
func (d *Daemon) watchCredentials(ctx context.Context) {
	type position struct {
		end   time.Time
		steps int
	}
	seen := map[string]position{}
	for again := time.Tick(credentialsAgain); ; {
		st := d.state.Load()
		for name, e := range st.profiles {
			before, now := seen[name], position{e.Expires.UTC(), d.steps(st, e)}
			if now != before && (now.steps > 0 || before.steps > 0) {
				d.publish(e, token.Event{Kind: token.EventCredential, Profile: name, State: token.CredentialState(now.steps), CredentialExpires: now.end})
			}
			seen[name] = now
		}
		maps.DeleteFunc(seen, func(name string, _ position) bool { return st.profiles[name] == nil })
		select {
		case <-again:
		case <-d.credentials:
		case <-ctx.Done():
			return
		}
	}
}

// warnOnce returns the warning for a person who gets a token of e, once a day for each
// user: the credential ends soon.
func (d *Daemon) warnOnce(st *state, e *entry, c *Caller) string {
	now := d.now()
	if c == nil || d.steps(st, e) == 0 {
		return ""
	}
	if last, said := e.warned.LoadOrStore(c.UID, now); said {
		if since := now.Sub(last.(time.Time)); since >= 0 && since < warnAgain || !e.warned.CompareAndSwap(c.UID, last, now) {
			return ""
		}
	}
	name, _, _ := strings.Cut(e.Name, "/")
	next := "tell those who manage tokend"
	if st.isAdmin(c) {
		next = "tokenctl rotate " + name
	}
	return fmt.Sprintf("The credential of %s %s: %s", name, token.EndText(e.Expires, now), next)
}
