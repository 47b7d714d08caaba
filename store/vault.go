package store

import (
	"context"
	"errors"
	"os"
	"sync/atomic"

	"tokend/providers/token"
)

// A Vault is the current keystore of an installation, for a process that goes on
// while its secrets move to another keystore (Migrate).
//
// The record (install.toml) alone decides which keystore is current, and changes
// by one renaming. It also names the accounts that may be in another keystore:
// before a migration copies the first secret, those in the target; from the
// switch on, those in the old one. So a crash at any moment leaves one whole
// keystore current, and Tidy later deletes what else there may be.
type Vault struct {
	stateDir string
	// step is called before each step of a migration, by its name. Tests end
	// the process there.
	step func(name string)

	active   atomic.Pointer[active]
	progress atomic.Pointer[token.KeystoreMove]
}

// active is the current keystore and its record.
type active struct {
	config KeystoreConfig
	keys   Keystore
}

// A Leftover is a keystore that is not current, and the accounts that may still
// be in it.
type Leftover struct {
	Keystore string   `toml:"keystore"`
	Dir      string   `toml:"dir,omitempty"`
	Accounts []string `toml:"accounts"`
}

// OpenVault opens the keystore that the record under stateDir names.
func OpenVault(stateDir string, config KeystoreConfig) (*Vault, error) {
	keys, err := config.Open(stateDir)
	if err != nil {
		return nil, err
	}
	v := &Vault{stateDir: stateDir, step: func(string) {}}
	v.active.Store(&active{config, keys})
	return v, nil
}

// KeystoreConfig returns the current record.
func (v *Vault) KeystoreConfig() KeystoreConfig { return v.active.Load().config }

// Progress returns how far the migration under way is, nil if there is none.
func (v *Vault) Progress() *token.KeystoreMove { return v.progress.Load() }

func (v *Vault) current() Keystore { return v.active.Load().keys }

// Get reads from the current keystore. If a secret moves away meanwhile, Get reads
// it from where it moved.
func (v *Vault) Get(ctx context.Context, account string) (token.Secret, error) {
	for {
		keys := v.current()
		s, err := keys.Get(ctx, account)
		if err == nil || v.current() == keys {
			return s, err
		}
	}
}

// Set writes to the current keystore.
func (v *Vault) Set(ctx context.Context, account string, s token.Secret) error {
	return v.current().Set(ctx, account, s)
}

// Delete deletes from the current keystore.
func (v *Vault) Delete(ctx context.Context, account string) error {
	return v.current().Delete(ctx, account)
}

// State returns the state of the current keystore.
func (v *Vault) State(ctx context.Context) error { return v.current().State(ctx) }

// CacheKey returns the key of the token cache, or makes a new one.
func (v *Vault) CacheKey(ctx context.Context, renew bool) (token.Secret, error) {
	return v.KeystoreConfig().CacheKey(ctx, v, renew)
}

// Unlock asks the system to unlock the OS keyring, as Keyring.Unlock does. Another
// keystore returns token.ErrInvalid.
func (v *Vault) Unlock(ctx context.Context) error {
	keyring, ok := v.current().(*Keyring)
	if !ok {
		return fail(token.ErrInvalid, "", nil, "the keystore %q has no lock to open", v.KeystoreConfig().Keystore)
	}
	return keyring.Unlock(ctx)
}

// Migrate moves all secrets to the keystore that choice names: it copies each and
// reads it back, makes the new keystore the current one, and deletes the old
// copies. creds are the records of all credentials: they can be read but not
// changed meanwhile. Migrate returns how many secrets it moved.
//
// Until the switch, an error leaves everything as it was. After it there is no
// error: Tidy deletes old copies (KeystoreConfig().Leftover) that cannot be
// deleted now. If the secrets are there already, Migrate returns token.ErrExists.
func (v *Vault) Migrate(ctx context.Context, creds *Credentials, choice Choice) (moved int, err error) {
	if err := choice.Check(v.stateDir); err != nil {
		return 0, err
	}
	creds.mu.Lock()
	defer creds.mu.Unlock()
	defer v.progress.Store(nil)
	if err := v.tidy(ctx); err != nil {
		return 0, err
	}
	old := v.KeystoreConfig()
	if old.Choice == choice {
		return 0, fail(token.ErrExists, "", nil, "the secrets are in the keystore %s already", old.Describe())
	}
	next, err := old.successor(choice, v.stateDir)
	if err != nil {
		return 0, err
	}
	if _, err := v.CacheKey(ctx, false); err != nil { // or it makes one
		return 0, err
	}
	accounts, err := creds.accounts(ctx)
	if err != nil {
		return 0, err
	}
	accounts = append(accounts, old.cacheKeyAccount())
	if err := v.fill(ctx, next, accounts); err != nil {
		// If the copies cannot be deleted now, the record names them.
		_ = v.tidy(context.WithoutCancel(ctx))
		return 0, err
	}
	_ = v.tidy(ctx)
	return len(accounts), nil
}

// fill copies the accounts into the keystore of next, and makes it the current
// one.
func (v *Vault) fill(ctx context.Context, next KeystoreConfig, accounts []string) error {
	old := v.KeystoreConfig()
	target, err := next.Open(v.stateDir)
	if err == nil {
		err = target.State(ctx) // before anything would have to be deleted there
	}
	if err != nil {
		return err
	}
	during := old
	during.Leftover = &Leftover{next.Keystore, next.Dir, accounts}
	if err := v.record("announce", during, v.current()); err != nil {
		return err
	}
	for n, account := range accounts {
		v.progress.Store(&token.KeystoreMove{Doing: "copying", Done: n, Total: len(accounts)})
		secret, err := v.current().Get(ctx, account)
		if errors.Is(err, token.ErrNotFound) {
			continue // deleted by another program; its profile reports it
		}
		v.step("copy")
		if err == nil {
			err = target.Set(ctx, account, secret)
		}
		v.step("verify")
		if err == nil {
			err = checkSame(ctx, target, account, secret)
		}
		if err != nil {
			return err
		}
	}
	next.Leftover = &Leftover{old.Keystore, old.Dir, accounts}
	return v.record("switch", next, target)
}

// record writes a record to the disk and makes it the current one.
func (v *Vault) record(step string, config KeystoreConfig, keys Keystore) error {
	v.step(step)
	if err := config.record(v.stateDir); err != nil {
		return err
	}
	v.active.Store(&active{config, keys})
	return nil
}

// Tidy deletes what an earlier migration left behind in a keystore that is not
// current.
func (v *Vault) Tidy(ctx context.Context, creds *Credentials) error {
	creds.mu.Lock()
	defer creds.mu.Unlock()
	defer v.progress.Store(nil)
	return v.tidy(ctx)
}

func (v *Vault) tidy(ctx context.Context) error {
	config := v.KeystoreConfig()
	left := config.Leftover
	if left == nil {
		return nil
	}
	// An earlier write may have failed: make sure that the disk, too, names as
	// current what is not deleted here.
	if err := config.record(v.stateDir); err != nil {
		return err
	}
	dir := KeystoreConfig{Dir: left.Dir}.sealedDir(v.stateDir)
	var keys Keystore = &Sealed{dir: dir} // which needs no key to delete files
	if left.Keystore == KeystoreOS {
		keys = NewKeyring(KeyringService)
	}
	for n, account := range left.Accounts {
		v.progress.Store(&token.KeystoreMove{Doing: "deleting", Done: n, Total: len(left.Accounts)})
		v.step("delete")
		if err := keys.Delete(ctx, account); err != nil {
			return err
		}
	}
	if left.Keystore == KeystoreSealed {
		removeUnfinished(dir)
		os.Remove(dir) // if nothing else is in it
	}
	config.Leftover = nil
	return v.record("forget", config, v.current())
}

// successor returns the record of a choice that takes the place of i.
func (i KeystoreConfig) successor(choice Choice, stateDir string) (KeystoreConfig, error) {
	kek, err := choice.kek()
	next := newConfig(i.ID, choice, kek)
	if err != nil || next.Keystore != KeystoreSealed {
		return next, err
	}
	if i.Keystore == KeystoreSealed && i.Dir == "" {
		next.Dir = otherSealedDir
	}
	return next, refuseOrphans(next.sealedDir(stateDir))
}
