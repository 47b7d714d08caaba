package daemon

import (
	"context"

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

// Edit puts a.Text in place of the text of a profile's file, and makes it active. If the
// credential is sent elsewhere then, a.Secrets must have a new one, which tokend proves
// first: otherwise an edit could have it sent anywhere. On an error everything stays as
// it was.
func (d *Daemon) Edit(ctx context.Context, a token.CreateProfile) (edited token.Created, err error) {
	if err := d.requireAdmin(ctx, a.Name); err != nil {
		return edited, err
	}
	before, err := d.dirs.ReadToEdit(a.Name)
	switch {
	case err != nil:
		return edited, err
	case len(a.Settings) > 0 || a.NoCheck || a.Step != "":
		return edited, invalid("", "an edit has text, revision, secrets and credential_expires")
	case before.Revision() != a.Revision:
		return edited, changedMeanwhile(a.Name)
	}
	st, c, file := d.state.Load(), d.caller(ctx), before
	file.Text = []byte(a.Text)
	cred, _, _ := d.deps.Credentials.Kept(a.Name) // none if it must not be used
	p, err := st.OpenWith(file, cred)
	if err != nil {
		return edited, confined(d, err)
	}
	_, second := a.Secrets[token.SecondSecret]
	edited.Changes = st.Changes(before, file)
	for _, change := range edited.Changes {
		switch {
		case !change.ForAdmins && !c.isOwner():
			return edited, ownersOnly(c, change.Setting)
		case change.Sends && cred.ID != "" && (len(a.Secrets) == 0 || second && len(a.Secrets) == 1):
			err := invalid(change.Setting, "%s decides where the secret is sent, now to %s; enter the secret again", change.Setting, p.Issuer)
			err.Topic = token.SecretAgain
			return edited, err
		}
	}
	a.Provider, a.NoCheck = p.Provider, len(a.Secrets) == 0
	if len(a.Secrets) > 0 {
		if a.Settings, err = file.Settings(token.Credential{}); err == nil {
			cred, err = renew(ctx, d, cred, &a)
		}
		if err != nil {
			return edited, err
		}
	}
	created, err := submit(ctx, d, st.profiles[a.Name], before, file, cred, a)
	created.Changes = edited.Changes
	return created, err
}
