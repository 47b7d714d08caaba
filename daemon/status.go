package daemon

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/user"
	"slices"
	"strconv"
	"time"

	"tokend/daemon/mint"
	"tokend/daemon/profile"
	"tokend/providers/token"
)

// Status returns the state of the daemon, and of the profiles that the caller
// may use or manage in order of their names.
func (d *Daemon) Status(ctx context.Context) (token.Status, error) {
	st, c := d.state.Load(), d.caller(ctx)
	stats := d.mint.Stats()
	out := token.Status{
		Version: d.deps.Version, PID: os.Getpid(), Started: d.started.UTC(),
		Config: d.dirs.Config, State: d.dirs.State, MayManage: st.isAdmin(c),
		Keystore: d.deps.Keystore(ctx), Cache: "ok", Sandbox: d.deps.Sandbox(), Profiles: []token.ProfileStatus{},
	}
	if out.MayManage {
		out.ConfigErrors = slices.Sorted(maps.Values(st.bad))
		for _, text := range st.admins.Unknown {
			out.ConfigErrors = append(out.ConfigErrors, d.dirs.ConfigFile()+": "+text)
		}
	}
	switch {
	case stats.CacheErr != nil:
		out.Cache = stats.CacheErr.Error()
	case stats.Saving:
		out.Cache = "writing"
	}
	users := userNames{}
	for _, name := range slices.Sorted(maps.Keys(st.profiles)) {
		if e, err := st.view(c, name); err == nil {
			out.Profiles = append(out.Profiles, d.profileStatus(st, e, c, users, false))
		}
	}
	return out, nil
}

// Doctor checks the installation. Callers who may not manage profiles learn the
// state of the daemon, and have no issuer asked.
func (d *Daemon) Doctor(ctx context.Context) (token.Report, error) {
	st, err := d.Status(ctx)
	if err != nil {
		return token.Report{}, err
	}
	return d.deps.Doctor(ctx, st, st.MayManage), nil
}

// Profile returns the state of one profile, in more detail than Status.
func (d *Daemon) Profile(ctx context.Context, name string) (token.ProfileStatus, error) {
	st, c := d.state.Load(), d.caller(ctx)
	e, err := st.view(c, name)
	if err != nil {
		return token.ProfileStatus{}, err
	}
	return d.profileStatus(st, e, c, userNames{}, true), nil
}

// Providers lists the kinds of profiles there can be.
func (d *Daemon) Providers(context.Context) ([]token.Provider, error) {
	return d.state.Load().kinds.Providers(), nil
}

// profileStatus returns the state of e as c may see it.
func (d *Daemon) profileStatus(st *state, e *entry, c *Caller, users userNames, detail bool) token.ProfileStatus {
	out := token.ProfileStatus{
		Name: e.Name, Provider: e.Kind, Does: e.Does(), File: d.dirs.ProfileFile(e.Name), Settings: e.Settings, Hosts: e.Hosts, Present: e.Present,
		CredentialExpires: mint.UTC(e.Expires),
	}
	// Callers who may not manage profiles see only themselves.
	shown := func(u *token.User) *token.User {
		if u == nil || !st.isAdmin(c) && u.UID != c.UID {
			return nil
		}
		return users.named(*u)
	}
	if u := e.used.Load(); u != nil {
		out.LastUsed, out.LastUser = mint.UTC(u.At), shown(u.User())
	}
	if p := e.Pending; p != nil {
		settings, _ := token.NewSettings(p.Settings) // made by a provider, of texts
		out.Pending = &token.PendingCredential{ID: p.ID, Stored: mint.UTC(p.Stored), Settings: settings}
	}
	if e.tokens != nil {
		out.Endpoint, out.Renew, out.Tokens = e.Minter.Endpoint(), string(e.Renew), e.tokens.Status(detail)
	}
	for i := range out.Tokens {
		t := &out.Tokens[i]
		t.LastUser = shown(t.LastUser)
		if !e.mayUse(c) {
			t.Content = nil
		}
	}
	for _, s := range e.Sinks {
		out.Sinks = append(out.Sinks, s.Path)
	}
	out.Warnings = d.warnings(st, e)
	return out
}

// userNames are the names of users that were looked up.
type userNames map[int]string

// named adds the user's name to u. It may ask a directory service.
func (n userNames) named(u token.User) *token.User {
	name, known := n[u.UID]
	if !known {
		if found, err := user.LookupId(strconv.Itoa(u.UID)); err == nil {
			name = found.Username
		}
		n[u.UID] = name
	}
	u.Name = name
	return &u
}

// warnings are what will become a failure unless someone acts.
func (d *Daemon) warnings(st *state, e *entry) (warnings []string) {
	now := d.now()
	warn := func(format string, args ...any) { warnings = append(warnings, fmt.Sprintf(format, args...)) }
	if text := st.bad[e.Name]; text != "" {
		warn("the previous settings stay active: %s", text)
	}
	if !e.Expires.IsZero() && e.Expires.Sub(now) < st.config.WarnAhead.Duration {
		verb := "expired"
		if e.Expires.After(now) {
			verb = "expires"
		}
		warn("the credential %s on %s", verb, e.Expires.UTC().Format(time.DateOnly))
	}
	if e.Pending != nil {
		warn("a new key made on %s waits to be registered", e.Pending.Stored.UTC().Format(time.DateOnly))
	}
	if e.Allowed != nil {
		warnings = append(warnings, e.Allowed.Unknown...)
	}
	for _, s := range e.Sinks {
		if err := d.sinks.Err(s.Path); err != nil {
			warn("sink %s: %v", s.Path, err)
		}
	}
	if e.tokens != nil {
		if text := e.tokens.SkewWarning(); text != "" {
			warn("%s", text)
		}
	}
	return warnings
}

// Figures are what metrics are made of, besides what other packages count.
type Figures struct {
	// Profiles are those that the caller may use or manage.
	Profiles []ProfileFigures
	// MayManage: these are all profiles, so sums over them are no news to the
	// caller.
	MayManage bool
	// BadFiles is how many files of the configuration could not be read; 0 for
	// callers who may not manage profiles.
	BadFiles int
	// CacheFails: the token cache cannot be read or written now.
	CacheFails bool
	// CacheWrites counts the writes of the cache, tried or done, since the daemon
	// started; 0 for callers who may not manage profiles.
	CacheWrites uint64
	// Watchers is how many watch events.
	Watchers int
	// Skew is the last issuer's clock minus ours, if one answered lately.
	Skew      time.Duration
	SkewKnown bool
}

// ProfileFigures are those of one profile.
type ProfileFigures struct {
	Name, Provider, Does string
	// Always: its token is renewed even if no one asks.
	Always bool
	// CredentialExpires is when the credential itself expires; zero if unknown.
	CredentialExpires time.Time
	// Attempts counts the outcomes of attempts since the daemon started, by code;
	// "" is a success.
	Attempts map[token.Code]uint64
	// Own is the token of the profile's own scope and audience, if it has one;
	// States are how many of all its tokens are in which state.
	Own    token.TokenStatus
	HasOwn bool
	States map[string]int
}

// Figures returns the figures as they are now.
func (d *Daemon) Figures(ctx context.Context) (Figures, error) {
	st, c := d.state.Load(), d.caller(ctx)
	stats := d.mint.Stats()
	f := Figures{
		MayManage: st.isAdmin(c), CacheFails: stats.CacheErr != nil, Watchers: d.events.count(), Skew: stats.Skew, SkewKnown: stats.SkewKnown,
	}
	if f.MayManage {
		f.BadFiles, f.CacheWrites = len(st.bad), stats.CacheWrites
	}
	for name := range st.profiles {
		if e, err := st.view(c, name); err == nil {
			f.Profiles = append(f.Profiles, e.figures())
		}
	}
	return f, nil
}

func (e *entry) figures() ProfileFigures {
	f := ProfileFigures{
		Name: e.Name, Provider: e.Kind, Does: e.Does(), Always: e.Renew == profile.RenewAlways && e.tokens != nil,
		CredentialExpires: mint.UTC(e.Expires), States: map[string]int{},
	}
	if e.tokens == nil {
		return f
	}
	f.Attempts = e.tokens.Attempts()
	for _, t := range e.tokens.Status(false) {
		f.States[t.State]++
		if t.Target == (token.Target{}) {
			f.Own, f.HasOwn = t, true
		}
	}
	return f
}
