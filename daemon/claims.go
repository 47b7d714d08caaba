package daemon

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"tokend/providers/token"
)

// claim finds the profile, of those that w may use, whose hosts cover target
// most closely, and the host that does. With a name only that profile counts. d.mu is held.
func (d *Daemon) claim(w who, name, target string) (profile, host string, err error) {
	if err := token.CheckURL(target); err != nil {
		return "", "", &token.Error{Code: token.ErrInvalid, Field: "url", Message: err.Error()}
	}
	if name != "" {
		if _, err := d.use(w, name); err != nil {
			return "", "", err
		}
	}
	var found, near []string
	for _, p := range d.claimants(target) {
		if name != "" && p.name != name || !mayUse(w, p) {
			continue
		}
		switch h := token.MatchHost(p.hosts, target); {
		case h == "":
			near = append(near, fmt.Sprintf("%s has %s", p.name, strings.Join(p.hosts, ", ")))
		case len(h) > len(host):
			found, host = []string{p.name}, h
		case len(h) == len(host):
			found = append(found, p.name)
		}
	}
	switch len(found) {
	case 0:
		e := &token.Error{Code: token.ErrNotFound, Field: "url", Message: "no profile claims " + target}
		if name != "" {
			e.Message = fmt.Sprintf("%s is not among the hosts of profile %q", target, name)
		}
		if near != nil {
			e.Message += "; on that host, " + strings.Join(near, "; ")
			e.Detail = token.AnotherPath
		}
		return "", "", e
	case 1:
		return found[0], host, nil
	}
	return "", "", &token.Error{Code: token.ErrInvalid, Field: "url", Message: fmt.Sprintf(
		"profiles %s all claim %s; take it out of the hosts of all but one, or name the profile", strings.Join(found, ", "), host)}
}

// claimants are the profiles that obtain tokens for some part of target's
// origin, in order of their names. d.mu is held.
func (d *Daemon) claimants(target string) []*profile {
	if d.claims == nil {
		d.claims = map[string][]*profile{}
		for _, name := range slices.Sorted(maps.Keys(d.profiles)) {
			p := d.profiles[name]
			for _, host := range p.hosts {
				origin := token.Origin(host)
				before := d.claims[origin]
				if p.minter != nil && (len(before) == 0 || before[len(before)-1] != p) {
					d.claims[origin] = append(before, p)
				}
			}
		}
	}
	return d.claims[token.Origin(target)]
}

// holder names the profile that w may use and t is a current token of, "" if
// there is none. d.mu is held.
func (d *Daemon) holder(w who, t token.Secret) string {
	for s := range d.allSlots() {
		if s.tok.Secret.Equal(t) && mayUse(w, s.profile) {
			return s.profile.name
		}
	}
	return ""
}

// exchangeLife is how much life a token needs to be exchanged.
const exchangeLife = 60 * time.Second

// Exchange hands the profile's token to a container registry that is one of
// its hosts, and returns what the registry's clients log in with. Errors are
// *token.Error.
func (d *Daemon) Exchange(ctx context.Context, name, registry string) (token.Secret, error) {
	g, err := d.Get(ctx, name, token.Query{URL: registry, MinTTL: exchangeLife})
	if err != nil {
		return token.Secret{}, err
	}
	if g.Present != token.ACR {
		return token.Secret{}, &token.Error{Code: token.ErrInvalid, Message: fmt.Sprintf(
			"the tokens of profile %q are not exchanged; that needs present = %q", name, token.ACR)}
	}
	p, err := d.profile(ctx, name)
	if err != nil {
		return token.Secret{}, err
	}
	d.mu.Lock()
	kinds := d.kinds
	d.mu.Unlock()
	refresh, err := kinds.Exchange(ctx, g.Host, p.settings.Text("tenant"), g.Secret)
	if err != nil {
		return token.Secret{}, asError(err)
	}
	return refresh, nil
}
