package store

import (
	"bytes"
	"context"
	"crypto/cipher"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"tokend/providers/token"
	"tokend/providers/token/erase"
	"tokend/store/internal/seal"
)

// Sealed is the keystore of hosts without an OS keyring: one file for each
// secret, sealed with AES-256-GCM under a key that lies elsewhere.
//
// A file is the line "tokend-sealed v1 <key id>", then nonce and ciphertext.
// The account name and the version are bound into the seal, so that a file
// that is moved to another name does not open.
type Sealed struct {
	dir    string
	keyID  string
	sealer cipher.AEAD
}

const (
	sealedMagic  = "tokend-sealed v1 "
	sealedSuffix = ".sealed"
	sealedHeader = len(sealedMagic) + 16 + 1
)

// OpenSealed gives the sealed secrets under dir, which is made if need be. kek
// is the key that encrypts them, 32 bytes. If there are secrets and all were
// sealed with other keys, it returns token.ErrKeystore and changes nothing.
func OpenSealed(dir string, kek token.Secret) (*Sealed, error) {
	id, err := seal.KeyID(kek)
	if err != nil {
		return nil, err
	}
	sealer, err := seal.New(kek, "sealed v1")
	if err != nil {
		return nil, err
	}
	if err := ensureDir(dir); err != nil {
		return nil, about("sealed-files", fail(token.ErrKeystore, err, "sealed secrets: %v", err))
	}
	names, err := namesIn(dir)
	if err != nil {
		return nil, about("sealed-files", fail(token.ErrKeystore, err, "sealed secrets: %v", err))
	}
	s := &Sealed{dir, id, sealer}
	if err := s.checkKey(names); err != nil {
		return nil, err
	}
	sweep(dir, names)
	return s, nil
}

// Get returns the secret of account.
func (s *Sealed) Get(_ context.Context, account string) (token.Secret, error) {
	b, _, err := readRegular(s.path(account), maxSecret+1024)
	if errors.Is(err, fs.ErrNotExist) {
		return token.Secret{}, about("secret-missing", fail(token.ErrNotFound, nil, "%s: not among the sealed secrets", account))
	}
	if err != nil {
		return token.Secret{}, about("sealed-files", fail(token.ErrKeystore, err, "%s: %v", account, err))
	}
	var secret token.Secret
	erase.Do(func() { secret, err = s.open(account, b) })
	if err != nil {
		return token.Secret{}, fail(token.ErrKeystore, err, "%s: %v", account, err)
	}
	return secret, nil
}

// Set seals secret under account.
func (s *Sealed) Set(_ context.Context, account string, secret token.Secret) error {
	if err := checkEntry(account, secret); err != nil {
		return err
	}
	file := append([]byte(sealedMagic), s.keyID+"\n"...)
	file = s.sealer.Seal(file, nil, []byte(secret.Reveal()), sealedAAD(account))
	if err := replaceFile(s.path(account), file); err != nil {
		return about("sealed-files", fail(token.ErrKeystore, err, "%s: %v", account, err))
	}
	return nil
}

// Delete removes the secret of account. What is not there is no error.
func (s *Sealed) Delete(_ context.Context, account string) error {
	err := os.Remove(s.path(account))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = syncDir(s.dir)
	}
	if err != nil {
		return about("sealed-files", fail(token.ErrKeystore, err, "%s: %v", account, err))
	}
	return nil
}

// State is nil as long as the directory is there. There may be thousands of
// secrets in it: they are not listed.
func (s *Sealed) State(context.Context) error {
	dir, err := os.Open(s.dir)
	if err == nil {
		defer dir.Close()
		_, err = dir.Readdirnames(1)
	}
	if err != nil && err != io.EOF {
		return about("sealed-files", fail(token.ErrKeystore, err, "sealed secrets: %v", err))
	}
	return nil
}

// open unseals a file's content.
func (s *Sealed) open(account string, file []byte) (token.Secret, error) {
	id, box, err := parseSealed(file)
	if err != nil {
		return token.Secret{}, err
	}
	if id != s.keyID {
		return token.Secret{}, about("sealed-other-key", fail(token.ErrKeystore, nil, "sealed with another key (%s, and this one is %s)", id, s.keyID))
	}
	text, err := s.sealer.Open(nil, nil, box, sealedAAD(account))
	if err != nil {
		return token.Secret{}, about("secret-damaged", fail(token.ErrKeystore, nil, "the sealed secret is damaged, or was sealed for another account"))
	}
	return token.NewSecret(string(text)), nil
}

// checkKey tells whether the secrets of these names are sealed with our key.
// One that is not, among others that are, is for Get to refuse.
func (s *Sealed) checkKey(names []string) error {
	var other string
	for _, name := range names {
		if !isSealed(name) {
			continue
		}
		id, err := sealedWith(filepath.Join(s.dir, name))
		if err != nil {
			continue
		}
		if id == s.keyID {
			return nil
		}
		other = id
	}
	if other == "" {
		return nil
	}
	return about("sealed-other-key", fail(token.ErrKeystore, nil, "the secrets in %s are sealed with another key (%s, and this one is %s)", s.dir, other, s.keyID))
}

// sweep removes, of the files of these names in dir, what a crash during a Set
// left behind: temporary files, which begin with a dot. No other process writes
// there.
func sweep(dir string, names []string) {
	for _, name := range names {
		if strings.HasPrefix(name, ".") && strings.Contains(name, sealedSuffix) {
			os.Remove(filepath.Join(dir, name))
		}
	}
}

func (s *Sealed) path(account string) string {
	return filepath.Join(s.dir, fileName(account)+sealedSuffix)
}

func sealedAAD(account string) []byte { return []byte("tokend-sealed\x00v1\x00" + account) }

// sealedFiles lists the sealed secrets under dir. There are none if dir does
// not exist.
func sealedFiles(dir string) ([]string, error) {
	names, err := namesIn(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, name := range names {
		if isSealed(name) {
			paths = append(paths, filepath.Join(dir, name))
		}
	}
	return paths, nil
}

// isSealed tells a sealed secret's file from others by its name.
func isSealed(name string) bool {
	return strings.HasSuffix(name, sealedSuffix) && !strings.HasPrefix(name, ".")
}

// sealedWith gives the id of the key that a file is sealed with.
func sealedWith(path string) (string, error) {
	b, _, err := readRegular(path, maxSecret+1024)
	if err != nil {
		return "", err
	}
	id, _, err := parseSealed(b)
	return id, err
}

// parseSealed takes a file apart into its key id and what is sealed.
func parseSealed(file []byte) (id string, box []byte, err error) {
	if len(file) < sealedHeader || !bytes.HasPrefix(file, []byte(sealedMagic)) || file[sealedHeader-1] != '\n' {
		return "", nil, errors.New("not a sealed secret")
	}
	id = string(file[len(sealedMagic) : sealedHeader-1])
	if _, err := hex.DecodeString(id); err != nil {
		return "", nil, errors.New("not a sealed secret")
	}
	return id, file[sealedHeader:], nil
}
