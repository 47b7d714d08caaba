package store

import (
	"strings"
	"testing"

	. "tokend/providers/fixturetest"
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
	WantCode(t, ErrOf(Setup(t.Context(), dir, Choice{Keystore: KeystoreOS}, token.Secret{})), token.ErrLocked)
	if len(Tree(t, dir)) != 0 {
		t.Error("a setup with a locked keyring wrote something")
	}
	s.Unlock()
	i := Val(Setup(t.Context(), dir, Choice{Keystore: KeystoreOS}, token.Secret{}))
	ks := Val(i.Open(dir))
	if key, err := ks.Get(t.Context(), "cache-key/"+i.ID); err != nil || len(key.Reveal()) != seal.KeySize {
		t.Errorf("cache key: %d bytes, %v", len(key.Reveal()), err)
	}

	c := NewCredentials(dir+"/credentials", ks)
	rsa4096 := "canary-key-" + strings.Repeat("\x30\x82\x09\x00", 600)
	old := Val(c.Put(t.Context(), "clms", secretsOf(rsa4096, "canary-id"), bare))
	s.Lock()
	WantCode(t, ErrOf(c.Put(t.Context(), "clms", secretsOf("k2", "i2"), bare)), token.ErrLocked)
	WantCode(t, ErrOf(secretOf(t, c, "clms", "private_key")), token.ErrLocked)
	s.Unlock()
	wantWhole(t, c, "clms", secretsOf(rsa4096, "canary-id"))
	Must(t, ErrOf(c.Put(t.Context(), "clms", secretsOf("k3", "i3"), bare)))
	wantWhole(t, c, "clms", secretsOf("k3", "i3"))
	WantCode(t, ErrOf(ks.Get(t.Context(), old.Account("private_key"))), token.ErrNotFound)
	NoCanary(t, dir, "canary-key", "canary-id")
	WantModes(t, dir+"/credentials")
}
