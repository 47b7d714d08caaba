package store

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"tokend/providers/token"
	"tokend/store/internal/seal"
)

// KeyringService is the service name of tokend's items in the OS keyring.
const KeyringService = "tokend"

// The keystores that a Choice can name.
const (
	KeystoreOS     = "os"
	KeystoreSealed = "sealed"
)

// A Choice says which keystore to use. The sealed one needs KeyFile or
// Credential, which say where its key is: an absolute path, or the name of a
// systemd credential. GroupRead admits a key file that its group can read, as
// the secret volumes of containers are mounted for a user other than root.
type Choice token.KeystoreChoice

// A KeystoreConfig records how tokend was set up here (install.toml). It holds
// no secret.
type KeystoreConfig struct {
	// ID is random; it tells the items of several installations apart.
	ID string `toml:"id"`
	Choice
	// KeyID names the key of the sealed secrets.
	KeyID string `toml:"key_id,omitempty"`
	// Dir is where the sealed secrets are, within the state directory; empty
	// means "sealed".
	Dir string `toml:"dir,omitempty"`
	// Created is when this keystore was chosen.
	Created time.Time `toml:"created"`
	// Leftover is what a migration has not deleted yet, nil if nothing.
	Leftover *Leftover `toml:"leftover,omitempty"`
}

// maxConfig bounds the record, in bytes: a Leftover names every account, of ten
// thousand profiles perhaps.
const maxConfig = 16 << 20

// ReadKeystoreConfig reads the record under stateDir. token.ErrNotFound means
// that nothing was set up yet.
func ReadKeystoreConfig(stateDir string) (KeystoreConfig, error) {
	path := configPath(stateDir)
	var i KeystoreConfig
	err := readTOML(path, maxConfig, &i)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return KeystoreConfig{}, fail(token.ErrNotFound, "not-set-up", nil, "no keystore is set up: %s does not exist", path)
	case err == nil && (i.ID == "" || i.Dir != "" && i.Dir != otherSealedDir):
		err = errors.New("it has no id, or another directory of sealed secrets than tokend makes")
	case err == nil:
		err = i.check()
	}
	if err != nil {
		return KeystoreConfig{}, recordError(err)
	}
	return i, nil
}

func recordError(err error) error { return broken("install-record", "installation record", err) }

// Setup makes the choice of keystore, once: it puts the cache's key into the
// keystore, reads it back, and records the choice under stateDir. kek is
// the key of the sealed secrets, if only the service itself will be able to read
// it where choice says; else it is the zero Secret.
//
// The same choice again changes nothing and returns the record. Another choice
// is token.ErrExists; one that would leave sealed secrets without their key is
// token.ErrKeystore. Neither changes anything.
func Setup(ctx context.Context, stateDir string, choice Choice, kek token.Secret) (KeystoreConfig, error) {
	if err := choice.Check(stateDir); err != nil {
		return KeystoreConfig{}, err
	}
	now, err := ReadKeystoreConfig(stateDir)
	if err == nil && now.Choice != choice {
		err = fail(token.ErrExists, "keystore-chosen", nil, "the keystore is %s since %s, and stays so", now.Describe(), now.Created.Format(time.DateOnly))
	}
	if !errors.Is(err, token.ErrNotFound) {
		return now, err
	}
	if choice.Keystore != KeystoreSealed { // OpenSealed looks at the secrets that are there
		if err := refuseOrphans(KeystoreConfig{}.sealedDir(stateDir)); err != nil {
			return KeystoreConfig{}, err
		}
	}
	if err := recordError(os.MkdirAll(stateDir, 0o700)); err != nil {
		return KeystoreConfig{}, err
	}
	if kek.IsZero() {
		if kek, err = choice.kek(); err != nil {
			return KeystoreConfig{}, err
		}
	}
	i := newConfig(randomHex(16), choice, kek)
	ks, err := i.OpenWithKey(stateDir, kek)
	if err != nil {
		return KeystoreConfig{}, err
	}
	key, err := i.CacheKey(ctx, ks, false)
	if err == nil {
		err = checkSame(ctx, ks, i.cacheKeyAccount(), key)
	}
	if err == nil { // without a record the key stays: a person may have to confirm each deletion
		err = i.record(stateDir)
	}
	return i, err
}

// newConfig returns the record of a choice that is made now. kek is the key of
// its sealed secrets.
func newConfig(id string, choice Choice, kek token.Secret) KeystoreConfig {
	i := KeystoreConfig{ID: id, Choice: choice, Created: time.Now().UTC().Truncate(time.Second)}
	if i.Keystore == KeystoreSealed {
		i.KeyID = seal.KeyID(kek)
	}
	return i
}

// Open opens the keystore that the record names, and no other.
func (i KeystoreConfig) Open(stateDir string) (Keystore, error) {
	kek, err := i.kek()
	if err != nil {
		return nil, err
	}
	return i.OpenWithKey(stateDir, kek)
}

// OpenWithKey is Open for a caller that has the key of the sealed secrets.
func (i KeystoreConfig) OpenWithKey(stateDir string, kek token.Secret) (Keystore, error) {
	if i.Keystore == KeystoreOS {
		return NewKeyring(KeyringService), nil
	}
	return OpenSealed(i.sealedDir(stateDir), kek)
}

// CacheKey returns the key of the token cache, from ks. If there is none, or
// renew is set, it makes one: what a lost key sealed is obtained again.
func (i KeystoreConfig) CacheKey(ctx context.Context, ks Keystore, renew bool) (token.Secret, error) {
	account := i.cacheKeyAccount()
	if !renew {
		key, err := ks.Get(ctx, account)
		if err == nil && len(key.Reveal()) != seal.KeySize {
			err = fail(token.ErrKeystore, "secret-damaged", nil, "%s holds %d bytes instead of a key", account, len(key.Reveal()))
		}
		if !errors.Is(err, token.ErrNotFound) {
			return key, err
		}
	}
	key := seal.NewKey()
	return key, ks.Set(ctx, account, key)
}

func (i KeystoreConfig) cacheKeyAccount() string { return "cache-key/" + i.ID }

// Check checks that the choice makes sense for stateDir. It reads no file.
// Errors are token.ErrInvalid.
func (c Choice) Check(stateDir string) error {
	if err := c.check(); err != nil || c.KeyFile == "" {
		return err
	}
	abs, err := filepath.Abs(stateDir)
	if rel, _ := filepath.Rel(abs, c.KeyFile); err == nil && filepath.IsLocal(rel) {
		err = fail(token.ErrInvalid, "", nil, "key file %s lies in %s, where one backup would hold the secrets and their key", c.KeyFile, stateDir)
	}
	return err
}

func (c Choice) check() error {
	switch {
	case c == Choice{Keystore: KeystoreOS}:
		return nil
	case c.Keystore == KeystoreOS:
		return fail(token.ErrInvalid, "", nil, "the keystore %q takes no key file and no credential", c.Keystore)
	case c.Keystore != KeystoreSealed:
		return fail(token.ErrInvalid, "", nil, "%q is not a keystore: choose %q or %q", c.Keystore, KeystoreOS, KeystoreSealed)
	case (c.KeyFile == "") == (c.Credential == ""), c.GroupRead && c.KeyFile == "":
		return fail(token.ErrInvalid, "", nil, "the keystore %q needs either a key file (--key-file) or a systemd credential (--credential)", c.Keystore)
	case LooksLikeKey(c.KeyFile), LooksLikeKey(c.Credential): // the message must not repeat it
		return fail(token.ErrInvalid, "", nil, "that is a key, not the name of a file that holds one; make another key, because others can see this one now")
	case c.Credential != "" && token.CheckName(c.Credential) != nil:
		return fail(token.ErrInvalid, "", nil, "%q cannot be the name of a credential: use letters, digits, '.', '_' and '-'", c.Credential)
	case c.KeyFile != "" && !filepath.IsAbs(c.KeyFile):
		return fail(token.ErrInvalid, "", nil, "key file %s: not an absolute path", c.KeyFile)
	}
	return nil
}

// refuseOrphans returns an error if dir, which no record names, holds sealed
// secrets.
func refuseOrphans(dir string) error {
	if len(listSealed(dir)) > 0 {
		return fail(token.ErrKeystore, "install-record", nil, "%s holds sealed secrets, and no install.toml names them: restore it, or move them away", dir)
	}
	return nil
}

// Refused returns the permissions that the key file must not have.
func (c Choice) Refused() fs.FileMode {
	if c.GroupRead {
		return 0o037
	}
	return 0o077
}

// kek reads the key of the sealed secrets, the zero Secret for another keystore.
func (c Choice) kek() (token.Secret, error) {
	if c.Keystore != KeystoreSealed {
		return token.Secret{}, nil
	}
	if c.Credential == "" {
		return readKey(c.KeyFile, c.Refused())
	}
	// The service manager hands over a file of that name, which the service's group
	// may be able to read (systemd.exec(5), LoadCredential=).
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	if dir == "" {
		return token.Secret{}, fail(token.ErrKeystore, "key-file-missing", nil, "credential %q: the service manager passed no credentials (CREDENTIALS_DIRECTORY is not set)", c.Credential)
	}
	return readKey(filepath.Join(dir, c.Credential), 0o037)
}

// Describe names the keystore and where its key is.
func (c Choice) Describe() string {
	switch {
	case c.Keystore == KeystoreOS:
		return fmt.Sprintf("%q", c.Keystore)
	case c.Credential != "":
		return fmt.Sprintf("%q with credential %q", c.Keystore, c.Credential)
	}
	return fmt.Sprintf("%q with key file %s", c.Keystore, c.KeyFile)
}

func (i KeystoreConfig) record(stateDir string) error {
	return recordError(writeTOML(configPath(stateDir), i))
}

func configPath(stateDir string) string { return filepath.Join(stateDir, "install.toml") }

// otherSealedDir is where sealed secrets go when their key changes: the two
// directories take turns.
const otherSealedDir = "sealed-2"

func (i KeystoreConfig) sealedDir(stateDir string) string {
	return filepath.Join(stateDir, cmp.Or(i.Dir, "sealed"))
}

func randomHex(bytes int) string {
	b := make([]byte, bytes)
	rand.Read(b) // never fails
	return hex.EncodeToString(b)
}
