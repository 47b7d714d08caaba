package store

import (
	"strings"
	"testing"

	"tokend/providers/token"
	"tokend/store/internal/seal"
	"tokend/store/keyringtest"
)

// The whole way of a key into the OS keyring, which is locked now and then, with a
// state directory that shows nothing of it.
func TestCredentialInTheOSKeyring(t *testing.T) {
	s := keyringtest.Start(t)
	dir := t.TempDir()
	s.Lock()
	wantCode(t, errOf(Setup(t.Context(), dir, Choice{Keystore: KeystoreOS}, token.Secret{})), token.ErrLocked)
	if len(tree(t, dir)) != 0 {
		t.Error("a setup with a locked keyring wrote something")
	}
	s.Unlock()
	i := val(Setup(t.Context(), dir, Choice{Keystore: KeystoreOS}, token.Secret{}))
	ks := val(i.Open(dir))
	if key, err := ks.Get(t.Context(), "cache-key/"+i.ID); err != nil || len(key.Reveal()) != seal.KeySize {
		t.Errorf("cache key: %d bytes, %v", len(key.Reveal()), err)
	}

	c := NewCredentials(dir+"/credentials", ks)
	rsa4096 := "canary-key-" + strings.Repeat("\x30\x82\x09\x00", 600)
	old := val(c.Put(t.Context(), "clms", secretsOf(rsa4096, "canary-id"), bare))
	s.Lock()
	wantCode(t, errOf(c.Put(t.Context(), "clms", secretsOf("k2", "i2"), bare)), token.ErrLocked)
	wantCode(t, errOf(secretOf(t, c, "clms", "private_key")), token.ErrLocked)
	s.Unlock()
	wantWhole(t, c, "clms", secretsOf(rsa4096, "canary-id"))
	must(t, errOf(c.Put(t.Context(), "clms", secretsOf("k3", "i3"), bare)))
	wantWhole(t, c, "clms", secretsOf("k3", "i3"))
	wantCode(t, errOf(ks.Get(t.Context(), old.Account("private_key"))), token.ErrNotFound)
	noCanary(t, dir, "canary-key", "canary-id")
	wantModes(t, dir+"/credentials")
}
