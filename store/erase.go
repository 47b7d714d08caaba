package store

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"tokend/providers/token"
)

// Erase deletes what the installation under stateDir keeps in the OS keyring:
// the secrets of the credentials that are recorded in credentialsDir, with
// their records, what a migration left there, and the cache's key. Sealed
// secrets are files under stateDir, and are their remover's. It can be called
// again after a failure; where nothing is set up there is nothing to do.
func Erase(ctx context.Context, stateDir, credentialsDir string) error {
	install, err := ReadKeystoreConfig(stateDir)
	if errors.Is(err, token.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return install.erase(ctx, NewKeyring(KeyringService), credentialsDir)
}

func (i KeystoreConfig) erase(ctx context.Context, keyring Keystore, credentialsDir string) error {
	if left := i.Leftover; left != nil && left.Keystore == KeystoreOS {
		for _, account := range left.Accounts {
			if err := keyring.Delete(ctx, account); err != nil {
				return err
			}
		}
	}
	if i.Keystore != KeystoreOS {
		return nil
	}
	profiles, err := recordedProfiles(credentialsDir)
	if err != nil {
		return err
	}
	credentials := NewCredentials(credentialsDir, keyring)
	for _, profile := range profiles {
		if err := credentials.Delete(ctx, profile); err != nil {
			return err
		}
	}
	return errors.Join(keyring.Delete(ctx, i.probeAccount()), keyring.Delete(ctx, i.cacheKeyAccount()))
}

// recordedProfiles are those of which there is a record.
func recordedProfiles(dir string) (profiles []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fail(token.ErrKeystore, err, "records of credentials: %v", err)
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), recordSuffix) || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		rec, err := readRecord(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, fail(token.ErrKeystore, err, "record of a credential: %v", err)
		}
		if rec.Profile == "" { // an older tokend's; most names are file names as they are
			rec.Profile = strings.TrimSuffix(e.Name(), recordSuffix)
		}
		profiles = append(profiles, rec.Profile)
	}
	return profiles, nil
}
