package store

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	. "tokend/providers/fixturetest"
	"tokend/providers/token"
	"tokend/store/keyringtest"
)

// Erase removes what an installation keeps in the OS keyring: the current and the
// pending credentials and the cache's key. Another installation's items stay. A
// locked keyring loses nothing, and the records still name everything.
func TestEraseForgetsOneInstallation(t *testing.T) {
	s := keyringtest.Start(t)
	type installation struct {
		KeystoreConfig
		dir, credentials string
		accounts         []string
	}
	install := func(profile string) (i installation) {
		i.dir = t.TempDir()
		i.credentials = filepath.Join(i.dir, "credentials")
		i.KeystoreConfig = Val(Setup(t.Context(), i.dir, Choice{Keystore: KeystoreOS}, token.Secret{}))
		ks := Val(i.Open(i.dir))
		c := NewCredentials(i.credentials, ks)
		current := Val(c.Put(t.Context(), profile, secretsOf("k", "i"), bare))
		pending := Val(c.PutPending(t.Context(), profile, secretsOf("k2", "i2"), bare))
		i.accounts = []string{i.cacheKeyAccount(), current.Account("private_key"), pending.Account("private_key")}
		return i
	}
	has := func(i installation, want bool) {
		t.Helper()
		for _, account := range i.accounts {
			if _, err := NewKeyring(KeyringService).Get(t.Context(), account); want != (err == nil) || !want && !errors.Is(err, token.ErrNotFound) {
				t.Errorf("%s: there %t, want %t: %v", account, err == nil, want, err)
			}
		}
	}
	one, other := install("Clms.1"), install("clms")
	s.Lock()
	WantCode(t, Erase(t.Context(), one.dir, one.credentials), token.ErrLocked)
	s.Unlock()
	has(one, true)
	for range 2 { // also after the first has gone through
		Must(t, Erase(t.Context(), one.dir, one.credentials))
		has(one, false)
		has(other, true)
	}
	Must(t, Erase(t.Context(), t.TempDir(), "nowhere")) // nothing is set up

	// What a migration to sealed files could not delete.
	moved := other.KeystoreConfig
	moved.Choice, moved.Leftover = sealedChoice(t), &Leftover{Keystore: KeystoreOS, Accounts: other.accounts}
	Must(t, moved.record(other.dir))
	Must(t, Erase(t.Context(), other.dir, other.credentials))
	has(other, false)
	if entries, err := os.ReadDir(other.credentials); err != nil || len(entries) != 1 {
		t.Errorf("the records of sealed secrets: %d, %v", len(entries), err)
	}
}
