package store

import (
	"bytes"
	"context"
	"crypto/cipher"
	"encoding/hex"
	"errors"
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
	maxSealed    = maxSecret + 1024
)

// OpenSealed opens the sealed secrets under dir, which it makes if necessary. kek
// is the key that encrypts them, 32 bytes. If there are secrets and other keys
// sealed all of them, it returns token.ErrKeystore and changes nothing.
func OpenSealed(dir string, kek token.Secret) (*Sealed, error) {
	if err := ensureDir(dir); err != nil {
		return nil, sealedError("sealed secrets", err)
	}
	s := &Sealed{dir, seal.KeyID(kek), seal.New(kek, "sealed v1")}
	if err := s.checkKey(); err != nil {
		return nil, err
	}
	removeUnfinished(dir)
	return s, nil
}

// Get returns the secret of account.
func (s *Sealed) Get(_ context.Context, account string) (token.Secret, error) {
	b, _, err := readRegular(s.path(account), maxSealed)
	if errors.Is(err, fs.ErrNotExist) {
		return token.Secret{}, fail(token.ErrNotFound, "secret-missing", nil, "%s: not among the sealed secrets", account)
	}
	if err != nil {
		return token.Secret{}, sealedError(account, err)
	}
	var secret token.Secret
	err = erase.Do(func() error { secret, err = s.open(account, b); return err })
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
	return sealedError(account, replaceFile(s.path(account), file))
}

// Delete removes the secret of account.
func (s *Sealed) Delete(_ context.Context, account string) error {
	return sealedError(account, removeFile(s.path(account)))
}

// State returns nil as long as the directory can be read.
func (s *Sealed) State(context.Context) error {
	dir, err := os.Open(s.dir)
	_ = dir.Close()
	return sealedError("sealed secrets", err)
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

// checkKey checks that our key sealed at least one of the files, if there are any.
// Get refuses those that another key sealed.
func (s *Sealed) checkKey() (err error) {
	for _, name := range listSealed(s.dir) {
		b, _, _ := readRegular(filepath.Join(s.dir, name), maxSealed)
		id, _, damage := parseSealed(b)
		if id == s.keyID {
			return nil
		}
		if damage == nil {
			err = fail(token.ErrKeystore, "sealed-other-key", nil, "the secrets in %s are sealed with another key (%s, and this one is %s)", s.dir, id, s.keyID)
		}
	}
	return err
}

func (s *Sealed) path(account string) string {
	return filepath.Join(s.dir, fileName(account)+sealedSuffix)
}

func sealedAAD(account string) []byte { return []byte("tokend-sealed\x00v1\x00" + account) }

// listSealed returns the names of the sealed secrets in dir, which need not exist.
func listSealed(dir string) []string {
	names, _ := fs.Glob(os.DirFS(dir), "*"+sealedSuffix) // the pattern is right
	return names
}

// removeUnfinished removes what a crash during a Set left: no other process writes
// there.
func removeUnfinished(dir string) {
	names, _ := fs.Glob(os.DirFS(dir), ".*"+sealedSuffix+"*")
	for _, name := range names {
		os.Remove(filepath.Join(dir, name))
	}
}

// parseSealed splits a file into its key id and what is sealed.
func parseSealed(file []byte) (id string, box []byte, err error) {
	head, box, _ := bytes.Cut(file, []byte("\n"))
	name, ok := strings.CutPrefix(string(head), sealedMagic)
	if raw, err := hex.DecodeString(name); ok && err == nil && len(raw) == 8 {
		return name, box, nil
	}
	return "", nil, errors.New("not a sealed secret")
}

func sealedError(of string, err error) error { return broken("sealed-files", of, err) }
