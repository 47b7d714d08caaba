package store

import (
	"bytes"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	. "tokend/providers/fixturetest"
	"tokend/providers/token"
	"tokend/store/internal/seal"
)

func openSealed(dir string, kek token.Secret) *Sealed { return Val(OpenSealed(dir, kek)) }

func TestSealedKeepsExactBytesAndShowsNothing(t *testing.T) {
	dir, kek := filepath.Join(t.TempDir(), "sealed"), seal.NewKey()
	for name, value := range awkwardValues() {
		t.Run(name, func(t *testing.T) { keepsExactly(t, openSealed(dir, kek), value) })
	}
	Must(t, openSealed(dir, kek).Set(t.Context(), "clms/private_key/1", token.NewSecret("canary-sealed")))
	wantSecret(t, openSealed(dir, kek), "clms/private_key/1", "canary-sealed")
	NoCanary(t, dir, "canary-sealed", kek.Reveal())
	WantModes(t, dir)
}

func TestSealedTellsAnotherKeyFromDamage(t *testing.T) {
	dir, kek := t.TempDir(), seal.NewKey()
	s := openSealed(dir, kek)
	Must(t, s.Set(t.Context(), "a", token.NewSecret("x")))

	WantCode(t, ErrOf(OpenSealed(dir, seal.NewKey())), token.ErrKeystore, "another key")
	wantSecret(t, s, "a", "x")

	file := Val(os.ReadFile(s.path("a")))
	for i := range file {
		damaged := bytes.Clone(file)
		damaged[i] ^= 1
		Must(t, os.WriteFile(s.path("a"), damaged, 0o600))
		WantCode(t, ErrOf(s.Get(t.Context(), "a")), token.ErrKeystore)
	}
	for _, n := range []int{0, 1, len(sealedMagic), len(file) - 1} {
		Must(t, os.WriteFile(s.path("a"), file[:n], 0o600))
		WantCode(t, ErrOf(s.Get(t.Context(), "a")), token.ErrKeystore)
	}
}

func TestSealedFileOpensUnderItsOwnNameAlone(t *testing.T) {
	s := openSealed(t.TempDir(), seal.NewKey())
	Must(t, s.Set(t.Context(), "a", token.NewSecret("x")))
	Must(t, os.Rename(s.path("a"), s.path("b")))
	WantCode(t, ErrOf(s.Get(t.Context(), "b")), token.ErrKeystore)
	WantCode(t, ErrOf(s.Get(t.Context(), "a")), token.ErrNotFound)
	Must(t, os.Symlink(s.path("b"), s.path("a")))
	WantCode(t, ErrOf(s.Get(t.Context(), "a")), token.ErrKeystore)
}

func TestSealedRemovesWhatACrashLeft(t *testing.T) {
	dir := t.TempDir()
	Must(t, os.WriteFile(filepath.Join(dir, ".a"+sealedSuffix+"12345"), nil, 0o600))
	s := openSealed(dir, seal.NewKey())
	if left := Tree(t, dir); len(left) != 0 {
		t.Errorf("left: %q", left)
	}
	Must(t, s.State(t.Context()))
	Must(t, os.Remove(dir))
	WantCode(t, s.State(t.Context()), token.ErrKeystore)
}

func TestFileNamesAreSafeAndDistinct(t *testing.T) {
	texts := []string{
		"clms/private_key/20261123-7f3a91c2", "CLMS/private_key/20261123-7f3a91c2", ".", "..", "../..", ".hidden", "a/../b",
		"a b", "a%20b", "a\x00b", "con", "ü", "a~b", strings.Repeat("long/", 100), strings.Repeat("long/", 101), "",
	}
	seen := map[string]string{}
	for _, text := range texts {
		name := fileName(text)
		if name != "" && (name != filepath.Base(name) || strings.HasPrefix(name, ".")) || len(name) > maxFileName {
			t.Errorf("%q: unsafe name %q", text, name)
		}
		if other, ok := seen[strings.ToLower(name)]; ok {
			t.Errorf("%q and %q are both %q", text, other, name)
		}
		seen[strings.ToLower(name)] = text
	}
	if got := fileName("clms/private_key/20261123-7f3a91c2"); got != "clms%2Fprivate_key%2F20261123-7f3a91c2" {
		t.Errorf("not readable: %q", got)
	}
}

func TestKeyFileIsMadeOnceAndReadBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kek")
	Must(t, NewKeyFile(path))
	key := Val(readKey(path, 0o077))
	WantCode(t, NewKeyFile(path), token.ErrExists)
	if again := Val(readKey(path, 0o077)); !again.Equal(key) {
		t.Error("the key changed")
	}
	WantModes(t, path)
	WantCode(t, NewKeyFile(filepath.Join(path, "below")), token.ErrKeystore)
}

func TestKeyFileIsCheckedBeforeItIsBelieved(t *testing.T) {
	raw := seal.NewKey().Reveal()
	b64 := base64.StdEncoding.EncodeToString([]byte(raw))
	for name, tt := range map[string]struct {
		content string
		mode    os.FileMode
		ok      bool
	}{
		"raw":                    {raw, 0o400, true},
		"base64":                 {b64, 0o600, true},
		"base64 and a newline":   {b64 + "\n", 0o400, true},
		"31 bytes":               {raw[:31], 0o400, false},
		"33 bytes":               {raw + "x", 0o400, false},
		"empty":                  {"", 0o400, false},
		"base64 of 31":           {base64.StdEncoding.EncodeToString([]byte(raw[:31])), 0o400, false},
		"long":                   {strings.Repeat(b64, 1000), 0o400, false},
		"readable for the group": {raw, 0o440, false},
		"readable for all":       {raw, 0o444, false},
		"writable for all":       {raw, 0o602, false},
	} {
		path := filepath.Join(t.TempDir(), "kek")
		Must(t, errors.Join(os.WriteFile(path, []byte(tt.content), 0o600), os.Chmod(path, tt.mode)))
		key, err := readKey(path, 0o077)
		if !tt.ok {
			WantCode(t, err, token.ErrKeystore)
		}
		if tt.ok != (err == nil && key.Reveal() == raw) || err != nil && tt.content != "" && strings.Contains(err.Error(), tt.content) {
			t.Errorf("%s: %d bytes, %v", name, len(key.Reveal()), err)
		}
	}
}

// Kubernetes mounts a secret as a symbolic link: said, with the name to use.
func TestKeyFileThatIsALinkNamesItsTarget(t *testing.T) {
	dir := t.TempDir()
	Must(t, os.Mkdir(filepath.Join(dir, "..data"), 0o700))
	Must(t, NewKeyFile(filepath.Join(dir, "..data", "kek")))
	Must(t, os.Symlink("..data/kek", filepath.Join(dir, "kek")))
	WantCode(t, ErrOf(readKey(filepath.Join(dir, "kek"), 0o077)), token.ErrKeystore, ": "+filepath.Join(dir, "..data", "kek"))
	Must(t, ErrOf(readKey(filepath.Join(dir, "..data", "kek"), 0o077)))
}

func TestCredentialIsReadFromItsDirectory(t *testing.T) {
	dir := t.TempDir()
	read := func(name string) error { return ErrOf(Choice{Keystore: KeystoreSealed, Credential: name}.kek()) }
	Must(t, os.WriteFile(filepath.Join(dir, "kek"), []byte(seal.NewKey().Reveal()), 0o440))
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	Must(t, read("kek")) // systemd gives 0440 where a service has its own user
	WantCode(t, read("none"), token.ErrKeystore, "no such file")
	Must(t, os.Chmod(filepath.Join(dir, "kek"), 0o444))
	WantCode(t, read("kek"), token.ErrKeystore)
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	WantCode(t, read("kek"), token.ErrKeystore)
}

func FuzzSealedFile(f *testing.F) {
	s := openSealed(f.TempDir(), seal.NewKey())
	Must(f, s.Set(f.Context(), "a", token.NewSecret("x")))
	good := Val(os.ReadFile(s.path("a")))
	f.Add(good)
	f.Add([]byte(sealedMagic))
	f.Add(good[:len(sealedMagic)])
	f.Fuzz(func(t *testing.T, file []byte) {
		if secret, err := s.open("a", file); err == nil && secret.Reveal() != "x" {
			t.Error("a made-up file opened")
		}
	})
}

func FuzzKeyFile(f *testing.F) {
	f.Add([]byte(seal.NewKey().Reveal()))
	f.Add([]byte(base64.StdEncoding.EncodeToString(make([]byte, seal.KeySize)) + "\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if key, err := parseKey("it", b); err == nil && len(key.Reveal()) != seal.KeySize {
			t.Errorf("a key of %d bytes", len(key.Reveal()))
		}
	})
}
