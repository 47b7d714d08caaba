package daemon

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/google/renameio/v2/maybe"

	"tokend/providers/token"
)

// manage waits until no other call changes profiles, and returns what to call
// when done.
func (d *Daemon) manage(ctx context.Context) (done func(), err error) {
	select {
	case d.managing <- struct{}{}:
		return func() { <-d.managing }, nil
	case <-ctx.Done():
		return nil, &token.Error{Code: token.ErrUnavailable, Message: "another change of profiles is still under way", Cause: ctx.Err()}
	}
}

// configure applies a configuration. What is wrong with one of
// its settings is told with file and line.
func (d *Daemon) configure(c Config) (Kinds, error) {
	kinds, err := d.deps.Configure(c)
	if err == nil {
		return kinds, nil
	}
	text, _ := os.ReadFile(d.dirs.ConfigFile()) // it was read a moment ago
	return nil, newDocument(d.dirs.ConfigFile(), text).locate(err)
}

// Reload reads the configuration anew. A bad config.toml leaves everything as
// it is in force; a bad profile leaves that profile as it is in force. Either
// is returned as ErrInvalid and shown by Status until it is mended.
func (d *Daemon) Reload(ctx context.Context) error {
	if err := d.permitManaging(ctx); err != nil {
		return err
	}
	done, err := d.manage(ctx)
	if err != nil {
		return err
	}
	defer done()
	config, err := ReadConfig(d.dirs)
	if err == nil {
		var kinds Kinds
		if kinds, err = d.configure(config); err == nil {
			d.mu.Lock()
			inForce := maps.Clone(d.profiles)
			d.mu.Unlock()
			profiles, bad := d.readProfiles(kinds, config, inForce)
			d.adopt(config, kinds, profiles, bad)
			for _, b := range bad {
				d.deps.Log.Warn("a profile cannot be read; what was in force of it stays", "error", b)
			}
			d.deps.Log.Info("configuration read", "profiles", len(profiles), "bad_files", len(bad))
			d.noteReload(len(bad))
			return badFiles(bad)
		}
	}
	d.mu.Lock()
	d.bad = map[string]string{"": err.Error()}
	d.mu.Unlock()
	d.noteReload(1)
	d.deps.Log.Warn("configuration not read; what was in force stays", "error", err.Error())
	return err
}

func badFiles(bad map[string]string) error {
	if len(bad) == 0 {
		return nil
	}
	return &token.Error{Code: token.ErrInvalid, Message: "what was in force before stays in force for: " +
		strings.Join(slices.Sorted(maps.Values(bad)), "; ")}
}

// readProfiles reads and opens all files of profiles.d. In place of one that is
// bad stands what was in force, if anything was.
func (d *Daemon) readProfiles(kinds Kinds, c Config, inForce map[string]*profile) (profiles map[string]*profile, bad map[string]string) {
	files, err := d.dirs.profileFiles()
	if err != nil {
		return inForce, map[string]string{"": err.Error()}
	}
	opened, errs := make([]*profile, len(files)), make([]error, len(files))
	inParallel(len(files), runtime.GOMAXPROCS(0), func(i int) {
		opened[i], errs[i] = d.openFile(kinds, c, files[i])
	})
	bad = map[string]string{}
	profiles = make(map[string]*profile, len(files))
	for i, file := range files {
		p := opened[i]
		if errs[i] != nil {
			bad[file.name()] = errs[i].Error()
			if p = inForce[file.name()]; p == nil {
				continue
			}
		}
		profiles[p.name] = p
	}
	return profiles, bad
}

// adopt puts a configuration in force. Tokens of a profile whose fingerprint
// is the same stay.
func (d *Daemon) adopt(config Config, kinds Kinds, profiles map[string]*profile, bad map[string]string) {
	admins := newAllowance(config.AdminUsers, config.AdminGroups) // may ask a directory service
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, p := range d.profiles {
		if profiles[name] == nil {
			d.retire(p)
		}
	}
	d.config, d.kinds, d.bad, d.admins = config, kinds, bad, admins
	for _, p := range profiles {
		d.install(p)
	}
	d.nudge()
}

// install puts p in force. d.mu is held.
func (d *Daemon) install(p *profile) {
	old := d.profiles[p.name]
	d.profiles[p.name], d.claims, d.crowds = p, nil, nil
	if old == nil {
		p.tally = &tally{}
		d.publish(p, token.Event{Kind: token.EventAdded})
	} else if old != p {
		p.tally = old.tally
		if old.credential.ID != p.credential.ID {
			d.publish(p, token.Event{Kind: token.EventRotated})
		}
		if old.fingerprint == p.fingerprint {
			p.inherit(old)
		} else {
			d.drop(old)
		}
	}
	for _, s := range p.slots {
		s.profile = p
		d.plan(s)
	}
	d.sink()
	if p.minter == nil || p.renew != RenewAlways && p.sinks == nil {
		return
	}
	if s, err := d.slot(p, token.Target{}, time.Time{}); err == nil {
		d.plan(s)
	}
}

// retire takes p out of force, and its tokens with it. d.mu is held.
func (d *Daemon) retire(p *profile) {
	delete(d.profiles, p.name)
	d.claims, d.crowds = nil, nil
	d.publish(p, token.Event{Kind: token.EventRemoved})
	d.sink()
	d.drop(p)
}

// drop forgets the tokens of a profile that is not in force any more. Flights
// under way land for those who wait for them. d.mu is held.
func (d *Daemon) drop(p *profile) {
	for _, s := range slices.Clone(p.slots) {
		d.forget(s)
	}
}

// Add makes a new profile: it prepares what the person handed in, obtains a
// token with it to prove that it works (unless a.NoCheck), and only then keeps
// the secrets and writes the profile's file. On an error nothing is kept.
func (d *Daemon) Add(ctx context.Context, a token.CreateProfile) (token.Created, error) {
	if err := d.permitManaging(ctx); err != nil {
		return token.Created{}, err
	}
	if err := token.CheckName(a.Name); err != nil {
		return token.Created{}, err
	}
	if err := d.isFree(a.Name); err != nil {
		return token.Created{}, err
	}
	d.mu.Lock()
	kinds, config := d.kinds, d.config
	d.mu.Unlock()
	if err := checkProvider(kinds, a.Provider); err != nil {
		return token.Created{}, err
	}
	said := maps.Clone(a.Settings)
	cred, err := prepare(kinds, &a)
	if err != nil {
		return token.Created{}, err
	}
	if err := noneContradicts(cred, said); err != nil {
		return token.Created{}, err
	}
	text, err := render(providerNamed(kinds, a.Provider), said)
	if err != nil {
		return token.Created{}, err
	}
	proven, err := d.prove(ctx, kinds, config, newDocument("", text), &cred, a)
	if err != nil {
		return token.Created{}, err
	}

	done, err := d.manage(ctx)
	if err != nil {
		return token.Created{}, err
	}
	defer done()
	if err := d.isFree(a.Name); err != nil {
		return token.Created{}, err
	}
	if len(a.Secrets) > 0 { // a verifier has none
		if cred, err = d.deps.Credentials.Put(ctx, a.Name, a.Secrets, cred); err != nil {
			return token.Created{}, err
		}
	}
	file := d.dirs.ProfileFile(a.Name)
	if err := writeFile(file, text); err != nil {
		return token.Created{}, errors.Join(err, d.deps.Credentials.Delete(context.WithoutCancel(ctx), a.Name))
	}
	return d.openInForce(a.Name, newDocument(file, text), cred, proven)
}

// isFree refuses a name that a profile has, or a file of profiles.d.
func (d *Daemon) isFree(name string) error {
	d.mu.Lock()
	taken := d.profiles[name] != nil
	d.mu.Unlock()
	file := d.dirs.ProfileFile(name)
	if _, err := os.Lstat(file); err == nil {
		taken = true
	}
	if taken {
		return &token.Error{Code: token.ErrExists, Field: "name", Message: fmt.Sprintf("profile %q exists already (%s)", name, file)}
	}
	return nil
}

// Rotate gives a profile a new credential, proven first by obtaining a token
// with it. The profile's file stays as it is. On an error the old credential
// stays in force.
func (d *Daemon) Rotate(ctx context.Context, a token.CreateProfile) (token.Created, error) {
	if err := d.permitManaging(ctx); err != nil {
		return token.Created{}, err
	}
	d.mu.Lock()
	kinds, config, old := d.kinds, d.config, d.profiles[a.Name]
	d.mu.Unlock()
	switch {
	case old == nil:
		return token.Created{}, noProfile(a.Name)
	case a.Step != "":
		return d.settle(ctx, a)
	}
	file := d.dirs.ProfileFile(a.Name)
	text, err := os.ReadFile(file)
	if err != nil {
		return token.Created{}, unreadable(err)
	}
	written, err := newDocument(file, text).settings(token.Credential{})
	if err != nil {
		return token.Created{}, err
	}
	if len(a.Settings) > 0 {
		return token.Created{}, &token.Error{Code: token.ErrInvalid, Message: fmt.Sprintf(
			"a new credential changes no settings; edit %s and reload for those", file)}
	}
	a.Provider, a.Settings = old.kind, maps.Clone(written)
	cred, err := prepare(kinds, &a)
	if err != nil {
		return token.Created{}, err
	}
	if err := noneContradicts(cred, written); err != nil {
		return token.Created{}, newDocument(file, text).locate(err)
	}
	proven, err := d.prove(ctx, kinds, config, newDocument(file, text), &cred, a)
	if err != nil {
		return token.Created{}, err
	}

	done, err := d.manage(ctx)
	if err != nil {
		return token.Created{}, err
	}
	defer done()
	if err := d.unchanged(old, text); err != nil {
		return token.Created{}, err
	}
	if old.inSteps {
		if _, err := d.deps.Credentials.PutPending(ctx, a.Name, a.Secrets, cred); err != nil {
			return token.Created{}, err
		}
		return d.openInForce(a.Name, newDocument(file, text), *old.credential, proven)
	}
	if cred, err = d.deps.Credentials.Put(ctx, a.Name, a.Secrets, cred); err != nil {
		return token.Created{}, err
	}
	return d.openInForce(a.Name, newDocument(file, text), cred, proven)
}

// unchanged refuses to go on with a profile that was removed, reloaded with
// other settings or edited since.
func (d *Daemon) unchanged(old *profile, text []byte) error {
	d.mu.Lock()
	now := d.profiles[old.name]
	d.mu.Unlock()
	if now == nil {
		return noProfile(old.name)
	}
	if written, err := os.ReadFile(d.dirs.ProfileFile(old.name)); err == nil && bytes.Equal(written, text) && now.fingerprint == old.fingerprint {
		return nil
	}
	return &token.Error{Code: token.ErrUnavailable, Message: fmt.Sprintf("profile %q was changed meanwhile; nothing was kept, try again", old.name)}
}

// settle ends a rotation in two steps: the pending credential takes effect, or
// is given up. Everything that can fail is tried before anything changes, and
// at each moment some credential and its own settings are in force together.
func (d *Daemon) settle(ctx context.Context, a token.CreateProfile) (token.Created, error) {
	done, err := d.manage(ctx)
	if err != nil {
		return token.Created{}, err
	}
	defer done()
	d.mu.Lock()
	kinds, config, old := d.kinds, d.config, d.profiles[a.Name]
	d.mu.Unlock()
	if old == nil {
		return token.Created{}, noProfile(a.Name)
	}
	pending, err := d.deps.Credentials.Pending(a.Name)
	if errors.Is(err, token.ErrNotFound) {
		err = &token.Error{Code: token.ErrInvalid, Field: "step", Message: fmt.Sprintf("profile %q has no new credential that waits", a.Name)}
	}
	if err != nil {
		return token.Created{}, err
	}
	file := d.dirs.ProfileFile(a.Name)
	reopen := func(cred *token.Credential) (*profile, error) {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, unreadable(err)
		}
		return open(kinds, config, a.Name, newDocument(file, text), cred, d.secretsOf(a.Name, cred))
	}
	same, err := reopen(old.credential)
	if err != nil {
		return token.Created{}, err
	}
	if same.fingerprint != old.fingerprint {
		return token.Created{}, &token.Error{Code: token.ErrInvalid, Message: file + " was edited and is not in force yet; reload first"}
	}
	switch a.Step {
	case token.StepRegistered:
		next, err := reopen(&pending)
		if err != nil {
			return token.Created{}, err
		}
		added := d.putInForce(next, pending, proof{})
		if _, err := d.deps.Credentials.Promote(ctx, a.Name); err != nil {
			d.putInForce(old, *old.credential, proof{})
			return token.Created{}, err
		}
		return added, nil
	case token.StepAbandon:
		if err := d.deps.Credentials.Abandon(ctx, a.Name); err != nil {
			return token.Created{}, err
		}
		return d.putInForce(same, *same.credential, proof{}), nil
	}
	return token.Created{}, &token.Error{Code: token.ErrInvalid, Field: "step", Message: fmt.Sprintf("%q is no step of a rotation", a.Step)}
}

// prepare has the provider make of a what is kept: a.Secrets. What it found in
// them beside secrets (a service key's client_id, a certificate) belongs to
// the credential and changes with it.
func prepare(kinds Kinds, a *token.CreateProfile) (token.Credential, error) {
	said := maps.Clone(a.Settings)
	if a.Settings == nil {
		a.Settings = map[string]any{}
	}
	if err := kinds.Prepare(a); err != nil {
		return token.Credential{}, err
	}
	found := map[string]any{}
	for key, value := range a.Settings {
		if before, ok := said[key]; !ok || !reflect.DeepEqual(before, value) {
			found[key] = value
		}
	}
	return token.Credential{Expires: a.CredentialExpires, Settings: found}, nil
}

// noneContradicts refuses a credential that brings another value for a setting
// than the person said, which would win.
func noneContradicts(cred token.Credential, said map[string]any) error {
	for key, value := range cred.Settings {
		if before, ok := said[key]; ok {
			return &token.Error{Code: token.ErrInvalid, Field: key, Message: fmt.Sprintf(
				"%s is set to %q, the new credential says %q; leave it out", key, before, value)}
		}
	}
	return nil
}

// handed reads secrets from what was handed in, before they are kept.
func handed(secrets map[string]token.Secret) secretReader {
	return func(_ context.Context, field string) (token.Secret, error) {
		if s, ok := secrets[field]; ok {
			return s, nil
		}
		return token.Secret{}, &token.Error{Code: token.ErrInvalid, Field: field, Message: field + " is missing"}
	}
}

// A proof is the token that showed that a credential works, if one was asked
// for.
type proof struct {
	token token.Token
	took  time.Duration
}

// prove opens a profile that is not in force yet, with the secrets that were
// handed in, and obtains a token with it.
func (d *Daemon) prove(ctx context.Context, kinds Kinds, c Config, doc *document, cred *token.Credential, a token.CreateProfile) (proof, error) {
	trial, err := open(kinds, c, a.Name, doc, cred, handed(a.Secrets))
	if err != nil || a.NoCheck || trial.minter == nil {
		return proof{}, err
	}
	begin := time.Now()
	tok, err := d.mint(ctx, trial, token.Target{})
	if err != nil {
		return proof{}, asError(err)
	}
	d.mu.Lock()
	tok.RenewAt = renewAt(tok, d.others(trial), rand.Float64())
	d.mu.Unlock()
	return proof{tok, time.Since(begin)}, nil
}

// openInForce opens a profile whose credential has just been kept, with the
// configuration as it is by now, and installs it.
func (d *Daemon) openInForce(name string, doc *document, cred token.Credential, proven proof) (token.Created, error) {
	d.mu.Lock()
	kinds, config := d.kinds, d.config
	d.mu.Unlock()
	p, err := d.openKept(kinds, config, name, doc)
	if err != nil {
		return token.Created{}, err
	}
	kept := cred
	if p.pending != nil {
		kept = *p.pending
	}
	return d.putInForce(p, kept, proven), nil
}

// putInForce installs a profile, with the token that proved it, and says where
// its credential is kept.
func (d *Daemon) putInForce(p *profile, kept token.Credential, proven proof) token.Created {
	d.mu.Lock()
	d.install(p)
	if !proven.token.Secret.IsZero() {
		if s, err := d.slot(p, token.Target{}, d.wall()); err == nil && s.flight == nil {
			s.tok, s.used = proven.token, use{at: d.wall()}
			s.remember(proven.token.Issued, proven.took, "")
			d.noteSuccess(s, proven.took)
			d.unsaved[s.key()] = s.record()
			d.soil()
			d.plan(s)
		}
	}
	status := d.profileStatus(p, nil, d.wall())
	d.nudge()
	d.mu.Unlock()

	pending := cmp.Or(p.pending, new(token.Credential)).ID
	d.deps.Log.Info("profile changed", "profile", p.name, "provider", p.kind, "credential", p.credential.ID, "pending", pending)
	added := token.Created{Profile: status, Checked: !proven.token.Secret.IsZero(), Took: proven.took, Kept: []string{"settings: " + status.File}}
	for _, field := range kept.Fields {
		added.Kept = append(added.Kept, field+": "+d.deps.Where(kept.Account(field)))
	}
	return added
}

// Remove deletes a profile: its secrets first, then its tokens, then its file.
// A keystore that cannot be reached leaves all as it was. It also clears away
// what is left of a profile whose file is gone.
func (d *Daemon) Remove(ctx context.Context, name string) error {
	if err := d.permitManaging(ctx); err != nil {
		return err
	}
	if err := token.CheckName(name); err != nil {
		return err
	}
	done, err := d.manage(ctx)
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
	d.mu.Lock()
	if p := d.profiles[name]; p != nil {
		d.retire(p)
	}
	d.mu.Unlock()
	if err := d.askCache(ctx, func() error { return d.deps.Cache.Delete(name) }); err != nil {
		d.deps.Log.Warn("the tokens of a removed profile stay in the cache until they expire", "profile", name, "error", err.Error())
	}
	if noFile == nil {
		if err := os.Remove(file); err != nil {
			return unreadable(err)
		}
	}
	d.deps.Log.Info("profile removed", "profile", name)
	return nil
}

// writeFile writes a new file whole or not at all, for the owner alone.
func writeFile(file string, text []byte) error {
	err := os.MkdirAll(filepath.Dir(file), 0o700)
	if err == nil {
		err = maybe.WriteFile(file, text, 0o600)
	}
	if err != nil {
		return &token.Error{Code: token.ErrInternal, Message: "the profile's file cannot be written: " + err.Error()}
	}
	return nil
}
