package store

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"tokend/providers/token"
)

// Erase deletes what the installation under stateDir keeps in the OS keyring:
// the secrets of the credentials that credentialsDir records, what a migration left
// there, and the cache's key. The records, and sealed secrets, are files: the caller
// removes those. Erase waits for a person whom the keyring
// asks. You can call it again after a failure; where nothing is set up it does nothing.
func Erase(ctx context.Context, stateDir, credentialsDir string) error {
	install, err := ReadKeystoreConfig(stateDir)
	if errors.Is(err, token.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	keyring, isCurrent := NewPatientKeyring(KeyringService), install.Keystore == KeystoreOS
	var accounts []string
	if left := install.Leftover; left != nil && left.Keystore == KeystoreOS {
		accounts = left.Accounts
	}
	if isCurrent || accounts != nil {
		err = keyring.Unlock(ctx)
	}
	if isCurrent && err == nil {
		var kept []string
		kept, err = NewCredentials(credentialsDir, keyring).accounts(ctx)
		accounts = append(append(accounts, kept...), install.cacheKeyAccount())
	}
	for _, account := range accounts {
		if err == nil {
			err = keyring.Delete(ctx, account)
		}
	}
	return err
}

// AsidePrefix begins the name of a directory that Reset makes.
const AsidePrefix = "before-reset-"

// Reset moves the record, credentials, sealed secrets and tokens of an installation
// whose keystore is lost into a directory of their own within stateDir, and returns
// it. Setup can then make another choice. You can call Reset again after a failure.
func Reset(stateDir string) (aside string, err error) {
	aside = filepath.Join(stateDir, AsidePrefix+time.Now().UTC().Format("20060102-150405"))
	if err := os.Mkdir(aside, 0o700); err != nil {
		return "", recordError(err)
	}
	for _, name := range []string{"credentials", "sealed", otherSealedDir, "cache.db", "install.toml"} {
		err := os.Rename(filepath.Join(stateDir, name), filepath.Join(aside, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", recordError(err)
		}
	}
	return aside, nil
}
