package store

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pelletier/go-toml/v2"

	"tokend/providers/token"
)

// Credentials records which credential of a profile is current, and returns its
// secrets. The secrets are in a keystore, under "<profile>/<field>/<id>"; a small
// file for each profile names the current id. Each call reads the secrets from
// the keystore again.
//
// The id ends in a digest of what the record says. The keystore returns a secret
// under its own account alone, which holds the id: for a record that someone
// altered, to have the secret sent elsewhere, it has none.
type Credentials struct {
	dir  string
	keys Keystore
	mu   sync.Mutex // one writer at a time
}

// NewCredentials keeps the records under dir, which the first Put makes, and
// the secrets in keys.
func NewCredentials(dir string, keys Keystore) *Credentials {
	return &Credentials{dir: dir, keys: keys}
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
	Pending *stored `toml:"pending,omitempty"`
	// Leftovers are neither current nor pending. Only their ID and Fields are
	// recorded.
	Leftovers []stored `toml:"leftover,omitempty"`
}

// stored is what a record says of a credential.
type stored struct {
	ID       string         `toml:"id,omitempty"`
	Fields   []string       `toml:"fields,omitempty"`
	Stored   time.Time      `toml:"stored,omitempty"`
	Expires  time.Time      `toml:"expires,omitempty"`
	Settings map[string]any `toml:"settings,omitempty"`
}

// credential returns the zero Credential if s is nil or has no ID.
func (s *stored) credential(profile string) token.Credential {
	if s == nil || s.ID == "" {
		return token.Credential{}
	}
	return token.Credential{Profile: profile, ID: s.ID, Fields: s.Fields, Stored: s.Stored, Expires: s.Expires, Settings: s.Settings}
}

func (s *stored) accounts(profile string) (accounts []string) {
	for _, field := range s.Fields {
		accounts = append(accounts, token.Credential{Profile: profile, ID: s.ID}.Account(field))
	}
	return accounts
}

// kept returns the current and the pending credential, as far as they exist.
func (r *record) kept() (kept []*stored) {
	if r.ID != "" {
		kept = append(kept, &r.stored)
	}
	if r.Pending != nil && r.Pending.ID != "" {
		kept = append(kept, r.Pending)
	}
	return kept
}

// without returns what r names and other does not keep, as leftovers.
func (r *record) without(other record) (left []stored) {
	all := slices.Clone(r.Leftovers)
	for _, s := range r.kept() {
		all = append(all, stored{ID: s.ID, Fields: s.Fields})
	}
	return slices.DeleteFunc(all, func(s stored) bool {
		return slices.ContainsFunc(other.kept(), func(k *stored) bool { return k.ID == s.ID })
	})
}

// bound returns s as it will be read, with its digest in its ID.
func bound(s stored) (stored, error) {
	var read stored
	b, err := toml.Marshal(s)
	if err == nil {
		err = toml.Unmarshal(b, &read)
	}
	read.ID += "-" + read.digest()
	return read, err
}

func (s *stored) isBound() bool { return strings.HasSuffix(s.ID, "-"+s.digest()) }

// isOld reports whether s has the ID of an older tokend, without a digest.
func (s *stored) isOld() bool { return strings.Count(s.ID, "-") == 1 }

// digest returns 128 bits that stand for what s says besides its ID.
func (s *stored) digest() string {
	b, _ := json.Marshal([]any{s.Fields, s.Stored.Unix(), s.Expires.Unix(), s.Settings}) // it came from TOML
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}

// Put makes secrets the credential of profile, with the Expires and Settings of
// about. It reads each secret back first. The former credential stays current
// until Put returns, and if it fails. Put gives up a pending credential.
func (c *Credentials) Put(ctx context.Context, profile string, secrets map[string]token.Secret, about token.Credential) (token.Credential, error) {
	return c.put(ctx, profile, secrets, about, func(_ record, s stored) record { return record{stored: s} })
}

// PutPending keeps secrets like Put, but the current credential stays current
// until Promote. It gives up another pending one.
func (c *Credentials) PutPending(ctx context.Context, profile string, secrets map[string]token.Secret, about token.Credential) (token.Credential, error) {
	return c.put(ctx, profile, secrets, about, func(rec record, s stored) record { return record{stored: rec.stored, Pending: &s} })
}

// put keeps secrets under new accounts, in the record that place makes of the one
// before.
func (c *Credentials) put(ctx context.Context, profile string, secrets map[string]token.Secret, about token.Credential, place func(record, stored) record) (token.Credential, error) {
	now := time.Now().UTC()
	s, err := bound(stored{
		ID:       now.Format("20060102-") + randomHex(4),
		Fields:   slices.Sorted(maps.Keys(secrets)),
		Stored:   now.Truncate(time.Second),
		Expires:  about.Expires.UTC().Truncate(time.Second),
		Settings: about.Settings,
	})
	if err != nil {
		return token.Credential{}, credentialError(profile, err)
	}
	cred := s.credential(profile)
	accounts := map[string]token.Secret{}
	for field, secret := range secrets {
		accounts[cred.Account(field)] = secret
	}
	_, err = c.change(ctx, profile, func(rec record) (record, map[string]token.Secret, error) {
		return place(rec, s), accounts, nil
	})
	return cred, err
}

// Promote makes the pending credential the current one. token.ErrNotFound means
// that none is pending.
func (c *Credentials) Promote(ctx context.Context, profile string) error {
	return c.settle(ctx, profile, func(rec record) record { return record{stored: *rec.Pending} })
}

// Abandon gives up the pending credential. token.ErrNotFound means that none is
// pending.
func (c *Credentials) Abandon(ctx context.Context, profile string) error {
	return c.settle(ctx, profile, func(rec record) record { return record{stored: rec.stored} })
}

// settle writes the record that follows from one with a pending credential.
func (c *Credentials) settle(ctx context.Context, profile string, follow func(record) record) error {
	_, err := c.change(ctx, profile, func(rec record) (record, map[string]token.Secret, error) {
		if rec.Pending == nil {
			return rec, nil, fail(token.ErrNotFound, "", nil, "%s: no credential is pending", profile)
		}
		return follow(rec), nil, nil
	})
	return err
}

// Delete removes profile's credential and what is left of former ones. It asks
// the keystore first: if that is locked or gone, nothing changes. You can call
// Delete again after a failure.
func (c *Credentials) Delete(ctx context.Context, profile string) error {
	left, err := c.change(ctx, profile, func(rec record) (next record, _ map[string]token.Secret, err error) {
		if len(rec.kept()) > 0 {
			err = c.keys.State(ctx)
		}
		return next, nil, err
	})
	return cmp.Or(err, left)
}

// Copy keeps the credentials of one profile for another, which must have none, and
// reads each secret back.
func (c *Credentials) Copy(ctx context.Context, from, to string) error {
	if _, _, err := c.Kept(from); err != nil {
		return err
	}
	_, err := c.change(ctx, to, func(record) (next record, secrets map[string]token.Secret, err error) {
		rec, err := c.read(from)
		if err == nil {
			next = record{Profile: to, stored: rec.stored, Pending: rec.Pending}
			secrets, err = c.secrets(ctx, rec, next)
		}
		return next, secrets, err
	})
	return err
}

// change makes what follow returns the record of profile. First it writes the secrets
// that follow returns, by account, and reads each back. Then it deletes what only the
// record before names; that can also be done later, and left says why it was not.
func (c *Credentials) change(ctx context.Context, profile string, follow func(record) (next record, secrets map[string]token.Secret, err error)) (left, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	rec, err := c.read(profile)
	if err != nil {
		return nil, err
	}
	next, secrets, err := follow(rec)
	if err != nil {
		return nil, err
	}
	next.Profile, next.Leftovers = profile, rec.without(next)
	if len(secrets) > 0 {
		rec.Leftovers = next.without(rec)
		if err := c.keep(ctx, rec, secrets); err != nil {
			return nil, err
		}
	}
	if err := c.write(next); err != nil {
		return nil, err
	}
	return c.clear(ctx, next), nil
}

// keep writes secrets, by account, into the keystore. They are leftovers of rec.
func (c *Credentials) keep(ctx context.Context, rec record, secrets map[string]token.Secret) error {
	if err := c.write(rec); err != nil {
		return err
	}
	for account, secret := range secrets {
		err := c.keys.Set(ctx, account, secret)
		if err == nil {
			err = checkSame(ctx, c.keys, account, secret)
		}
		if err != nil {
			// What cannot be undone now is undone by the next change.
			_ = c.clear(context.WithoutCancel(ctx), rec)
			return err
		}
	}
	return nil
}

// secrets reads the secrets of rec's credentials, for the accounts of next's.
func (c *Credentials) secrets(ctx context.Context, rec, next record) (map[string]token.Secret, error) {
	secrets := map[string]token.Secret{}
	for i, s := range rec.kept() {
		to := next.kept()[i].credential(next.Profile)
		for _, field := range s.Fields {
			secret, err := c.keys.Get(ctx, s.credential(rec.Profile).Account(field))
			if err != nil {
				return nil, err
			}
			secrets[to.Account(field)] = secret
		}
	}
	return secrets, nil
}

// Kept returns the current and the pending credential, each the zero Credential
// if there is none. It does not ask the keystore. It refuses a record that was
// altered.
func (c *Credentials) Kept(profile string) (current, pending token.Credential, err error) {
	rec, err := c.read(profile)
	for _, s := range rec.kept() {
		if !s.isBound() && (!s.isOld() || c.allBound()) {
			return token.Credential{}, token.Credential{}, fail(token.ErrKeystore, "credential-altered", nil,
				"%s: its credential is not used, because another program altered its record %s: enter the secret again with tokenctl rotate %s", profile, c.path(profile), profile)
		}
	}
	return rec.stored.credential(profile), rec.Pending.credential(profile), err
}

// Current returns the current credential; token.ErrNotFound if there is none.
func (c *Credentials) Current(profile string) (token.Credential, error) {
	current, _, err := c.Kept(profile)
	if err == nil && current.ID == "" {
		err = fail(token.ErrNotFound, "secret-missing", nil, "%s: no credential is stored", profile)
	}
	return current, err
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
		if currentErr != nil || now.ID == cred.ID {
			return token.Secret{}, cmp.Or(currentErr, err)
		}
		cred = now
	}
}

// Others returns the profiles that have a credential and are not among these.
func (c *Credentials) Others(profiles []string) (others []string) {
	known := map[string]bool{}
	for _, name := range profiles {
		known[fileName(name)+recordSuffix] = true
	}
	all, _ := c.records(known) // doctor shows what cannot be read
	for _, rec := range all {
		if len(rec.kept()) > 0 {
			others = append(others, rec.Profile)
		}
	}
	return others
}

// clear deletes the secrets of rec's leftovers and forgets them.
func (c *Credentials) clear(ctx context.Context, rec record) error {
	if len(rec.Leftovers) == 0 {
		return nil
	}
	for _, l := range rec.Leftovers {
		for _, account := range l.accounts(rec.Profile) {
			if err := c.keys.Delete(ctx, account); err != nil {
				return err
			}
		}
	}
	rec.Leftovers = nil
	return c.write(rec)
}

func (c *Credentials) path(profile string) string {
	return filepath.Join(c.dir, fileName(profile)+recordSuffix)
}

// read returns the record of profile, an empty one if there is no file.
func (c *Credentials) read(profile string) (record, error) {
	var rec record
	if err := readTOML(c.path(profile), maxRecord, &rec); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return record{}, credentialError(profile, err)
	}
	rec.Profile = profile
	return rec, nil
}

func credentialError(of string, err error) error {
	return broken("credential-record", of+": record of its credential", err)
}

// records reads the records of all profiles but those whose files are named, those
// that can be read also if there is an error.
func (c *Credentials) records(but map[string]bool) (all []record, err error) {
	entries, err := os.ReadDir(c.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, credentialError(c.dir, err)
	}
	err = nil
	for _, e := range entries {
		if filepath.Ext(e.Name()) != recordSuffix || strings.HasPrefix(e.Name(), ".") || but[e.Name()] {
			continue
		}
		var rec record
		readErr := readTOML(filepath.Join(c.dir, e.Name()), maxRecord, &rec)
		if readErr == nil && fileName(rec.Profile)+recordSuffix != e.Name() {
			readErr = errors.New("it does not name its profile: tokenctl rotate it")
		}
		if readErr != nil {
			err = errors.Join(err, credentialError(e.Name(), readErr))
			continue
		}
		all = append(all, rec)
	}
	return all, err
}

// accounts lists what is in the keystore for all profiles. It deletes former
// credentials first. Its caller holds mu.
func (c *Credentials) accounts(ctx context.Context) (accounts []string, err error) {
	records, err := c.records(nil)
	if err != nil {
		return nil, err
	}
	for _, rec := range records {
		if err := c.clear(ctx, rec); err != nil {
			return nil, err
		}
		for _, s := range rec.kept() {
			accounts = append(accounts, s.accounts(rec.Profile)...)
		}
	}
	return accounts, nil
}

// write writes rec, or removes the file of one that says nothing.
func (c *Credentials) write(rec record) (err error) {
	if len(rec.kept())+len(rec.Leftovers) == 0 {
		err = removeFile(c.path(rec.Profile))
	} else if err = ensureDir(c.dir); err == nil {
		err = writeTOML(c.path(rec.Profile), rec)
	}
	return credentialError(rec.Profile, err)
}
