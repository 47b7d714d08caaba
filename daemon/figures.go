package daemon

import (
	"context"
	"maps"
	"slices"
	"time"

	"tokend/providers/token"
)

// Figures are what metrics are made of, beside what other packages count.
type Figures struct {
	// Profiles are those that the caller may use or manage.
	Profiles []ProfileFigures
	// MayManage tells whether that are all, so that sums over them tell the
	// caller nothing new.
	MayManage bool
	// BadFiles is how many files of the configuration are not in force; 0 for
	// those who may not manage.
	BadFiles int
	// CacheFails: the token cache cannot be read or written now.
	CacheFails bool
	// CacheWrites counts how often tokens were written to the cache, or were to
	// be, since the daemon started; 0 for those who may not manage.
	CacheWrites uint64
	// Watchers is how many watch events.
	Watchers int
	// Skew is the last issuer's clock minus ours, if one was heard of lately.
	Skew time.Duration
	// SkewKnown tells whether it was.
	SkewKnown bool
}

// ProfileFigures are those of one profile.
type ProfileFigures struct {
	Name, Provider, Does string
	// Kept fresh: renewed whether or not anybody asks.
	Always bool
	// CredentialExpires is when the credential itself ends; zero if unknown.
	CredentialExpires time.Time
	// Attempts counts what the attempts came to since the daemon started, by
	// code; "" is a success.
	Attempts map[token.Code]uint64
	// Own is the token of the profile's own scope and audience, if it has one;
	// States are how many of all its tokens are in which state.
	Own    token.TokenStatus
	HasOwn bool
	States map[string]int
}

// Figures gives the figures as they are now.
func (d *Daemon) Figures(ctx context.Context) (Figures, error) {
	now, w := d.wall(), d.who(ctx)
	f, names := d.figuresOfAll(w, now)
	f.Profiles = make([]ProfileFigures, 0, len(names))
	for names := range slices.Chunk(names, inOneGo) {
		d.mu.Lock()
		for _, name := range names {
			if p, err := d.see(w, name); err == nil {
				f.Profiles = append(f.Profiles, p.figures(now))
			}
		}
		d.mu.Unlock()
	}
	return f, nil
}

// figuresOfAll are those of the daemon itself, and the names of the profiles.
func (d *Daemon) figuresOfAll(w who, now time.Time) (f Figures, names []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f = Figures{CacheFails: d.cacheErr != nil, Watchers: len(d.watchers), MayManage: d.mayManage(w)}
	if age := now.Sub(d.clock.seen); age >= 0 && age <= clockMemory {
		f.Skew, f.SkewKnown = d.clock.skew, true
	}
	if f.MayManage {
		f.BadFiles, f.CacheWrites = len(d.bad), d.writes
	}
	return f, slices.Collect(maps.Keys(d.profiles))
}

// figures are those of p. Daemon.mu is held.
func (p *profile) figures(now time.Time) ProfileFigures {
	f := ProfileFigures{
		Name: p.name, Provider: p.kind, Does: p.does(), Always: p.renew == RenewAlways && p.minter != nil,
		CredentialExpires: utc(p.ends), Attempts: p.tally.byCode(), States: map[string]int{},
	}
	for _, s := range p.slots {
		st := s.status(now)
		f.States[st.State]++
		if s.target == (token.Target{}) {
			f.Own, f.HasOwn = st, true
		}
	}
	return f
}
