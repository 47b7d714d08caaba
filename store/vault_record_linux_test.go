package store

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"tokend/providers/token"
)

// A record of many secrets that move can be read again.
func TestInstallRecordHoldsManyLeftovers(t *testing.T) {
	state := t.TempDir()
	i := KeystoreConfig{ID: randomHex(16), Choice: Choice{Keystore: KeystoreOS}, Leftover: &Leftover{Keystore: KeystoreSealed}}
	for n := range 20_000 {
		i.Leftover.Accounts = append(i.Leftover.Accounts, fmt.Sprintf("a-profile-with-a-long-name-%d/private_key/20261126-0123abcd", n))
	}
	must(t, i.record(state))
	if there, err := ReadKeystoreConfig(state); err != nil || len(there.Leftover.Accounts) != 20_000 {
		t.Error(err)
	}
}

// While the record cannot be written, it is unknown which keystore the next start
// will use. So Migrate deletes no copy.
func TestMigrateDeletesNothingWhileTheRecordCannotBeWritten(t *testing.T) {
	m := newMoving(t, "sealed")
	v, creds := m.open()
	record, away := configPath(m.state), filepath.Join(t.TempDir(), "install.toml")
	v.step = func(name string) {
		if name == "switch" {
			must(t, os.Rename(record, away))
			must(t, os.MkdirAll(filepath.Join(record, "in the way"), 0o700))
		}
	}
	wantCode(t, migrate(t, v, creds, m.keys["resealed"]), token.ErrKeystore)
	for _, dir := range []string{"", otherSealedDir} {
		if files, _, err := listSealed(KeystoreConfig{Dir: dir}.sealedDir(m.state)); err != nil || len(files) != 7 {
			t.Errorf("%d secrets in directory %q, %v", len(files), dir, err)
		}
	}
	must(t, os.RemoveAll(record))
	must(t, os.Rename(away, record))
	m.wantAllThere()
	v.step = func(string) {}
	must(t, v.Tidy(t.Context(), creds))
	m.wantAllThere()
}
