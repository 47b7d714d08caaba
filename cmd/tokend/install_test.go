package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"tokend/cmd/tokend/service"
	"tokend/daemon/profile"
	"tokend/providers/token"
	"tokend/store"
)

// A purge deletes what tokend and its setup made, also what a crash left of it,
// and nothing else, wherever links lead. Case 71 of the threat model.
func TestPurgeDeletesWhatIsTokends(t *testing.T) {
	dir := t.TempDir()
	dirs := profile.Dirs{Config: filepath.Join(dir, "config"), State: filepath.Join(dir, "state")}
	elsewhere := filepath.Join(dir, "elsewhere")
	mine := []string{"config/ca.pem", "config/profiles.d/.notes", "config/profiles.d/notes", "elsewhere/x.toml", "state/.bashrc", "state/precious"}
	for _, name := range append([]string{
		"config/config.toml", "config/profiles.d/a.toml", "config/profiles.d/.a.toml123", "state/install.toml", "state/.install.toml12",
		"state/credentials/a.toml", "state/sealed/a.sealed", "state/cache.db", "state/cache.db.corrupt",
		"state/audit.log", "state/audit-2026.log", "state/sinks",
	}, mine...) {
		path := filepath.Join(dir, name)
		check(t, errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, nil, 0o600)))
	}
	for link, to := range map[string]string{"state/sealed-2": elsewhere, "state/sealed/out": elsewhere, "config/profiles.d/b.toml": filepath.Join(elsewhere, "x.toml")} {
		check(t, os.Symlink(to, filepath.Join(dir, link)))
	}
	made := madeDirs(dirs)
	if len(made) != 2 {
		t.Fatal(made)
	}
	for _, d := range made {
		check(t, d.remove())
	}
	var left []string
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if !e.IsDir() {
			rel, _ := filepath.Rel(dir, path)
			left = append(left, filepath.ToSlash(rel))
		}
		return err
	})
	if err != nil || !reflect.DeepEqual(left, mine) {
		t.Errorf("left %q, %v", left, err)
	}
	for _, file := range mine {
		_ = os.Remove(filepath.Join(dir, file))
	}
	_ = os.Remove(filepath.Join(dirs.Config, "profiles.d"))
	for _, d := range madeDirs(dirs) {
		if err := d.remove(); err != nil || service.Exists(d.path) {
			t.Errorf("%s is left: %v", d.path, err)
		}
	}
}

// A purge needs the answer "yes", from a terminal.
func TestPurgeAsks(t *testing.T) {
	dir := t.TempDir()
	dirs := profile.Dirs{Config: filepath.Join(dir, "config"), State: filepath.Join(dir, "state")}
	key := filepath.Join(dir, "key")
	check(t, store.NewKeyFile(key))
	if _, err := store.Setup(t.Context(), dirs.State, store.Choice{Keystore: store.KeystoreSealed, KeyFile: key}, token.Secret{}); err != nil {
		t.Fatal(err)
	}
	var shown strings.Builder
	err := purgeRequest{wanted: true}.ask(t.Context(), dirs, &shown)
	if statusOf(err) != exitUsage || !strings.Contains(err.Error(), "--yes") {
		t.Errorf("without a terminal: %v", err)
	}
	for _, want := range []string{"in " + dirs.State + ": install.toml, sealed", "key file " + key + " stays"} {
		if !strings.Contains(shown.String(), want) {
			t.Errorf("it does not show %q:\n%s", want, &shown)
		}
	}
	if err := (purgeRequest{wanted: true, yes: true}).ask(t.Context(), dirs, io.Discard); err != nil {
		t.Error(err)
	}
}
