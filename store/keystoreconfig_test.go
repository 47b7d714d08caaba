package store

import (
	"context"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	. "tokend/providers/fixturetest"
	"tokend/providers/token"
	"tokend/store/internal/seal"
)

// sealedChoice makes a key file and the choice of it.
func sealedChoice(t testing.TB) Choice {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kek")
	Must(t, NewKeyFile(path))
	return Choice{Keystore: KeystoreSealed, KeyFile: path}
}

func TestSetupIsMadeOnce(t *testing.T) {
	dir, choice := filepath.Join(t.TempDir(), "state"), sealedChoice(t)
	WantCode(t, ErrOf(ReadKeystoreConfig(dir)), token.ErrNotFound)

	first := Val(Setup(t.Context(), dir, choice, token.Secret{}))
	before := Tree(t, dir)
	again := Val(Setup(t.Context(), dir, choice, token.Secret{}))
	read := Val(ReadKeystoreConfig(dir))
	if again != first || read != first || first.ID == "" || first.KeyID == "" {
		t.Errorf("set up %+v, again %+v, read %+v", first, again, read)
	}
	for _, other := range []Choice{{Keystore: KeystoreOS}, sealedChoice(t), {Keystore: KeystoreSealed, Credential: "kek"}} {
		WantCode(t, ErrOf(Setup(t.Context(), dir, other, token.Secret{})), token.ErrExists, choice.KeyFile)
	}
	wantTree(t, dir, before)

	ks := Val(first.Open(dir))
	key, err := first.CacheKey(t.Context(), ks, false)
	if err != nil || len(key.Reveal()) != seal.KeySize {
		t.Errorf("cache key: %d bytes, %v", len(key.Reveal()), err)
	}
	WantModes(t, dir)
	NoCanary(t, dir, key.Reveal())
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
		WantCode(t, err, token.ErrInvalid)
		if strings.Contains(err.Error(), key) {
			t.Errorf("it says %v", err)
		}
	}
	WantCode(t, ErrOf(Setup(t.Context(), state, Choice{Keystore: KeystoreSealed, KeyFile: filepath.Join(state, "..", "none")}, token.Secret{})), token.ErrKeystore)
	if len(Tree(t, state)) != 0 {
		t.Error("something was written")
	}
}

// A key file that its group can read is admitted where the choice says so, and
// stays admitted; one that others can read never is.
func TestSetupAdmitsAKeyFileOfTheGroup(t *testing.T) {
	dir, choice := t.TempDir(), sealedChoice(t)
	Must(t, os.Chmod(choice.KeyFile, 0o440))
	WantCode(t, ErrOf(Setup(t.Context(), dir, choice, token.Secret{})), token.ErrKeystore)
	choice.GroupRead = true
	Must(t, ErrOf(Setup(t.Context(), dir, choice, token.Secret{})))
	i := Val(ReadKeystoreConfig(dir))
	Must(t, ErrOf(i.Open(dir)))
	for _, mode := range []os.FileMode{0o444, 0o460} {
		Must(t, os.Chmod(choice.KeyFile, mode))
		WantCode(t, ErrOf(i.Open(dir)), token.ErrKeystore)
	}
}

// Case 8 of the threat model: secrets whose installation record is lost are not buried under a new key.
func TestSetupNeverGivesUpSealedSecrets(t *testing.T) {
	dir, choice := t.TempDir(), sealedChoice(t)
	i := Val(Setup(t.Context(), dir, choice, token.Secret{}))
	ks := Val(i.Open(dir))
	Must(t, ks.Set(t.Context(), "clms/private_key/1", token.NewSecret("x")))
	Must(t, os.Remove(configPath(dir)))
	before := Tree(t, dir)

	for _, other := range []Choice{{Keystore: KeystoreOS}, sealedChoice(t)} {
		WantCode(t, ErrOf(Setup(t.Context(), dir, other, token.Secret{})), token.ErrKeystore)
	}
	wantTree(t, dir, before)
	i = Val(Setup(t.Context(), dir, choice, token.Secret{}))
	ks = Val(i.Open(dir))
	wantSecret(t, ks, "clms/private_key/1", "x")
}

// Case 9 of the threat model.
func TestOpenTellsAnotherKey(t *testing.T) {
	dir, choice := t.TempDir(), sealedChoice(t)
	i := Val(Setup(t.Context(), dir, choice, token.Secret{}))
	before := Tree(t, dir)

	Must(t, os.Remove(choice.KeyFile))
	WantCode(t, ErrOf(i.Open(dir)), token.ErrKeystore)
	Must(t, NewKeyFile(choice.KeyFile))
	WantCode(t, ErrOf(i.Open(dir)), token.ErrKeystore, "another key")
	Must(t, os.Chmod(choice.KeyFile, 0o600))
	Must(t, os.WriteFile(choice.KeyFile, make([]byte, 31), 0o400))
	WantCode(t, ErrOf(i.Open(dir)), token.ErrKeystore)
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
			Must(t, os.WriteFile(configPath(dir), []byte(content), 0o600))
			WantCode(t, ErrOf(ReadKeystoreConfig(dir)), token.ErrKeystore)
			WantCode(t, ErrOf(Setup(t.Context(), dir, Choice{Keystore: KeystoreOS}, token.Secret{})), token.ErrKeystore)
		})
	}
}

func TestCacheKeyIsMadeOnce(t *testing.T) {
	i, m := KeystoreConfig{ID: "x"}, newMemory()
	key := Val(i.CacheKey(t.Context(), m, false))
	if again, err := i.CacheKey(t.Context(), m, false); err != nil || !again.Equal(key) {
		t.Errorf("another key the second time, %v", err)
	}
	Must(t, m.Set(context.Background(), "cache-key/x", token.NewSecret("short")))
	WantCode(t, ErrOf(i.CacheKey(t.Context(), m, false)), token.ErrKeystore)
	m.err = token.ErrLocked
	WantCode(t, ErrOf(i.CacheKey(t.Context(), m, false)), token.ErrLocked)
}

// A record is read as it was written, or is an error in a line.
func FuzzInstall(f *testing.F) {
	f.Add([]byte("id = \"a\"\nkeystore = \"os\"\ncreated = 2026-11-23T08:00:00Z\n"))
	f.Add([]byte("id = \"a\"\nkeystore = \"sealed\"\nkey_file = \"/etc/tokend.key\"\nkey_id = \"00\"\n"))
	f.Add([]byte("id = \"a\"\nkeystore = \"sealed\"\ncredential = \"../kek\"\n"))
	f.Add([]byte("id = \"\"\nkeystore = \"none\"\nextra = 1\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		dir := t.TempDir()
		Must(t, os.WriteFile(configPath(dir), text, 0o600))
		i, err := ReadKeystoreConfig(dir)
		if err != nil {
			WantCode(t, err, token.ErrKeystore)
			return
		}
		if i.ID == "" || i.check() != nil {
			t.Fatalf("%+v", i)
		}
		Must(t, i.record(dir))
		if again, err := ReadKeystoreConfig(dir); err != nil || again.Choice != i.Choice || again.ID != i.ID || again.KeyID != i.KeyID {
			t.Fatalf("%+v became %+v, %v", i, again, err)
		}
	})
}
