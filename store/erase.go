package store

import (
	"context"
	"errors"

	"tokend/providers/token"
)

// Erase deletes what the installation under stateDir keeps in the OS keyring:
// the secrets of the credentials that credentialsDir records, with their records,
// what a migration left there, and the cache's key. Sealed secrets are files
// under stateDir; the caller removes those. You can call Erase again after a
// failure; where nothing is set up it does nothing.
func Erase(ctx context.Context, stateDir, credentialsDir string) error {
	install, err := ReadKeystoreConfig(stateDir)
	if errors.Is(err, token.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	keyring := NewKeyring(KeyringService)
	if left := install.Leftover; left != nil && left.Keystore == KeystoreOS {
		for _, account := range left.Accounts {
			if err := keyring.Delete(ctx, account); err != nil {
				return err
			}
		}
	}
	if install.Keystore != KeystoreOS {
		return nil
	}
	credentials := NewCredentials(credentialsDir, keyring)
	records, err := credentials.records(nil)
	if err != nil {
		return err
	}
	for _, rec := range records {
		if err := credentials.Delete(ctx, rec.Profile); err != nil {
			return err
		}
	}
	return errors.Join(keyring.Delete(ctx, install.probeAccount()), keyring.Delete(ctx, install.cacheKeyAccount()))
}
