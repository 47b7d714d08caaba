package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"tokend/daemon/profile"
	"tokend/providers/token"
	"tokend/store"
)

// A vault adds to the store's what the daemon asks for.
type vault struct {
	*store.Vault
	creds *store.Credentials
	dirs  profile.Dirs
	log   *slog.Logger
	// A migration holds moving: one that fails removes the key file that it made,
	// which another must not have found by then.
	moving *sync.Mutex
}

func newVault(keys *store.Vault, dirs profile.Dirs, log *slog.Logger) vault {
	return vault{keys, store.NewCredentials(credentialsDir(dirs), keys), dirs, log, new(sync.Mutex)}
}

func (v vault) About(ctx context.Context) token.KeystoreStatus {
	in := v.KeystoreConfig()
	st := token.KeystoreStatus{
		KeystoreChoice: token.KeystoreChoice(in.Choice),
		State:          store.State(ctx, v), KeyID: in.KeyID, Since: in.Created, Moving: v.Progress(),
	}
	if in.Leftover != nil {
		st.Leftovers = len(in.Leftover.Accounts)
	}
	return st
}

// bind binds the credentials of an older tokend to their records, at the first
// start at which the keystore can be used.
func (v vault) bind(ctx context.Context) {
	profiles, err := v.creds.Bind(ctx)
	if len(profiles) > 0 {
		v.log.Info("credentials of an older tokend are bound to their records now", "profiles", profiles)
	}
	if err != nil {
		v.log.Warn("credentials of an older tokend are not bound to their records yet", "error", err.Error())
	}
}

// CacheKey also binds: once it can be read, the keystore can be used.
func (v vault) CacheKey(ctx context.Context, renew bool) (token.Secret, error) {
	key, err := v.Vault.CacheKey(ctx, renew)
	if err == nil {
		v.bind(ctx)
	}
	return key, err
}

// Unlock also deletes what a migration could not delete while it was locked.
func (v vault) Unlock(ctx context.Context) error {
	if err := v.Vault.Unlock(ctx); err != nil {
		return err
	}
	_ = v.Tidy(ctx, v.creds) // status shows what is left
	return nil
}

// Migrate makes the key file of sealed secrets if it is missing. If to names no
// place for the key, the file is in the configuration directory.
func (v vault) Migrate(ctx context.Context, to token.KeystoreChoice) (done token.Migrated, err error) {
	choice := store.Choice(to)
	if choice.Keystore == store.KeystoreSealed && choice.KeyFile == "" && choice.Credential == "" {
		choice.KeyFile = filepath.Join(v.dirs.Config, keyFileName)
	}
	if err := choice.Check(v.dirs.State); err != nil {
		return done, err
	}
	if !v.moving.TryLock() {
		return done, &token.Error{Code: token.ErrUnavailable, Message: "the secrets are being moved already: tokenctl keystore shows the progress"}
	}
	defer v.moving.Unlock()
	if choice.KeyFile != "" {
		err := store.NewKeyFile(choice.KeyFile)
		done.NewKey = err == nil
		if err != nil && !errors.Is(err, token.ErrExists) {
			return done, err
		}
	}
	if done.Moved, err = v.Vault.Migrate(ctx, v.creds, choice); err != nil {
		if done.NewKey { // it sealed nothing that is current
			err = errors.Join(err, os.Remove(choice.KeyFile))
		}
		return done, err
	}
	done.Keystore = v.About(ctx)
	return done, nil
}
