package store

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/pelletier/go-toml/v2"

	"tokend/providers/token"
	"tokend/store/internal/seal"
)

// A Vault is the keystore in force of an installation, for a process that goes
// on while its secrets move to another one (Migrate).
//
// The record (install.toml) is the one thing that decides which keystore is in
// force, and changes by one renaming. Beside that it names the accounts that
// may lie in a keystore that is not in force: before a migration copies the
// first secret, those in the target; from the switch on, those in the old one.
// So a crash at any moment leaves one whole keystore in force, and what else
// may lie about is known by name and deleted later (Tidy).
type Vault struct {
	stateDir string
	// step is called before each step of a migration, by its name. Tests end
	// the process there.
	step func(name string)

	mu       sync.Mutex
	install  KeystoreConfig
	keys     Keystore
	progress Progress
}

// Progress tells how far a migration is. The zero value: none is under way.
type Progress struct {
	// Doing is "copying", "verifying" or "deleting".
	Doing       string
	Done, Total int
}

// A Leftover is a keystore that is not in force, and the accounts that may
// still lie there.
type Leftover struct {
	Keystore string   `toml:"keystore"`
	Dir      string   `toml:"dir,omitempty"`
	Accounts []string `toml:"accounts"`
}

// OpenVault opens the keystore that the record under stateDir names.
func OpenVault(stateDir string, install KeystoreConfig) (*Vault, error) {
	keys, err := install.Open(stateDir)
	if err != nil {
		return nil, err
	}
	return &Vault{stateDir: stateDir, step: func(string) {}, install: install, keys: keys}, nil
}

// KeystoreConfig is the record in force.
func (v *Vault) KeystoreConfig() KeystoreConfig {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.install
}

// Progress tells of the migration under way.
func (v *Vault) Progress() Progress {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.progress
}

// Get reads from the keystore in force. A secret that moves away under the
// reading is read again, from where it moved.
func (v *Vault) Get(ctx context.Context, account string) (token.Secret, error) {
	for {
		keys := v.current()
		s, err := keys.Get(ctx, account)
		if err == nil || v.current() == keys {
			return s, err
		}
	}
}

// Set writes to the keystore in force.
func (v *Vault) Set(ctx context.Context, account string, s token.Secret) error {
	return v.current().Set(ctx, account, s)
}

// Delete deletes from the keystore in force.
func (v *Vault) Delete(ctx context.Context, account string) error {
	return v.current().Delete(ctx, account)
}

// State is that of the keystore in force.
func (v *Vault) State(ctx context.Context) error {
	if stater, ok := v.current().(interface{ State(context.Context) error }); ok {
		return stater.State(ctx)
	}
	return nil
}

// CacheKey is the key of the token cache.
func (v *Vault) CacheKey(ctx context.Context) (token.Secret, error) {
	return v.KeystoreConfig().CacheKey(ctx, v)
}

// Unlock asks the system to unlock the OS keyring, as Keyring.Unlock does. For
// another keystore it is token.ErrInvalid.
func (v *Vault) Unlock(ctx context.Context) error {
	keyring, ok := v.current().(*Keyring)
	if !ok {
		return fail(token.ErrInvalid, nil, "the keystore %q has no lock to open", v.KeystoreConfig().Keystore)
	}
	return keyring.Unlock(ctx)
}

func (v *Vault) current() Keystore {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.keys
}

// Migrate moves all secrets to the keystore that choice names: it copies them,
// reads each back as the next start of tokend would, puts the new keystore in
// force, and deletes the old copies. Of choice it reads Keystore, KeyFile,
// Credential and GroupRead. creds are the records of all credentials: changes of
// them wait meanwhile, reading goes on. It returns how many secrets moved.
//
// Until the switch, an error leaves everything as it was. Afterwards there is
// none: old copies that cannot be deleted now (KeystoreConfig().Leftover) are deleted
// by Tidy. To move to where the secrets are already is token.ErrExists.
func (v *Vault) Migrate(ctx context.Context, creds *Credentials, choice KeystoreConfig) (moved int, err error) {
	if err := choice.Check(v.stateDir); err != nil {
		return 0, err
	}
	if err := creds.enter(ctx); err != nil {
		return 0, err
	}
	defer creds.leave()
	defer v.note(Progress{})
	if err := v.tidy(ctx); err != nil {
		return 0, err
	}
	old := v.KeystoreConfig()
	if old.refuseOther(choice) == nil {
		return 0, fail(token.ErrExists, nil, "the secrets are in the keystore %s already", old.Describe())
	}
	next, err := old.successor(choice, v.stateDir)
	if err != nil {
		return 0, err
	}
	if next.KeyID != "" && next.KeyID == old.KeyID {
		return 0, v.rename(next) // the same key, elsewhere
	}
	accounts, err := v.accounts(ctx, creds)
	if err != nil {
		return 0, err
	}
	if err := v.fill(ctx, next, accounts); err != nil {
		// What was copied is not in force. If it cannot be deleted now, the
		// record tells the next one who tries.
		_ = v.tidy(context.WithoutCancel(ctx))
		return 0, err
	}
	_ = v.tidy(ctx)
	return len(accounts), nil
}

// rename puts a record in force under which the same sealed secrets open.
func (v *Vault) rename(next KeystoreConfig) error {
	keys, err := next.Open(v.stateDir)
	if err != nil {
		return err
	}
	return v.record("switch", next, keys)
}

// fill copies the accounts into the keystore of next, verifies them, and puts
// it in force.
func (v *Vault) fill(ctx context.Context, next KeystoreConfig, accounts []string) error {
	old := v.KeystoreConfig()
	target, err := next.Open(v.stateDir)
	if err != nil {
		return err
	}
	if s, ok := target.(interface{ State(context.Context) error }); ok {
		if err := s.State(ctx); err != nil {
			return err // before anything would have to be deleted there
		}
	}
	during := old
	during.Leftover = &Leftover{next.Keystore, next.Dir, append([]string{next.probeAccount()}, accounts...)}
	if err := v.record("announce", during, v.current()); err != nil {
		return err
	}
	v.step("prove")
	if err := prove(ctx, target, next.probeAccount()); err != nil {
		return err
	}
	var there []string
	for n, account := range accounts {
		v.note(Progress{"copying", n, len(accounts)})
		secret, err := v.current().Get(ctx, account)
		if errors.Is(err, token.ErrNotFound) {
			continue // somebody deleted it; its profile knows
		}
		v.step("copy")
		if err == nil {
			err = target.Set(ctx, account, secret)
		}
		if err != nil {
			return err
		}
		there = append(there, account)
	}
	if target, err = next.Open(v.stateDir); err != nil {
		return err
	}
	for n, account := range there {
		v.note(Progress{"verifying", n, len(there)})
		v.step("verify")
		if err := sameSecret(ctx, account, v.current(), target); err != nil {
			return err
		}
	}
	next.Leftover = &Leftover{old.Keystore, old.Dir, accounts}
	return v.record("switch", next, target)
}

// sameSecret tells whether two keystores hold the same under account.
func sameSecret(ctx context.Context, account string, a, b Keystore) error {
	want, err := a.Get(ctx, account)
	if err != nil {
		return err
	}
	got, err := b.Get(ctx, account)
	if err != nil {
		return err
	}
	if !got.Equal(want) {
		return about("keystore-unfaithful", fail(token.ErrKeystore, nil, "%s: the new keystore does not give back what was put in", account))
	}
	return nil
}

// record writes an install record down and puts it in force.
func (v *Vault) record(step string, install KeystoreConfig, keys Keystore) error {
	v.step(step)
	if err := install.record(v.stateDir); err != nil && !install.isRecorded(v.stateDir) {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.install, v.keys = install, keys
	return nil
}

// isRecorded tells whether this is the record on disk: a writing can fail after
// its renaming, and the next start goes by what it finds.
func (i KeystoreConfig) isRecorded(stateDir string) bool {
	want, err := toml.Marshal(i)
	there, _, readErr := readRegular(installPath(stateDir), maxInstall)
	return err == nil && readErr == nil && bytes.Equal(there, want)
}

// Tidy deletes what an earlier migration left behind in a keystore that is not
// in force. Nothing there is no error.
func (v *Vault) Tidy(ctx context.Context, creds *Credentials) error {
	if v.KeystoreConfig().Leftover == nil {
		return nil
	}
	if err := creds.enter(ctx); err != nil {
		return err
	}
	defer creds.leave()
	defer v.note(Progress{})
	return v.tidy(ctx)
}

func (v *Vault) tidy(ctx context.Context) error {
	install := v.KeystoreConfig()
	left := install.Leftover
	if left == nil {
		return nil
	}
	// Whatever became of an earlier writing, what is deleted from here on is not
	// in force on the disk either.
	if err := install.record(v.stateDir); err != nil {
		return err
	}
	for n, account := range left.Accounts {
		v.note(Progress{"deleting", n, len(left.Accounts)})
		v.step("delete")
		if err := left.delete(ctx, v.stateDir, account); err != nil {
			return err
		}
	}
	if left.Keystore == KeystoreSealed {
		dir := left.path(v.stateDir)
		names, _ := namesIn(dir)
		sweep(dir, names)
		os.Remove(dir) // if nothing else is in it
	}
	install.Leftover = nil
	return v.record("forget", install, v.current())
}

// delete needs no key: a sealed secret is a file.
func (l *Leftover) delete(ctx context.Context, stateDir, account string) error {
	if l.Keystore == KeystoreOS {
		return NewKeyring(KeyringService).Delete(ctx, account)
	}
	return (&Sealed{dir: l.path(stateDir)}).Delete(ctx, account)
}

func (l *Leftover) path(stateDir string) string {
	return KeystoreConfig{Dir: l.Dir}.sealedDir(stateDir)
}

// accounts are those of all credentials, current and pending, and the cache's
// key. What former credentials left behind is deleted first.
func (v *Vault) accounts(ctx context.Context, creds *Credentials) ([]string, error) {
	if _, err := v.CacheKey(ctx); err != nil {
		return nil, err
	}
	accounts, err := creds.accounts(ctx)
	return append(accounts, v.KeystoreConfig().cacheKeyAccount()), err
}

func (v *Vault) note(p Progress) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.progress = p
}

// successor is the record of a choice that takes the place of i.
func (i KeystoreConfig) successor(choice KeystoreConfig, stateDir string) (KeystoreConfig, error) {
	next := KeystoreConfig{
		ID: i.ID, Keystore: choice.Keystore, KeyFile: choice.KeyFile, Credential: choice.Credential,
		GroupRead: choice.GroupRead, Created: time.Now().UTC().Truncate(time.Second),
	}
	if next.Keystore != KeystoreSealed {
		return next, nil
	}
	if i.Keystore == KeystoreSealed && i.Dir == "" {
		next.Dir = otherSealedDir
	}
	kek, err := next.kek()
	if err != nil {
		return next, err
	}
	if next.KeyID, err = seal.KeyID(kek); err != nil {
		return next, err
	}
	if next.KeyID == i.KeyID {
		next.Dir = i.Dir
		return next, nil
	}
	old, err := sealedFiles(next.sealedDir(stateDir))
	if err != nil {
		return next, about("sealed-files", fail(token.ErrKeystore, err, "sealed secrets: %v", err))
	}
	if len(old) > 0 {
		return next, about("sealed-files", fail(token.ErrKeystore, nil, "%s holds sealed secrets that are not in force, and that no migration left there: move them away", next.sealedDir(stateDir)))
	}
	return next, nil
}

// otherSealedDir is where sealed secrets go that change their key: the two
// directories take turns.
const otherSealedDir = "sealed-2"

func (i KeystoreConfig) sealedDir(stateDir string) string {
	if i.Dir == "" {
		return filepath.Join(stateDir, "sealed")
	}
	return filepath.Join(stateDir, i.Dir)
}
