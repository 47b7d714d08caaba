package daemon

import (
	"cmp"
	"context"

	"tokend/daemon/profile"
	"tokend/providers/token"
)

// ProfileText returns a profile's file, for callers who may edit it.
func (d *Daemon) ProfileText(ctx context.Context, name string) (token.ProfileText, error) {
	if err := d.requireAdmin(ctx, name); err != nil {
		return token.ProfileText{}, err
	}
	f, err := d.dirs.ReadToEdit(name)
	return token.ProfileText{File: f.Path, Text: string(f.Text), Revision: f.Revision()}, err
}

// Edit puts another text in place of a profile's file, and makes it active. If the text
// has the credential sent elsewhere, a new one must come with it, which tokend proves
// first, as in Rotate: otherwise an edit would be a way to have it sent anywhere. On an
// error everything stays as it was.
func (d *Daemon) Edit(ctx context.Context, e token.EditProfile) (edited token.Edited, err error) {
	if err := d.requireAdmin(ctx, e.Name); err != nil {
		return edited, err
	}
	before, err := d.dirs.ReadToEdit(e.Name)
	switch {
	case err != nil:
		return edited, err
	case before.Revision() != e.Revision:
		return edited, changedMeanwhile(e.Name)
	}
	st := d.state.Load()
	old, file := st.profiles[e.Name], before.With([]byte(e.Text))
	cred, _, _ := d.deps.Credentials.Kept(e.Name) // none if it must not be used
	p, err := st.OpenWith(file, cred)
	if err != nil {
		return edited, d.confined(err)
	}
	provider, _ := profile.FindProvider(st.Kinds, p.Provider)
	var forOwner string
	edited.Changes, forOwner = before.Changes(file, provider)
	if c := d.caller(ctx); forOwner != "" && !c.isOwner() {
		return edited, ownersOnly(c, forOwner)
	}
	a := e.CreateProfile
	a.Provider, a.NoCheck = p.Provider, len(a.Secrets) == 0
	_, second := a.Secrets[token.SecondSecret]
	switch setting := st.sentElsewhere(old, p); {
	case old != nil && old.Provider != p.Provider:
		return edited, invalid("provider", "the provider of a profile stays; tokenctl add makes another profile")
	case setting != "" && cred.ID != "" && (len(a.Secrets) == 0 || second && len(a.Secrets) == 1):
		err := invalid(setting, "%s decides where the secret is sent, now to %s; give the secret again", setting, cmp.Or(p.Issuer, p.Provider))
		err.Topic = token.SecretAgain
		return edited, err
	case len(a.Secrets) > 0:
		if a.Settings, err = file.Settings(token.Credential{}); err == nil {
			cred, err = d.renew(ctx, cred, &a)
		}
		if err != nil {
			return edited, err
		}
	}
	edited.Created, err = d.submit(ctx, old, before, file, cred, a)
	return edited, err
}

// sentElsewhere returns the first setting that has the credential of p sent elsewhere than
// that of old, "" if there is none. Where the file could not be used before, nothing says
// where the credential was sent.
func (s *state) sentElsewhere(old *entry, p *profile.Profile) string {
	if old == nil {
		return "provider"
	}
	kind, _ := profile.FindProvider(s.Kinds, p.Provider)
	return profile.SentElsewhere(kind, old.Settings, p.Settings)
}
