package main

import (
	"errors"
	"log/slog"
	"path/filepath"
	"testing"

	"tokend/cmd/tokend/service"
	"tokend/daemon/profile"
	"tokend/providers/token"
	"tokend/store"
)

// Only one migration runs at a time; the other one removes no key file that it
// did not make.
func TestOneMigrationAtATime(t *testing.T) {
	dir := t.TempDir()
	dirs := profile.Dirs{Config: filepath.Join(dir, "config"), State: filepath.Join(dir, "state")}
	old, next := filepath.Join(dir, "old"), filepath.Join(dir, "next")
	check(t, store.NewKeyFile(old))
	install, err := store.Setup(t.Context(), dirs.State, store.Choice{Keystore: store.KeystoreSealed, KeyFile: old}, token.Secret{})
	check(t, err)
	keys, err := store.OpenVault(dirs.State, install)
	check(t, err)
	v := newVault(keys, dirs, slog.New(slog.DiscardHandler))
	to := token.KeystoreChoice{Keystore: store.KeystoreSealed, KeyFile: next}
	v.moving.Lock()
	if _, err := v.Migrate(t.Context(), to); !errors.Is(err, token.ErrUnavailable) || service.Exists(next) {
		t.Errorf("while another is under way: %v", err)
	}
	v.moving.Unlock()
	if done, err := v.Migrate(t.Context(), to); err != nil || !done.NewKey || !service.Exists(next) {
		t.Errorf("after it: %v", err)
	}
	// It is current already: nothing is made, and nothing removed.
	if _, err := v.Migrate(t.Context(), to); !errors.Is(err, token.ErrExists) || !service.Exists(next) {
		t.Errorf("once more: %v", err)
	}
}
