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
// secret, sealed with AES-256-GCM under a key that is elsewhere.
//
// A file is the line "tokend-sealed v1 <key id>", then nonce and ciphertext.
// The account name and the version are bound into the seal, so that a file
// does not open under another name.
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

// OpenSealed opens the sealed secrets under dir, which it makes if necessary. kek
// is the key that encrypts them, 32 bytes. If there are secrets and other keys
// sealed all of them, it returns token.ErrKeystore and changes nothing.
func OpenSealed(dir string, kek token.Secret) (*Sealed, error) {
	id, err := seal.KeyID(kek)
	if err != nil {
		return nil, err
	}
	sealer, err := seal.New(kek, "sealed v1")
	if err != nil {
		return nil, err
	}
	err = ensureDir(dir)
	var names []string
	if err == nil {
		names, err = namesIn(dir)
	}
	if err != nil {
		return nil, sealedError(err)
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
		return token.Secret{}, fail(token.ErrNotFound, "secret-missing", nil, "%s: not among the sealed secrets", account)
	}
	if err != nil {
		return token.Secret{}, fail(token.ErrKeystore, "sealed-files", err, "%s: %v", account, err)
	}
	var secret token.Secret
	erase.Do(func() { secret, err = s.open(account, b) })
	if err != nil {
		return token.Secret{}, fail(token.ErrKeystore, "", err, "%s: %v", account, err)
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
		return fail(token.ErrKeystore, "sealed-files", err, "%s: %v", account, err)
	}
	return nil
}

// Delete removes the secret of account.
func (s *Sealed) Delete(_ context.Context, account string) error {
	if err := removeFile(s.path(account)); err != nil {
		return fail(token.ErrKeystore, "sealed-files", err, "%s: %v", account, err)
	}
	return nil
}

// State returns nil as long as the directory can be read. It lists no more than
// one of the secrets, of which there may be thousands.
func (s *Sealed) State(context.Context) error {
	dir, err := os.Open(s.dir)
	if err == nil {
		defer dir.Close()
		_, err = dir.Readdirnames(1)
	}
	if err != nil && err != io.EOF {
		return sealedError(err)
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
		return token.Secret{}, fail(token.ErrKeystore, "sealed-other-key", nil, "sealed with another key (%s, and this one is %s)", id, s.keyID)
	}
	text, err := s.sealer.Open(nil, nil, box, sealedAAD(account))
	if err != nil {
		return token.Secret{}, fail(token.ErrKeystore, "secret-damaged", nil, "the sealed secret is damaged, or was sealed for another account")
	}
	return token.NewSecret(string(text)), nil
}

// checkKey checks that our key sealed at least one of the secrets of these names,
// if there are any. Get refuses those that another key sealed.
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
	return fail(token.ErrKeystore, "sealed-other-key", nil, "the secrets in %s are sealed with another key (%s, and this one is %s)", s.dir, other, s.keyID)
}

// sweep removes from dir, of the files of these names, the temporary ones that a
// crash during a Set left behind. They begin with a dot. No other process writes
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
		return nil, sealedError(err)
	}
	var paths []string
	for _, name := range names {
		if isSealed(name) {
			paths = append(paths, filepath.Join(dir, name))
		}
	}
	return paths, nil
}

// isSealed reports whether name is that of a sealed secret's file.
func isSealed(name string) bool {
	return strings.HasSuffix(name, sealedSuffix) && !strings.HasPrefix(name, ".")
}

// sealedWith returns the id of the key that sealed a file.
func sealedWith(path string) (string, error) {
	b, _, err := readRegular(path, maxSecret+1024)
	if err != nil {
		return "", err
	}
	id, _, err := parseSealed(b)
	return id, err
}

// parseSealed splits a file into its key id and what is sealed.
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

func sealedError(err error) error {
	return fail(token.ErrKeystore, "sealed-files", err, "sealed secrets: %v", err)
}
