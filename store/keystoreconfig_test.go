package store

import (
	"context"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tokend/providers/token"
	"tokend/store/internal/seal"
)

// sealedChoice makes a key file and the choice of it.
func sealedChoice(t testing.TB) Choice {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kek")
	must(t, NewKeyFile(path))
	return Choice{Keystore: KeystoreSealed, KeyFile: path}
}

func TestSetupIsMadeOnce(t *testing.T) {
	dir, choice := filepath.Join(t.TempDir(), "state"), sealedChoice(t)
	wantCode(t, errOf(ReadKeystoreConfig(dir)), token.ErrNotFound)

	first := val(Setup(t.Context(), dir, choice, token.Secret{}))
	before := tree(t, dir)
	again := val(Setup(t.Context(), dir, choice, token.Secret{}))
	read := val(ReadKeystoreConfig(dir))
	if again != first || read != first || first.ID == "" || first.KeyID == "" {
		t.Errorf("set up %+v, again %+v, read %+v", first, again, read)
	}
	for _, other := range []Choice{{Keystore: KeystoreOS}, sealedChoice(t), {Keystore: KeystoreSealed, Credential: "kek"}} {
		wantCode(t, errOf(Setup(t.Context(), dir, other, token.Secret{})), token.ErrExists, choice.KeyFile)
	}
	wantTree(t, dir, before)

	ks := val(first.Open(dir))
	key, err := first.CacheKey(t.Context(), ks, false)
	if err != nil || len(key.Reveal()) != seal.KeySize {
		t.Errorf("cache key: %d bytes, %v", len(key.Reveal()), err)
	}
	wantModes(t, dir)
	noCanary(t, dir, key.Reveal())
}

// A key in place of a file's name is not repeated, in case it is a real one.
func TestSetupRefusesChoicesThatMakeNoSense(t *testing.T) {
	state := t.TempDir()
	key := base64.StdEncoding.EncodeToString(make([]byte, seal.KeySize))
	for _, choice := range []Choice{
		{},
		{Keystore: "plain"},
		{Keystore: KeystoreOS, KeyFile: key},
		{Keystore: KeystoreOS, GroupRead: true},
		{Keystore: KeystoreSealed, Credential: "x", GroupRead: true},
		{Keystore: KeystoreSealed},
		{Keystore: KeystoreSealed, KeyFile: "/x", Credential: "x"},
		{Keystore: KeystoreSealed, KeyFile: "relative"},
		{Keystore: KeystoreSealed, KeyFile: key},
		{Keystore: KeystoreSealed, Credential: key},
		{Keystore: KeystoreSealed, Credential: "../kek"},
		{Keystore: KeystoreSealed, Credential: "/etc/passwd"},
		{Keystore: KeystoreSealed, KeyFile: filepath.Join(state, "kek")},
	} {
		_, err := Setup(t.Context(), state, choice, token.Secret{})
		wantCode(t, err, token.ErrInvalid)
		if strings.Contains(err.Error(), key) {
			t.Errorf("it says %v", err)
		}
	}
	wantCode(t, errOf(Setup(t.Context(), state, Choice{Keystore: KeystoreSealed, KeyFile: filepath.Join(state, "..", "none")}, token.Secret{})), token.ErrKeystore)
	if len(tree(t, state)) != 0 {
		t.Error("something was written")
	}
}

// A key file that its group can read is admitted where the choice says so, and
// stays admitted; one that others can read never is.
func TestSetupAdmitsAKeyFileOfTheGroup(t *testing.T) {
	dir, choice := t.TempDir(), sealedChoice(t)
	must(t, os.Chmod(choice.KeyFile, 0o440))
	wantCode(t, errOf(Setup(t.Context(), dir, choice, token.Secret{})), token.ErrKeystore)
	choice.GroupRead = true
	must(t, errOf(Setup(t.Context(), dir, choice, token.Secret{})))
	i := val(ReadKeystoreConfig(dir))
	must(t, errOf(i.Open(dir)))
	for _, mode := range []os.FileMode{0o444, 0o460} {
		must(t, os.Chmod(choice.KeyFile, mode))
		wantCode(t, errOf(i.Open(dir)), token.ErrKeystore)
	}
}

// Case 8 of the threat model: secrets whose installation record is lost are not buried under a new key.
func TestSetupNeverGivesUpSealedSecrets(t *testing.T) {
	dir, choice := t.TempDir(), sealedChoice(t)
	i := val(Setup(t.Context(), dir, choice, token.Secret{}))
	ks := val(i.Open(dir))
	must(t, ks.Set(t.Context(), "clms/private_key/1", token.NewSecret("x")))
	must(t, os.Remove(configPath(dir)))
	before := tree(t, dir)

	for _, other := range []Choice{{Keystore: KeystoreOS}, sealedChoice(t)} {
		wantCode(t, errOf(Setup(t.Context(), dir, other, token.Secret{})), token.ErrKeystore)
	}
	wantTree(t, dir, before)
	i = val(Setup(t.Context(), dir, choice, token.Secret{}))
	ks = val(i.Open(dir))
	wantSecret(t, ks, "clms/private_key/1", "x")
}

// Case 9 of the threat model.
func TestOpenTellsAnotherKey(t *testing.T) {
	dir, choice := t.TempDir(), sealedChoice(t)
	i := val(Setup(t.Context(), dir, choice, token.Secret{}))
	before := tree(t, dir)

	must(t, os.Remove(choice.KeyFile))
	wantCode(t, errOf(i.Open(dir)), token.ErrKeystore)
	must(t, NewKeyFile(choice.KeyFile))
	wantCode(t, errOf(i.Open(dir)), token.ErrKeystore, "another key")
	must(t, os.Chmod(choice.KeyFile, 0o600))
	must(t, os.WriteFile(choice.KeyFile, make([]byte, 31), 0o400))
	wantCode(t, errOf(i.Open(dir)), token.ErrKeystore)
	wantTree(t, dir, before)
}

func TestInstallRecordIsReadStrictly(t *testing.T) {
	for name, content := range map[string]string{
		"empty":       "",
		"unknown key": "id='x'\nkeystore='os'\nplain=true\n",
		"no id":       "keystore='os'\n",
		"unknown":     "id='x'\nkeystore='plain'\n",
		"not TOML":    "{}",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			must(t, os.WriteFile(configPath(dir), []byte(content), 0o600))
			wantCode(t, errOf(ReadKeystoreConfig(dir)), token.ErrKeystore)
			wantCode(t, errOf(Setup(t.Context(), dir, Choice{Keystore: KeystoreOS}, token.Secret{})), token.ErrKeystore)
		})
	}
}

func TestCacheKeyIsMadeOnce(t *testing.T) {
	i, m := KeystoreConfig{ID: "x"}, newMemory()
	key := val(i.CacheKey(t.Context(), m, false))
	if again, err := i.CacheKey(t.Context(), m, false); err != nil || !again.Equal(key) {
		t.Errorf("another key the second time, %v", err)
	}
	must(t, m.Set(context.Background(), "cache-key/x", token.NewSecret("short")))
	wantCode(t, errOf(i.CacheKey(t.Context(), m, false)), token.ErrKeystore)
	m.err = token.ErrLocked
	wantCode(t, errOf(i.CacheKey(t.Context(), m, false)), token.ErrLocked)
}

// A record is read as it was written, or is an error in a line.
func FuzzInstall(f *testing.F) {
	f.Add([]byte("id = \"a\"\nkeystore = \"os\"\ncreated = 2026-11-23T08:00:00Z\n"))
	f.Add([]byte("id = \"a\"\nkeystore = \"sealed\"\nkey_file = \"/etc/tokend.key\"\nkey_id = \"00\"\n"))
	f.Add([]byte("id = \"a\"\nkeystore = \"sealed\"\ncredential = \"../kek\"\n"))
	f.Add([]byte("id = \"\"\nkeystore = \"none\"\nextra = 1\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		dir := t.TempDir()
		must(t, os.WriteFile(configPath(dir), text, 0o600))
		i, err := ReadKeystoreConfig(dir)
		if err != nil {
			wantCode(t, err, token.ErrKeystore)
			return
		}
		if i.ID == "" || i.check() != nil {
			t.Fatalf("%+v", i)
		}
		must(t, i.record(dir))
		if again, err := ReadKeystoreConfig(dir); err != nil || again.Choice != i.Choice || again.ID != i.ID || again.KeyID != i.KeyID {
			t.Fatalf("%+v became %+v, %v", i, again, err)
		}
	})
}
