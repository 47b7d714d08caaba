package daemon

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"

	"tokend/daemon/mint"
	"tokend/daemon/profile"
	"tokend/providers/token"
)

// change waits until no other goroutine changes profiles, and returns the
// function to call when done. It refuses callers who may not administer the profile
// of, or manage profiles if that is empty, and names that no profile can have.
func (d *Daemon) change(ctx context.Context, of string, names ...string) (done func(), err error) {
	if err := d.requireAdmin(ctx, of); err != nil {
		return nil, err
	}
	for _, name := range names {
		if err := token.CheckName(name); err != nil {
			return nil, err
		}
	}
	select {
	case d.managing <- struct{}{}:
		return func() { <-d.managing }, nil
	case <-ctx.Done():
		return nil, &token.Error{Code: token.ErrUnavailable, Message: "another change of profiles is still under way", Cause: ctx.Err()}
	}
}

// Reload reads the configuration again. A bad config.toml leaves everything as
// it is; a bad profile leaves that profile as it is. Either is returned as
// ErrInvalid and shown by Status until it is fixed.
func (d *Daemon) Reload(ctx context.Context) error {
	done, err := d.change(ctx, "")
	if err != nil {
		return err
	}
	defer done()
	bad, err := d.read()
	if err != nil {
		next := d.state.Load().next()
		next.bad = map[string]string{"": err.Error()}
		d.state.Store(next)
		d.publish(nil, token.Event{Kind: token.EventReloaded, BadFiles: 1})
		d.deps.Log.Warn("configuration not read; the previous one stays active", "error", err.Error())
		return err
	}
	d.mint.Retry()
	d.publish(nil, token.Event{Kind: token.EventReloaded, BadFiles: len(bad)})
	if len(bad) == 0 {
		return nil
	}
	return invalid("", "the previous settings stay active for: %s", strings.Join(bad, "; "))
}

// read reads the configuration and all profiles. It returns what is wrong with
// files of profiles.d, and an error if config.toml cannot be used.
func (d *Daemon) read() (bad []string, err error) {
	next := d.state.Load().next()
	if next.Config, err = profile.ReadConfig(d.dirs); err != nil {
		return nil, confined(d, err)
	}
	if next.Kinds, err = d.deps.Configure(next.Config); err != nil {
		return nil, d.dirs.LocateConfig(confined(d, err))
	}
	next.admins = profile.NewAllowance(next.Config.AdminUsers, next.Config.AdminGroups)
	profiles, errs := next.OpenAll(d.dirs)
	next.bad = make(map[string]string, len(errs))
	for name, err := range errs {
		err = confined(d, err)
		next.bad[name] = err.Error()
		d.deps.Log.Warn("a profile cannot be read", "error", err.Error())
	}
	for name := range next.profiles {
		if profiles[name] == nil && errs[name] == nil && errs[""] == nil {
			defer d.retire(next, name)()
		}
	}
	for _, p := range profiles {
		d.install(next, p)
	}
	d.state.Store(next)
	for _, e := range next.profiles {
		e.start(nil)
	}
	d.sinks.Update()
	d.deps.Log.Info("configuration read", "profiles", len(profiles), "bad_files", len(errs))
	return slices.Sorted(maps.Values(next.bad)), nil
}

// confined adds to an error about a file that must not be read what may be the cause.
func confined(d *Daemon, err error) error {
	e, ok := errors.AsType[*token.Error](err)
	if !ok || !errors.Is(err, fs.ErrPermission) || !strings.HasSuffix(d.deps.Sandbox(), ": ok") {
		return err
	}
	explained := *e
	explained.Message += "; tokend confined itself to its files when it started, so one that came later takes a restart: " + d.deps.Restart
	return &explained
}

// install adds a profile to next, in place of the one of its name.
func (d *Daemon) install(next *state, p *profile.Profile) {
	e := &entry{Profile: p, uses: &uses{}}
	before := map[string]*mint.Tokens{}
	ev := token.Event{Kind: token.EventAdded, Profile: p.Name}
	if old := next.profiles[p.Name]; old != nil {
		e.uses = old.uses
		for _, part := range old.all() {
			before[part.Name] = part.tokens
		}
		if heir, ok := p.Verifier.(interface{ Inherit(old any) }); ok && old.Fingerprint == p.Fingerprint {
			heir.Inherit(old.Verifier) // the keys of an issuer that may be out of reach now
		}
		if ev.Kind = token.EventRotated; old.Credential.ID == p.Credential.ID {
			ev.Kind = ""
		}
	}
	if ev.Kind != "" {
		d.publish(e, ev)
	}
	for _, r := range p.Resources {
		e.resources = append(e.resources, &entry{Profile: r, uses: e.uses})
	}
	for _, part := range e.all() {
		if part.Minter != nil && !part.OnlyResources {
			part.tokens = d.mint.Set(before[part.Name], source(part.Profile))
			delete(before, part.Name)
		}
	}
	for _, tokens := range before {
		tokens.Remove()
	}
	next.profiles[p.Name] = e
}

// start has the tokens of e and its resources obtained and renewed, but for those that
// proved the credential, by name.
func (e *entry) start(proven map[string]mint.Proof) {
	for _, part := range e.all() {
		part.tokens.Start(proven[part.Name])
	}
}

// source is what the mint needs to know of a profile.
func source(p *profile.Profile) mint.Source {
	return mint.Source{
		Name: p.Name, Kind: p.Provider, Minter: p.Minter, Issuer: p.Issuer, Fingerprint: p.Fingerprint,
		Always: p.Renew == profile.RenewAlways || len(p.Sinks) > 0, Idle: p.Idle.Duration, Lead: p.Lead(),
	}
}

// retire removes a profile from next, and its tokens. Publish that once next is stored:
// watchers then look.
func (d *Daemon) retire(next *state, name string) (publish func()) {
	e := next.profiles[name]
	delete(next.profiles, name)
	for _, part := range e.all() {
		part.tokens.Remove()
	}
	return func() { d.publish(e, token.Event{Kind: token.EventRemoved, Profile: name}) }
}

// Add makes a new profile: it prepares what the person submitted, obtains a token
// with it to prove that it works (unless a.NoCheck), and only then keeps the
// secrets and writes the profile's file. On an error nothing is kept.
func (d *Daemon) Add(ctx context.Context, a token.CreateProfile) (token.Created, error) {
	st := d.state.Load()
	provider, err := profile.FindProvider(st.Kinds, a.Provider)
	if err := cmp.Or(d.requireAdmin(ctx, ""), token.CheckName(a.Name), unchanged(d, nil, profile.File{Name: a.Name}), err); err != nil {
		return token.Created{}, err
	}
	settings := maps.Clone(a.Settings)
	cred, err := prepare(st.Kinds, &a)
	if err != nil {
		return token.Created{}, err
	}
	text, err := profile.Render(provider, settings)
	if err != nil {
		return token.Created{}, err
	}
	return submit(ctx, d, nil, profile.File{Name: a.Name}, profile.File{Name: a.Name, Text: text}, cred, a)
}

// Rotate gives a profile a new credential, proven first by obtaining a token
// with it. The profile's file stays as it is. On an error the old credential
// stays.
func (d *Daemon) Rotate(ctx context.Context, a token.CreateProfile) (token.Created, error) {
	if err := d.requireAdmin(ctx, a.Name); err != nil {
		return token.Created{}, err
	}
	st := d.state.Load()
	old := st.profiles[a.Name]
	if old == nil {
		return token.Created{}, noProfile(a.Name)
	}
	file, err := d.dirs.Read(a.Name)
	switch {
	case err != nil:
		return token.Created{}, err
	case a.Step != "":
		return finishRotation(ctx, d, file, a.Step)
	case len(a.Settings) > 0 || a.Text != "":
		return token.Created{}, invalid("", "a new credential changes no settings; edit those in %s", file.Path)
	}
	a.Provider = old.Provider
	if a.Settings, err = file.Settings(token.Credential{}); err != nil {
		return token.Created{}, err
	}
	cred, err := renew(ctx, d, old.Credential, &a)
	if err != nil {
		return token.Created{}, err
	}
	return submit(ctx, d, old, file, file, cred, a)
}

// renew prepares a new credential in place of old. It leaves the second header's value
// as it is, or if only that is new, all the rest.
func renew(ctx context.Context, d *Daemon, old token.Credential, a *token.CreateProfile) (cred token.Credential, err error) {
	_, second := a.Secrets[token.SecondSecret]
	rest := second && len(a.Secrets) == 1
	if cred = (token.Credential{Expires: old.Expires, Settings: old.Settings}); !rest {
		cred, err = prepare(d.state.Load().Kinds, a)
	}
	for _, field := range old.Fields {
		if isSecond := field == token.SecondSecret; err == nil && (isSecond && !second || !isSecond && rest) {
			a.Secrets[field], err = d.deps.Credentials.Secret(ctx, old, field)
		}
	}
	return cred, err
}

// submit proves a new credential, if there is one, keeps it, and writes the profile's
// file if its text is new. before is the file as it is, without a path for a new
// profile; old is nil if the file could not be used so far.
func submit(ctx context.Context, d *Daemon, old *entry, before, file profile.File, cred token.Credential, a token.CreateProfile) (token.Created, error) {
	proven, found, err := prove(ctx, d, old, before, file, cred, a)
	if err != nil {
		return token.Created{}, err
	}
	done, err := d.change(ctx, a.Name)
	if err != nil {
		return token.Created{}, err
	}
	defer done()
	if err := unchanged(d, old, before); err != nil {
		return token.Created{}, err
	}
	put := d.deps.Credentials.Put
	if old != nil && old.Provider == a.Provider {
		if r, ok := old.Signer.(interface{ RotatesInSteps() bool }); ok && r.RotatesInSteps() {
			put = d.deps.Credentials.PutPending // until its owner says that it is registered with the service
		}
	}
	if len(a.Secrets) > 0 { // a verifier has none
		if cred, err = put(ctx, a.Name, a.Secrets, cred); err != nil {
			return token.Created{}, err
		}
	}
	if !bytes.Equal(before.Text, file.Text) { // now: the old credential is not for the new text
		err = profile.Write(d.dirs.ProfileFile(a.Name), file.Text)
	}
	if err != nil && before.Path == "" {
		err = errors.Join(err, d.deps.Credentials.Delete(context.WithoutCancel(ctx), a.Name))
	}
	if err != nil {
		return token.Created{}, err
	}
	p, err := d.state.Load().OpenStored(d.dirs, a.Name)
	if err != nil {
		return token.Created{}, err
	}
	created := activate(d, p, cred, proven)
	created.Found = found
	return created, nil
}

// unchanged refuses to go on with a profile that was removed, reloaded with
// other settings or edited since; or if file has no path, with a name that a profile
// has, or a file of profiles.d.
func unchanged(d *Daemon, old *entry, file profile.File) error {
	now := d.state.Load().profiles[file.Name]
	path := d.dirs.ProfileFile(file.Name)
	switch _, noFile := os.Lstat(path); {
	case file.Path == "" && (now != nil || noFile == nil):
		return &token.Error{Code: token.ErrExists, Field: "name", Message: fmt.Sprintf("profile %q exists already (%s)", file.Name, path)}
	case file.Path == "":
		return nil
	case old != nil && now == nil:
		return noProfile(file.Name)
	}
	isSame := now == old || now != nil && old != nil && now.Fingerprint == old.Fingerprint
	if written, err := d.dirs.Read(file.Name); err == nil && bytes.Equal(written.Text, file.Text) && isSame {
		return nil
	}
	return changedMeanwhile(file.Name)
}

func changedMeanwhile(name string) error {
	return &token.Error{Code: token.ErrUnavailable, Field: "revision", Message: fmt.Sprintf("profile %q was changed meanwhile; nothing was kept, try again", name)}
}

// finishRotation ends a rotation in two steps: the pending credential takes
// effect, or is given up. A bad file stops it before anything changes.
func finishRotation(ctx context.Context, d *Daemon, file profile.File, step string) (token.Created, error) {
	done, err := d.change(ctx, file.Name)
	if err != nil {
		return token.Created{}, err
	}
	defer done()
	cred, pending, err := d.deps.Credentials.Kept(file.Name)
	settle := d.deps.Credentials.Abandon
	if step == token.StepRegistered {
		cred, settle = pending, d.deps.Credentials.Promote
	}
	switch {
	case err != nil:
		return token.Created{}, err
	case step != token.StepRegistered && step != token.StepAbandon:
		return token.Created{}, invalid("step", "%q is not a step of a rotation", step)
	case pending.ID == "":
		return token.Created{}, invalid("step", "profile %q has no new credential that waits", file.Name)
	}
	p, err := d.state.Load().OpenWith(file, cred)
	if err == nil {
		err = settle(ctx, file.Name)
	}
	if err != nil {
		return token.Created{}, err
	}
	return activate(d, p, cred, nil), nil
}

// prepare has the provider turn what was submitted into a.Secrets. What it found
// in them besides secrets (a service key's client_id, a certificate) belongs to
// the credential and changes with it. It must not contradict the settings.
func prepare(kinds profile.Kinds, a *token.CreateProfile) (token.Credential, error) {
	before := maps.Clone(a.Settings)
	if a.Settings == nil {
		a.Settings = map[string]any{}
	}
	second, given := a.Secrets[token.SecondSecret]
	if given && !second.IsWord() {
		return token.Credential{}, invalid(token.SecondSecret, "%s is empty, or has characters that a header cannot have", token.SecondSecret)
	}
	delete(a.Secrets, token.SecondSecret) // no provider knows it
	if err := kinds.Prepare(a); err != nil {
		return token.Credential{}, err
	}
	if given {
		a.Secrets[token.SecondSecret] = second
	}
	found := map[string]any{}
	for key, value := range a.Settings {
		set, ok := before[key]
		if !ok {
			found[key] = value
		} else if !reflect.DeepEqual(set, value) {
			return token.Credential{}, invalid(key, "%s is set to %q, the new credential says %q; leave it out", key, set, value)
		}
	}
	return token.Credential{Expires: a.CredentialExpires, Settings: found}, nil
}

// prove opens a profile with the secrets that were submitted, and obtains a token
// with it, for a new profile one for each resource too, or for a verifier looks at what
// the issuer publishes. tokend writes sinks with its own rights, so admin_users may not
// add any, nor say who administers a profile; and who administers one may not hand in a
// credential that goes elsewhere.
func prove(ctx context.Context, d *Daemon, old *entry, before, f profile.File, cred token.Credential, a token.CreateProfile) (proven map[string]mint.Proof, found []string, err error) {
	st, c := d.state.Load(), d.caller(ctx)
	trial, err := st.Open(f, cred, func(_ context.Context, field string) (token.Secret, error) {
		if s, ok := a.Secrets[field]; ok {
			return s, nil
		}
		return token.Secret{}, invalid(field, "%s is missing", field)
	})
	hasSinks := func(p *profile.Profile) bool { return len(p.Sinks) > 0 }
	isNew := before.Path == ""
	switch {
	case err != nil || c.isOwner():
	case isNew && slices.ContainsFunc(trial.All(), hasSinks):
		err = ownersOnly(c, "sink")
	case isNew && len(trial.AdminUsers)+len(trial.AdminGroups) > 0:
		err = ownersOnly(c, "admin_users")
	case old != nil && !st.isAdmin(c) && trial.Issuer != old.Issuer:
		err = denied("issuer", "uid %d may not enter a credential of another issuer, %s; only root and the user that tokend runs as may", c.UID, trial.Issuer)
	}
	if _, second := a.Secrets[token.SecondSecret]; err == nil && (isNew || len(a.Secrets) > 0) && second != (trial.SecondHeader != "") {
		err = invalid(map[bool]string{true: "second_header", false: token.SecondSecret}[second], "second_header, in the profile's file, names the header, and %s is its value: one is missing", token.SecondSecret)
	}
	if err != nil || a.NoCheck {
		return nil, nil, err
	}
	if looker, ok := trial.Verifier.(interface {
		Look(ctx context.Context) (found []string, err error)
	}); ok {
		found, err = looker.Look(ctx)
		return nil, found, failure(err)
	}
	proven = map[string]mint.Proof{}
	for _, part := range trial.All() {
		if part.Minter == nil || part.OnlyResources || old != nil && len(proven) > 0 {
			continue
		}
		proof, err := d.mint.Try(ctx, source(part))
		if e, ok := errors.AsType[*token.Error](err); ok && part != trial {
			named := *e
			named.Message = "resource " + strings.TrimPrefix(part.Name, a.Name+"/") + ": " + e.Error()
			err = &named
		}
		if err != nil {
			return nil, nil, err
		}
		proven[part.Name] = proof
	}
	return proven, nil, nil
}

// activate makes a profile active, with the tokens that proved it, and says where the
// credential is that has just been stored.
func activate(d *Daemon, p *profile.Profile, stored token.Credential, proven map[string]mint.Proof) token.Created {
	next := d.state.Load().next()
	next.bad = maps.Clone(next.bad)
	delete(next.bad, p.Name)
	d.install(next, p)
	d.state.Store(next)
	e := next.profiles[p.Name]
	e.start(proven)
	d.sinks.Update()
	pending := cmp.Or(p.Pending, &token.Credential{}).ID
	d.deps.Log.Info("profile changed", "profile", p.Name, "provider", p.Provider, "credential", p.Credential.ID, "pending", pending)
	status := d.profileStatus(next, e, nil, userNames{}, false)
	created := token.Created{Profile: status, Checked: len(proven) > 0, Kept: []string{"settings: " + status.File}}
	for _, proof := range proven {
		created.Took += proof.Took
	}
	for _, field := range stored.Fields {
		created.Kept = append(created.Kept, field+": "+d.deps.Where(stored.Account(field)))
	}
	return created
}

// Remove deletes a profile: its secrets first, then its tokens, then its file.
// A keystore that cannot be reached leaves everything as it was. Remove also
// deletes what is left of a profile whose file is gone.
func (d *Daemon) Remove(ctx context.Context, name string) error {
	done, err := d.change(ctx, "", name)
	if err != nil {
		return err
	}
	defer done()
	file := d.dirs.ProfileFile(name)
	_, noFile := os.Lstat(file)
	_, noCredential := d.deps.Credentials.Current(name)
	if noFile != nil && errors.Is(noCredential, token.ErrNotFound) {
		return noProfile(name)
	}
	if err := d.deps.Credentials.Delete(ctx, name); err != nil {
		return err
	}
	deactivate(d, name)
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return invalid("", "%s", err.Error())
	}
	d.deps.Log.Info("profile removed", "profile", name)
	return nil
}

// deactivate forgets a profile, if it is active, and its tokens.
func deactivate(d *Daemon, name string) {
	if next := d.state.Load().next(); next.profiles[name] != nil {
		defer d.retire(next, name)()
		d.state.Store(next)
		d.sinks.Update()
	}
}

// Rename gives a profile another name: it copies the secrets, then moves the file,
// then deletes the old secrets. After someone renamed the file, only the secrets
// are left to move. tokend obtains new tokens.
func (d *Daemon) Rename(ctx context.Context, name, to string) error {
	done, err := d.change(ctx, "", name, to)
	if err != nil {
		return err
	}
	defer done()
	creds, from, into := d.deps.Credentials, d.dirs.ProfileFile(name), d.dirs.ProfileFile(to)
	_, hasSecrets := creds.Current(name)
	_, isTaken := creds.Current(to)
	_, isThere := os.Lstat(from)
	_, isNew := os.Lstat(into)
	at := name // where the file is
	if isThere != nil && isNew == nil && hasSecrets == nil {
		at, from = to, into
	}
	switch {
	case !errors.Is(isTaken, token.ErrNotFound), isNew == nil && at == name:
		return &token.Error{Code: token.ErrExists, Field: "name", Message: fmt.Sprintf("profile %q exists already (%s)", to, into)}
	case isThere != nil && at == name:
		return noProfile(name)
	}
	if _, err := d.state.Load().OpenStored(d.dirs, at); err != nil {
		return err
	}
	if err := creds.Copy(ctx, name, to); err != nil {
		return err
	}
	if err := os.Rename(from, into); err != nil {
		return errors.Join(invalid("", "%s", err.Error()), creds.Delete(context.WithoutCancel(ctx), to))
	}
	_ = creds.Delete(ctx, name) // status lists what is left
	deactivate(d, name)
	d.deps.Log.Info("profile renamed", "profile", name, "to", to)
	p, err := d.state.Load().OpenStored(d.dirs, to)
	if err == nil {
		activate(d, p, p.Credential, nil)
	}
	return err
}

// A Vault is the keystore, which a migration replaces.
type Vault interface {
	About(ctx context.Context) token.KeystoreStatus
	// Unlock asks the system to unlock it, which may show a prompt. ErrLocked
	// says that the prompt still waits.
	Unlock(ctx context.Context) error
	// Migrate moves all secrets to another keystore and uses that from then on, or
	// changes nothing.
	Migrate(ctx context.Context, to token.KeystoreChoice) (token.Migrated, error)
}

// Keystore describes the keystore to callers who may manage profiles.
func (d *Daemon) Keystore(ctx context.Context) (token.KeystoreStatus, error) {
	if err := d.requireAdmin(ctx, ""); err != nil {
		return token.KeystoreStatus{}, err
	}
	return d.deps.Vault.About(ctx), nil
}

// Unlock asks the system to unlock the keystore. Then everything that failed
// without it is tried again at once.
func (d *Daemon) Unlock(ctx context.Context) error {
	if err := d.requireAdmin(ctx, ""); err != nil {
		return err
	}
	if err := d.deps.Vault.Unlock(ctx); err != nil {
		return err
	}
	d.mint.Retry()
	return nil
}

// Migrate moves all secrets to another keystore. admin_users may not
// decide where a host keeps its keys.
func (d *Daemon) Migrate(ctx context.Context, to token.KeystoreChoice) (token.Migrated, error) {
	if c := d.caller(ctx); !c.isOwner() {
		return token.Migrated{}, denied("admin_users", "uid %d may not move secrets; only root and the user that tokend runs as may", c.UID)
	}
	before := d.deps.Vault.About(ctx)
	done, err := d.deps.Vault.Migrate(ctx, to)
	if err != nil {
		d.deps.Log.Warn("keystore not migrated; the one before stays in use", "keystore", before.Keystore, "error", err.Error())
		return done, err
	}
	d.deps.Log.Info("keystore migrated", "from", before.Keystore, "to", done.Keystore.Keystore, "secrets", done.Moved, "key_id", done.Keystore.KeyID)
	d.mint.Retry()
	return done, nil
}
