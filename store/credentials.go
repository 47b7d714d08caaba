package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tokend/providers/token"
)

// Credentials records which credential of a profile is current, and returns its
// secrets. The secrets are in a keystore, under "<profile>/<field>/<id>"; a small
// file for each profile names the current id. Each call reads the secrets from
// the keystore again.
type Credentials struct {
	dir  string
	keys Keystore
	turn chan struct{} // one writer at a time
}

// NewCredentials keeps the records under dir, which the first Put makes, and
// the secrets in keys.
func NewCredentials(dir string, keys Keystore) *Credentials {
	return &Credentials{dir: dir, keys: keys, turn: make(chan struct{}, 1)}
}

const (
	recordSuffix = ".toml"
	maxRecord    = 64 << 10
)

// A record is a profile's file. Its three states follow each other:
//
//	current old                    before a Put
//	current old, leftover new      while the new secrets are written
//	current new, leftover old      while the old secrets are deleted
//
// and each change is one renaming. So at any moment the current credential is
// whole, and the record names everything else that may be in the keystore. A
// pending credential is whole too, and waits to become the current one.
type record struct {
	// Profile is whose record it is: not every name can be a file's.
	Profile string `toml:"profile"`
	stored
	Pending   *stored    `toml:"pending,omitempty"`
	Leftovers []leftover `toml:"leftover,omitempty"`
}

// stored is what a record says of a credential.
type stored struct {
	ID       string         `toml:"id,omitempty"`
	Fields   []string       `toml:"fields,omitempty"`
	Stored   time.Time      `toml:"stored,omitempty"`
	Expires  time.Time      `toml:"expires,omitempty"`
	Settings map[string]any `toml:"settings,omitempty"`
}

func (s stored) credential(profile string) token.Credential {
	return token.Credential{Profile: profile, ID: s.ID, Fields: s.Fields, Stored: s.Stored, Expires: s.Expires, Settings: s.Settings}
}

// A leftover is a credential that is neither current nor pending, and whose
// secrets may still be in the keystore.
type leftover struct {
	ID     string   `toml:"id"`
	Fields []string `toml:"fields"`
}

// replaced lists the credentials of a record other than keep, to be deleted.
func (r record) replaced(keep ...*stored) (old []leftover) {
	for _, s := range []*stored{&r.stored, r.Pending} {
		if s != nil && s.ID != "" && !slices.ContainsFunc(keep, func(k *stored) bool { return k.ID == s.ID }) {
			old = append(old, leftover{s.ID, s.Fields})
		}
	}
	return old
}

// Put makes secrets the credential of profile, with the Expires and Settings of
// about. It reads each secret back first. The former credential stays current
// until Put returns, and if it fails. Put gives up a pending credential.
func (c *Credentials) Put(ctx context.Context, profile string, secrets map[string]token.Secret, about token.Credential) (token.Credential, error) {
	return c.put(ctx, profile, secrets, about, func(rec record, s stored) record {
		return record{stored: s, Leftovers: rec.replaced(&s)}
	})
}

// PutPending keeps secrets like Put, but the current credential stays current
// until Promote. It gives up another pending one.
func (c *Credentials) PutPending(ctx context.Context, profile string, secrets map[string]token.Secret, about token.Credential) (token.Credential, error) {
	return c.put(ctx, profile, secrets, about, func(rec record, s stored) record {
		return record{stored: rec.stored, Pending: &s, Leftovers: rec.replaced(&rec.stored)}
	})
}

// put writes secrets under new accounts, then the record that place makes of
// the one before, then deletes what that one no longer needs.
func (c *Credentials) put(ctx context.Context, profile string, secrets map[string]token.Secret, about token.Credential, place func(record, stored) record) (token.Credential, error) {
	if err := checkCredential(profile, secrets); err != nil {
		return token.Credential{}, err
	}
	if err := c.enter(ctx); err != nil {
		return token.Credential{}, err
	}
	defer c.leave()

	rec, err := c.read(profile)
	if err != nil && !errors.Is(err, token.ErrNotFound) {
		return token.Credential{}, err
	}
	if rec, err = c.clear(ctx, profile, rec); err != nil {
		return token.Credential{}, err
	}

	now := time.Now().UTC()
	s := stored{
		ID:       now.Format("20060102") + "-" + randomHex(4),
		Fields:   slices.Sorted(maps.Keys(secrets)),
		Stored:   now.Truncate(time.Second),
		Expires:  about.Expires.UTC().Truncate(time.Second),
		Settings: about.Settings,
	}
	cred := s.credential(profile)
	during := rec
	during.Leftovers = []leftover{{s.ID, s.Fields}}
	if err := c.write(profile, during); err != nil {
		return token.Credential{}, err
	}
	if err := c.keep(ctx, cred, secrets); err != nil {
		// What could not be undone now is undone by the next Put or Delete.
		_, _ = c.clear(context.WithoutCancel(ctx), profile, during)
		return token.Credential{}, err
	}
	after := place(rec, s)
	if err := c.write(profile, after); err != nil {
		return token.Credential{}, err
	}
	// The new one counts; the old one's secrets can also go later.
	_, _ = c.clear(ctx, profile, after)
	return cred, nil
}

// Promote makes the pending credential the current one. token.ErrNotFound means
// that none is pending.
func (c *Credentials) Promote(ctx context.Context, profile string) (token.Credential, error) {
	var promoted stored
	err := c.settle(ctx, profile, func(rec record) record {
		promoted = *rec.Pending
		return record{stored: promoted, Leftovers: append(rec.Leftovers, rec.replaced(&promoted)...)}
	})
	return promoted.credential(profile), err
}

// Abandon gives up the pending credential. token.ErrNotFound means that none is
// pending.
func (c *Credentials) Abandon(ctx context.Context, profile string) error {
	return c.settle(ctx, profile, func(rec record) record {
		return record{stored: rec.stored, Leftovers: append(rec.Leftovers, rec.replaced(&rec.stored)...)}
	})
}

// settle writes the record that follows from one with a pending credential.
func (c *Credentials) settle(ctx context.Context, profile string, follow func(record) record) error {
	if err := c.enter(ctx); err != nil {
		return err
	}
	defer c.leave()
	rec, err := c.readPending(profile)
	if err != nil {
		return err
	}
	after := follow(rec)
	if err := c.write(profile, after); err != nil {
		return err
	}
	_, _ = c.clear(ctx, profile, after)
	return nil
}

// Current returns the credential of profile without asking the keystore;
// token.ErrNotFound if there is none.
func (c *Credentials) Current(profile string) (token.Credential, error) {
	rec, err := c.read(profile)
	if err == nil && rec.ID == "" {
		err = noCredential(profile)
	}
	if err != nil {
		return token.Credential{}, err
	}
	return rec.credential(profile), nil
}

// Kept returns the current and the pending credential, each the zero Credential
// if there is none.
func (c *Credentials) Kept(profile string) (current, pending token.Credential, err error) {
	rec, err := c.read(profile)
	if errors.Is(err, token.ErrNotFound) {
		return current, pending, nil
	}
	if err == nil && rec.ID != "" {
		current = rec.credential(profile)
	}
	if err == nil && rec.Pending != nil {
		pending = rec.Pending.credential(profile)
	}
	return current, pending, err
}

// Pending returns the credential that waits for Promote; token.ErrNotFound if
// there is none.
func (c *Credentials) Pending(profile string) (token.Credential, error) {
	rec, err := c.readPending(profile)
	if err != nil {
		return token.Credential{}, err
	}
	return rec.Pending.credential(profile), nil
}

// readPending reads a record that has a pending credential.
func (c *Credentials) readPending(profile string) (record, error) {
	rec, err := c.read(profile)
	if err == nil && rec.Pending == nil {
		err = fail(token.ErrNotFound, "", nil, "%s: no credential is pending", profile)
	}
	return rec, err
}

// Secret reads one secret of a credential from the keystore. If a Put or Promote
// has replaced that credential, it reads the current one's.
func (c *Credentials) Secret(ctx context.Context, cred token.Credential, field string) (token.Secret, error) {
	for {
		if !slices.Contains(cred.Fields, field) {
			return token.Secret{}, &token.Error{Code: token.ErrNotFound, Topic: "secret-missing", Field: field, Message: cred.Profile + ": its credential has no " + field}
		}
		secret, err := c.keys.Get(ctx, cred.Account(field))
		if !errors.Is(err, token.ErrNotFound) {
			return secret, err
		}
		now, currentErr := c.Current(cred.Profile)
		switch {
		case currentErr != nil:
			return token.Secret{}, currentErr
		case now.ID == cred.ID:
			return token.Secret{}, err
		}
		cred = now
	}
}

// Delete removes profile's credential and what is left of former ones. It asks
// the keystore first: if that is locked or gone, nothing changes. You can call
// Delete again after a failure.
func (c *Credentials) Delete(ctx context.Context, profile string) error {
	if err := c.enter(ctx); err != nil {
		return err
	}
	defer c.leave()

	rec, err := c.read(profile)
	if errors.Is(err, token.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if old := rec.replaced(); len(old) > 0 {
		if err := c.reachable(ctx, rec.credential(profile)); err != nil {
			return err
		}
		rec = record{Leftovers: append(rec.Leftovers, old...)}
		if err := c.write(profile, rec); err != nil {
			return err
		}
	}
	if _, err := c.clear(ctx, profile, rec); err != nil {
		return err
	}
	return c.remove(profile)
}

// keep writes the secrets of cred and reads them back.
func (c *Credentials) keep(ctx context.Context, cred token.Credential, secrets map[string]token.Secret) error {
	for _, field := range cred.Fields {
		account := cred.Account(field)
		if err := c.keys.Set(ctx, account, secrets[field]); err != nil {
			return err
		}
		if err := sameSecret(ctx, c.keys, account, secrets[field]); err != nil {
			return err
		}
	}
	return nil
}

// clear deletes the secrets of rec's leftovers and forgets them.
func (c *Credentials) clear(ctx context.Context, profile string, rec record) (record, error) {
	if len(rec.Leftovers) == 0 {
		return rec, nil
	}
	for _, l := range rec.Leftovers {
		for _, field := range l.Fields {
			account := token.Credential{Profile: profile, ID: l.ID}.Account(field)
			if err := c.keys.Delete(ctx, account); err != nil {
				return rec, err
			}
		}
	}
	rec.Leftovers = nil
	if rec.ID == "" && rec.Pending == nil {
		return rec, c.remove(profile)
	}
	return rec, c.write(profile, rec)
}

// reachable checks that the keystore can be used now, by asking for a secret that
// was never there: a damaged secret must not prevent its own deletion.
func (c *Credentials) reachable(ctx context.Context, cred token.Credential) error {
	_, err := c.keys.Get(ctx, cred.Account("probe"))
	if errors.Is(err, token.ErrNotFound) {
		return nil
	}
	return err
}

func (c *Credentials) enter(ctx context.Context) error {
	select {
	case c.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *Credentials) leave() { <-c.turn }

func (c *Credentials) path(profile string) string {
	return filepath.Join(c.dir, fileName(profile)+recordSuffix)
}

func (c *Credentials) read(profile string) (record, error) {
	rec, err := readRecord(c.path(profile))
	if errors.Is(err, fs.ErrNotExist) {
		return record{}, noCredential(profile)
	}
	if err != nil {
		return record{}, credentialError(profile, err)
	}
	return rec, nil
}

func readRecord(path string) (rec record, err error) {
	if err := readTOML(path, maxRecord, &rec); err != nil {
		return record{}, err
	}
	if rec.Pending != nil && rec.Pending.ID == "" {
		return record{}, fmt.Errorf("%s: a pending credential has no id", path)
	}
	return rec, nil
}

func credentialError(of string, err error) error {
	return fail(token.ErrKeystore, "credential-record", err, "%s: record of its credential: %v", of, err)
}

// records reads the records of all profiles.
func (c *Credentials) records() (all []record, err error) {
	entries, err := os.ReadDir(c.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, credentialError(c.dir, err)
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), recordSuffix)
		if !ok || strings.HasPrefix(name, ".") {
			continue
		}
		rec, err := readRecord(filepath.Join(c.dir, e.Name()))
		if err == nil && rec.Profile == "" { // an older tokend wrote it
			rec.Profile, err = url.PathUnescape(name)
			if err != nil || fileName(rec.Profile) != name {
				err = errors.New("it does not name its profile: tokenctl rotate it")
			}
		}
		if err != nil {
			return nil, credentialError(e.Name(), err)
		}
		all = append(all, rec)
	}
	return all, nil
}

// accounts lists what is in the keystore for all profiles. It deletes former
// credentials first. Its caller has the turn.
func (c *Credentials) accounts(ctx context.Context) (accounts []string, err error) {
	records, err := c.records()
	if err != nil {
		return nil, err
	}
	for _, rec := range records {
		for _, s := range rec.replaced() {
			for _, field := range s.Fields {
				accounts = append(accounts, token.Credential{Profile: rec.Profile, ID: s.ID}.Account(field))
			}
		}
		if _, err := c.clear(ctx, rec.Profile, rec); err != nil {
			return nil, err
		}
	}
	return accounts, nil
}

func (c *Credentials) write(profile string, rec record) error {
	rec.Profile = profile
	err := ensureDir(c.dir)
	if err == nil {
		err = writeTOML(c.path(profile), rec)
	}
	if err != nil {
		return credentialError(profile, err)
	}
	return nil
}

func (c *Credentials) remove(profile string) error {
	if err := removeFile(c.path(profile)); err != nil {
		return credentialError(profile, err)
	}
	return nil
}

// checkCredential checks the names of a credential: with a "/" in them, two
// accounts could have the same name.
func checkCredential(profile string, secrets map[string]token.Secret) error {
	if profile == "" || strings.Contains(profile, "/") {
		return fail(token.ErrInvalid, "", nil, "%q cannot be the name of a profile", profile)
	}
	if len(secrets) == 0 {
		return fail(token.ErrInvalid, "", nil, "%s: a credential without secrets", profile)
	}
	for field, secret := range secrets {
		if field == "" || strings.Contains(field, "/") {
			return fail(token.ErrInvalid, "", nil, "%s: %q cannot be the name of a field", profile, field)
		}
		if err := checkEntry(profile+"/"+field, secret); err != nil {
			return err
		}
	}
	return nil
}

func noCredential(profile string) error {
	return fail(token.ErrNotFound, "secret-missing", nil, "%s: no credential is stored", profile)
}
