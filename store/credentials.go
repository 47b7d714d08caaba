package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"

	"tokend/providers/token"
)

// Credentials says which credential of a profile is current, and gives its
// secrets. The secrets lie in a keystore, under "<profile>/<field>/<id>"; a
// small file for each profile names the id in force. Secrets are read from the
// keystore each time: nothing is remembered here.
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

const recordSuffix = ".toml"

// A record is a profile's file. Its three states follow each other:
//
//	current old                    before a Put
//	current old, leftover new      while the new secrets are written
//	current new, leftover old      while the old secrets are deleted
//
// and each change of it is one renaming. So at any moment the current one is
// whole, and whatever else may lie in the keystore is known by name. A pending
// credential is whole too, and waits to become the current one.
type record struct {
	// Profile is whose record it is: not every name can be a file's.
	Profile string `toml:"profile"`
	stored
	Pending   *stored    `toml:"pending,omitempty"`
	Leftovers []leftover `toml:"leftover,omitempty"`
}

// stored is what is written down of a credential.
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

// A leftover is a credential that is not in force and whose secrets may lie
// in the keystore.
type leftover struct {
	ID     string   `toml:"id"`
	Fields []string `toml:"fields"`
}

// replaced lists what a record holds beside keep, to be deleted.
func (r record) replaced(keep ...*stored) (old []leftover) {
	for _, s := range []*stored{&r.stored, r.Pending} {
		if s != nil && s.ID != "" && !slices.ContainsFunc(keep, func(k *stored) bool { return k.ID == s.ID }) {
			old = append(old, leftover{s.ID, s.Fields})
		}
	}
	return old
}

// Put makes secrets the credential of profile. Of about it takes Expires and
// Settings, and fills in the rest. It reads each secret back before it counts.
// Until Put returns, the former credential is in force, and stays so if it
// fails. A pending credential is given up.
func (c *Credentials) Put(ctx context.Context, profile string, secrets map[string]token.Secret, about token.Credential) (token.Credential, error) {
	return c.put(ctx, profile, secrets, about, func(rec record, s stored) record {
		return record{stored: s, Leftovers: rec.replaced(&s)}
	})
}

// PutPending keeps secrets like Put, but the current credential stays in force
// until Promote. Another pending one is given up.
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

// Promote puts the pending credential in force. token.ErrNotFound: none is
// pending.
func (c *Credentials) Promote(ctx context.Context, profile string) (token.Credential, error) {
	var promoted stored
	err := c.settle(ctx, profile, func(rec record) record {
		promoted = *rec.Pending
		return record{stored: promoted, Leftovers: append(rec.Leftovers, rec.replaced(&promoted)...)}
	})
	return promoted.credential(profile), err
}

// Abandon gives the pending credential up. token.ErrNotFound: none is pending.
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
	rec, err := c.read(profile)
	if err != nil {
		return err
	}
	if rec.Pending == nil {
		return fail(token.ErrNotFound, nil, "%s: no credential is pending", profile)
	}
	after := follow(rec)
	if err := c.write(profile, after); err != nil {
		return err
	}
	_, _ = c.clear(ctx, profile, after)
	return nil
}

// Current gives the credential of profile without asking the keystore;
// token.ErrNotFound if there is none.
func (c *Credentials) Current(profile string) (token.Credential, error) {
	rec, err := c.read(profile)
	if err != nil {
		return token.Credential{}, err
	}
	if rec.ID == "" {
		return token.Credential{}, noCredential(profile)
	}
	return rec.credential(profile), nil
}

// Kept gives both, the current and the pending one, and the zero Credential for
// one that there is not. It reads once.
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

// Pending gives the credential that waits for Promote, likewise.
func (c *Credentials) Pending(profile string) (token.Credential, error) {
	rec, err := c.read(profile)
	if err != nil {
		return token.Credential{}, err
	}
	if rec.Pending == nil {
		return token.Credential{}, fail(token.ErrNotFound, nil, "%s: no credential is pending", profile)
	}
	return rec.Pending.credential(profile), nil
}

// Secret reads one secret of a credential from the keystore. If a Put or
// Promote has taken that credential away in the meantime, it is the current
// one's.
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

// Delete removes profile's credential and all that is left of former ones.
// It asks the keystore first: if that is locked or gone, nothing changes. What
// is not there is no error, so Delete can be called again after a failure.
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
		back, err := c.keys.Get(ctx, account)
		if err != nil {
			return err
		}
		if !back.Equal(secrets[field]) {
			return about("keystore-unfaithful", fail(token.ErrKeystore, nil, "%s: the keystore does not give back what was put in", account))
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

// reachable tells whether the keystore can be used now: one that can says that
// it does not have what was never there. The secrets themselves are not asked
// for, since a damaged one must not be in the way of its own deletion.
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
		return record{}, about("credential-record", fail(token.ErrKeystore, err, "%s: record of its credential: %v", profile, err))
	}
	return rec, nil
}

func readRecord(path string) (record, error) {
	b, _, err := readRegular(path, 64<<10)
	if err != nil {
		return record{}, err
	}
	var rec record
	if err := toml.NewDecoder(bytes.NewReader(b)).DisallowUnknownFields().Decode(&rec); err != nil {
		return record{}, fmt.Errorf("%s: %s", path, recordFault(err))
	}
	if rec.Pending != nil && rec.Pending.ID == "" {
		return record{}, fmt.Errorf("%s: a pending credential has no id", path)
	}
	return rec, nil
}

// accounts lists what lies in the keystore for all profiles. What is no longer
// in force is deleted first. Its caller has the turn.
func (c *Credentials) accounts(ctx context.Context) ([]string, error) {
	entries, err := os.ReadDir(c.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, about("credential-record", fail(token.ErrKeystore, err, "records of credentials: %v", err))
	}
	var accounts []string
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), recordSuffix) || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		rec, err := readRecord(filepath.Join(c.dir, e.Name()))
		if err != nil {
			return nil, about("credential-record", fail(token.ErrKeystore, err, "record of a credential: %v", err))
		}
		if rec.Profile == "" { // an older tokend's
			return nil, about("credential-record", fail(token.ErrKeystore, nil, "record of a credential: %s does not say of which profile: tokenctl rotate it", e.Name()))
		}
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
	b, err := toml.Marshal(rec)
	if err == nil {
		err = ensureDir(c.dir)
	}
	if err == nil {
		err = replaceFile(c.path(profile), b)
	}
	if err != nil {
		return about("credential-record", fail(token.ErrKeystore, err, "%s: record of its credential: %v", profile, err))
	}
	return nil
}

func (c *Credentials) remove(profile string) error {
	err := os.Remove(c.path(profile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = syncDir(c.dir)
	}
	if err != nil {
		return about("credential-record", fail(token.ErrKeystore, err, "%s: record of its credential: %v", profile, err))
	}
	return nil
}

// checkCredential tells whether a credential can be kept under these names: a
// "/" would make two accounts of the same name possible.
func checkCredential(profile string, secrets map[string]token.Secret) error {
	if profile == "" || strings.Contains(profile, "/") {
		return fail(token.ErrInvalid, nil, "%q is no name of a profile", profile)
	}
	if len(secrets) == 0 {
		return fail(token.ErrInvalid, nil, "%s: a credential without secrets", profile)
	}
	for field, secret := range secrets {
		if field == "" || strings.Contains(field, "/") {
			return fail(token.ErrInvalid, nil, "%s: %q is no name of a field", profile, field)
		}
		if err := checkEntry(profile+"/"+field, secret); err != nil {
			return err
		}
	}
	return nil
}

func noCredential(profile string) error {
	return about("secret-missing", fail(token.ErrNotFound, nil, "%s: no credential is stored", profile))
}
