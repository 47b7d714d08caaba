package daemon

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"os"
	"slices"
	"time"

	"tokend/providers/token"
)

// skewTolerance is how far an issuer's clock may differ from ours before
// status says so.
const skewTolerance = time.Minute

// Status tells how the daemon is, and the profiles that the caller may use or
// manage in order of their names.
func (d *Daemon) Status(ctx context.Context) (token.Status, error) {
	w := d.who(ctx)
	st, names := d.statusOfAll(w, d.deps.Keystore(ctx))
	slices.Sort(names)
	st.Profiles = slices.AppendSeq(st.Profiles, d.profilesTold(w, names))
	return st, nil
}

// Profiles is how many profiles are in force.
func (d *Daemon) Profiles() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.profiles)
}

// inOneGo is how many profiles are told of while callers wait for d.mu.
const inOneGo = 50

// profilesTold tells w of the named profiles that there still are.
func (d *Daemon) profilesTold(w who, names []string) iter.Seq[token.ProfileStatus] {
	return func(yield func(token.ProfileStatus) bool) {
		users := userNames{}
		told := make([]token.ProfileStatus, 0, min(inOneGo, len(names)))
		for names := range slices.Chunk(names, inOneGo) {
			told = told[:0]
			now := d.wall()
			d.mu.Lock()
			for _, name := range names {
				if p, err := d.see(w, name); err == nil {
					told = append(told, d.profileStatus(p, w, now))
				}
			}
			d.mu.Unlock()
			for _, p := range told {
				users.complete(p)
				if !yield(p) {
					return
				}
			}
		}
	}
}

// statusOfAll tells of the daemon itself, and names the profiles.
func (d *Daemon) statusOfAll(w who, keystore string) (st token.Status, names []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	st = token.Status{
		Version: d.deps.Version, PID: os.Getpid(), Started: d.started.UTC(),
		Config: d.dirs.Config, State: d.dirs.State, MayManage: d.mayManage(w),
		Keystore: keystore, Cache: "ok", Sandbox: d.deps.Sandbox(), Profiles: []token.ProfileStatus{},
	}
	if st.MayManage {
		st.ConfigErrors = slices.Sorted(maps.Values(d.bad))
		for _, text := range d.admins.unknown {
			st.ConfigErrors = append(st.ConfigErrors, d.dirs.ConfigFile()+": "+text)
		}
	}
	switch {
	case d.cacheErr != nil:
		st.Cache = d.cacheErr.Error()
	case d.saving || len(d.unsaved) > 0:
		st.Cache = "writing"
	}
	return st, slices.Collect(maps.Keys(d.profiles))
}

// Doctor looks whether all is as it should be. Those who may not manage
// profiles learn how the daemon is, and have no issuer asked.
func (d *Daemon) Doctor(ctx context.Context) (token.Report, error) {
	st, err := d.Status(ctx)
	if err != nil {
		return token.Report{}, err
	}
	return d.deps.Doctor(ctx, st, st.MayManage), nil
}

// Profile tells how one profile is, at greater length than Status.
func (d *Daemon) Profile(ctx context.Context, name string) (token.ProfileStatus, error) {
	st, err := d.profileAtLength(d.who(ctx), name)
	userNames{}.complete(st)
	return st, err
}

func (d *Daemon) profileAtLength(w who, name string) (token.ProfileStatus, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p, err := d.see(w, name)
	if err != nil {
		return token.ProfileStatus{}, err
	}
	st := d.profileStatus(p, w, d.wall())
	for i, t := range st.Tokens {
		s := p.slotFor(t.Target)
		st.Tokens[i].History, st.Tokens[i].Granted = s.attempts(), s.tok.Scope
		if !s.tok.Secret.IsZero() && mayUse(w, p) { // who may not use it may not read in it
			st.Tokens[i].Content = contentOf(s.tok.Secret)
		}
	}
	return st, nil
}

// Providers lists the kinds of profiles there can be.
func (d *Daemon) Providers(context.Context) ([]token.Provider, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.kinds.Providers(), nil
}

func providerNamed(kinds Kinds, name string) token.Provider {
	for _, p := range kinds.Providers() {
		if p.Name == name {
			return p
		}
	}
	return token.Provider{Name: name}
}

// profileStatus tells w of p. d.mu is held.
func (d *Daemon) profileStatus(p *profile, w who, now time.Time) token.ProfileStatus {
	st := token.ProfileStatus{
		Name: p.name, Provider: p.kind, Does: p.does(), File: d.dirs.ProfileFile(p.name), Settings: p.settings, Hosts: p.hosts, Present: p.present,
		CredentialExpires: utc(p.ends),
	}
	if u := p.used; u != nil {
		st.LastUsed, st.LastUser = utc(u.at), d.tell(*u, w)
	}
	if c := p.pending; c != nil {
		settings, _ := token.NewSettings(c.Settings) // made by a provider, of texts
		st.Pending = &token.PendingCredential{ID: c.ID, Stored: utc(c.Stored), Settings: settings}
	}
	if p.minter != nil {
		st.Endpoint, st.Renew = p.minter.Endpoint(), string(p.renew)
	}
	for _, s := range p.sortedSlots() {
		t := s.status(now)
		t.LastUser = d.tell(s.used, w)
		st.Tokens = append(st.Tokens, t)
	}
	for _, s := range p.sinks {
		st.Sinks = append(st.Sinks, s.Path)
	}
	st.Warnings = d.warnings(p, now)
	return st
}

// sortedSlots are the slots of p in the order in which they are told of: its own
// target first. Daemon.mu is held.
func (p *profile) sortedSlots() []*slot {
	if len(p.slots) < 2 {
		return p.slots
	}
	return slices.SortedFunc(slices.Values(p.slots), func(a, b *slot) int {
		return cmp.Or(cmp.Compare(a.target.Scope, b.target.Scope), cmp.Compare(a.target.Audience, b.target.Audience))
	})
}

func (s *slot) status(now time.Time) token.TokenStatus {
	st := token.TokenStatus{
		Target: s.target, State: "none", LastUsed: utc(s.used.at), Obtaining: s.flight != nil, Error: s.err, Failures: s.failures,
	}
	if !s.tok.Secret.IsZero() {
		st.State = s.tok.State(now).String()
		st.Issued, st.Expiry, st.RenewAt = utc(s.tok.Issued), utc(s.tok.Expiry), utc(s.tok.RenewAt)
	}
	return st
}

// warnings are what will become a failure unless somebody acts. d.mu is held.
func (d *Daemon) warnings(p *profile, now time.Time) (warnings []string) {
	if text := d.bad[p.name]; text != "" {
		warnings = append(warnings, "what was in force before stays in force: "+text)
	}
	if !p.ends.IsZero() && p.ends.Sub(now) < d.config.WarnAhead.Duration {
		on := p.ends.UTC().Format(time.DateOnly)
		if p.ends.After(now) {
			warnings = append(warnings, fmt.Sprintf("the credential expires on %s", on))
		} else {
			warnings = append(warnings, fmt.Sprintf("the credential expired on %s", on))
		}
	}
	if p.pending != nil {
		warnings = append(warnings, fmt.Sprintf("a new key made on %s waits to be registered", utc(p.pending.Stored).Format(time.DateOnly)))
	}
	if p.allowed != nil {
		warnings = append(warnings, p.allowed.unknown...)
	}
	for _, s := range p.sinks {
		if err := d.sinkErrs[s.Path]; err != nil {
			warnings = append(warnings, fmt.Sprintf("sink %s: %v", s.Path, err))
		}
	}
	for _, s := range p.slots {
		if text := skewText(s.tok.Skew, p.issuer); text != "" {
			return append(warnings, text)
		}
	}
	return warnings
}

// skewText says how far our clock is off from that of host, if it matters.
func skewText(skew time.Duration, host string) string {
	switch {
	case skew > skewTolerance:
		return fmt.Sprintf("this machine's clock is %v behind that of %s", skew, host)
	case skew < -skewTolerance:
		return fmt.Sprintf("this machine's clock is %v ahead of that of %s", -skew, host)
	}
	return ""
}

func utc(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC()
}
