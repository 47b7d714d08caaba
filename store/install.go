package store

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"

	"tokend/providers/token"
	"tokend/store/internal/seal"
)

// KeyringService is the service name of tokend's items in the OS keyring.
const KeyringService = "tokend"

// The keystores that an KeystoreConfig can choose.
const (
	KeystoreOS     = "os"
	KeystoreSealed = "sealed"
)

// An KeystoreConfig is the record of how tokend was set up here. It holds no secret.
type KeystoreConfig struct {
	// ID is random; it tells the items of several installations apart.
	ID string `toml:"id"`
	// Keystore is KeystoreOS or KeystoreSealed.
	Keystore string `toml:"keystore"`
	// KeyFile or Credential says where the key of the sealed secrets is: an
	// absolute path, or the name of a systemd credential.
	KeyFile    string `toml:"key_file,omitempty"`
	Credential string `toml:"credential,omitempty"`
	// GroupRead admits a key file that its group can read, as the secret
	// volumes of containers are mounted for a user other than root.
	GroupRead bool `toml:"key_file_group_read,omitempty"`
	// KeyID tells which key that is.
	KeyID string `toml:"key_id,omitempty"`
	// Dir is where the sealed secrets are, within the state directory; empty
	// means "sealed".
	Dir string `toml:"dir,omitempty"`
	// Created is when this keystore was chosen.
	Created time.Time `toml:"created"`
	// Leftover is what a migration has not deleted yet, nil if nothing.
	Leftover *Leftover `toml:"leftover,omitempty"`
}

// maxInstall bounds the record, in bytes: a Leftover names every account, of ten
// thousand profiles perhaps.
const maxInstall = 16 << 20

// ReadKeystoreConfig reads the record under stateDir; token.ErrNotFound means that
// nothing was set up yet.
func ReadKeystoreConfig(stateDir string) (KeystoreConfig, error) {
	path := installPath(stateDir)
	b, _, err := readRegular(path, maxInstall)
	if errors.Is(err, fs.ErrNotExist) {
		return KeystoreConfig{}, about("not-set-up", fail(token.ErrNotFound, nil, "no keystore is set up: %s does not exist", path))
	}
	if err != nil {
		return KeystoreConfig{}, about("install-record", fail(token.ErrKeystore, err, "installation record: %v", err))
	}
	var i KeystoreConfig
	if err := toml.NewDecoder(bytes.NewReader(b)).DisallowUnknownFields().Decode(&i); err != nil {
		return KeystoreConfig{}, about("install-record", fail(token.ErrKeystore, err, "installation record: %s: %s", path, recordFault(err)))
	}
	if i.ID == "" {
		return KeystoreConfig{}, about("install-record", fail(token.ErrKeystore, nil, "installation record: %s has no id", path))
	}
	if err := i.check(); err != nil {
		return KeystoreConfig{}, about("install-record", fail(token.ErrKeystore, err, "installation record: %s: %v", path, err))
	}
	return i, nil
}

// recordFault words what is wrong with a record that nobody but tokend writes.
func recordFault(err error) string {
	var wrong *toml.DecodeError
	if errors.As(err, &wrong) {
		line, _ := wrong.Position()
		return fmt.Sprintf("line %d is not as tokend wrote it", line)
	}
	return "it is not as tokend wrote it"
}

// Setup makes the choice of keystore, once: it proves that the keystore works,
// puts the cache's key into it, and records the choice under stateDir. Of
// choice it reads Keystore, KeyFile, Credential and GroupRead.
//
// The same choice again changes nothing and gives the record that is there.
// Another choice is token.ErrExists and changes nothing either; so does a
// choice that would leave sealed secrets without their key (token.ErrKeystore).
func Setup(ctx context.Context, stateDir string, choice KeystoreConfig) (KeystoreConfig, error) {
	return SetupWithKey(ctx, stateDir, choice, token.Secret{})
}

// SetupWithKey is Setup where the caller has the key of the sealed secrets in
// hand, because only the service itself will be able to read it where choice
// says that it is. The zero Secret is read from there.
func SetupWithKey(ctx context.Context, stateDir string, choice KeystoreConfig, kek token.Secret) (KeystoreConfig, error) {
	if err := choice.Check(stateDir); err != nil {
		return KeystoreConfig{}, err
	}
	now, err := ReadKeystoreConfig(stateDir)
	if err == nil {
		return now, now.refuseOther(choice)
	}
	if !errors.Is(err, token.ErrNotFound) {
		return KeystoreConfig{}, err
	}
	if err := choice.refuseOrphans(stateDir); err != nil {
		return KeystoreConfig{}, err
	}

	if err := os.MkdirAll(stateDir, 0o700); err != nil {
		return KeystoreConfig{}, about("install-record", fail(token.ErrKeystore, err, "installation record: %v", err))
	}
	i := KeystoreConfig{
		ID:         randomHex(16),
		Keystore:   choice.Keystore,
		KeyFile:    choice.KeyFile,
		Credential: choice.Credential,
		GroupRead:  choice.GroupRead,
		Created:    time.Now().UTC().Truncate(time.Second),
	}
	if i.Keystore == KeystoreSealed {
		if kek.IsZero() {
			if kek, err = i.kek(); err != nil {
				return KeystoreConfig{}, err
			}
		}
		if i.KeyID, err = seal.KeyID(kek); err != nil {
			return KeystoreConfig{}, err
		}
	}
	ks, err := i.OpenWithKey(stateDir, kek)
	if err != nil {
		return KeystoreConfig{}, err
	}
	if err := prove(ctx, ks, i.probeAccount()); err != nil {
		return KeystoreConfig{}, err
	}
	if _, err := i.CacheKey(ctx, ks); err != nil {
		return KeystoreConfig{}, err
	}
	if err := i.record(stateDir); err != nil {
		// Without the record nobody would ever ask for this key again.
		_ = ks.Delete(ctx, i.cacheKeyAccount())
		return KeystoreConfig{}, err
	}
	return i, nil
}

// Open gives the keystore that the record names, and no other: what is wrong
// with it is an error.
func (i KeystoreConfig) Open(stateDir string) (Keystore, error) {
	if err := i.check(); err != nil {
		return nil, err
	}
	if i.Keystore == KeystoreOS {
		return i.OpenWithKey(stateDir, token.Secret{})
	}
	kek, err := i.kek()
	if err != nil {
		return nil, err
	}
	return i.OpenWithKey(stateDir, kek)
}

// OpenWithKey is Open with the key of the sealed secrets in hand, if it is they.
func (i KeystoreConfig) OpenWithKey(stateDir string, kek token.Secret) (Keystore, error) {
	if i.Keystore == KeystoreOS {
		return NewKeyring(KeyringService), nil
	}
	id, err := seal.KeyID(kek)
	if err != nil {
		return nil, err
	}
	if id != i.KeyID {
		return nil, about("sealed-other-key", fail(token.ErrKeystore, nil, "%s holds another key (%s) than the one that tokend was set up with (%s)", i.kekName(), id, i.KeyID))
	}
	s, err := OpenSealed(i.sealedDir(stateDir), kek)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// CacheKey gives the key of the token cache, from ks. If there is none, it
// makes one: the tokens of a lost key are obtained anew.
func (i KeystoreConfig) CacheKey(ctx context.Context, ks Keystore) (token.Secret, error) {
	key, err := ks.Get(ctx, i.cacheKeyAccount())
	if err == nil && len(key.Reveal()) != seal.KeySize {
		return token.Secret{}, about("secret-damaged", fail(token.ErrKeystore, nil, "%s holds %d bytes instead of a key", i.cacheKeyAccount(), len(key.Reveal())))
	}
	if !errors.Is(err, token.ErrNotFound) {
		return key, err
	}
	key = seal.NewKey()
	if err := ks.Set(ctx, i.cacheKeyAccount(), key); err != nil {
		return token.Secret{}, err
	}
	return key, nil
}

func (i KeystoreConfig) cacheKeyAccount() string { return "cache-key/" + i.ID }
func (i KeystoreConfig) probeAccount() string    { return "setup-probe/" + i.ID }

// Check tells whether the choice makes sense for stateDir. It looks at nothing.
// Errors are token.ErrInvalid.
func (i KeystoreConfig) Check(stateDir string) error {
	if err := i.check(); err != nil {
		return err
	}
	return i.refuseKeyInside(stateDir)
}

func (i KeystoreConfig) check() error {
	switch {
	case i.Keystore == KeystoreOS && i.KeyFile == "" && i.Credential == "" && !i.GroupRead:
		return nil
	case i.Keystore == KeystoreOS:
		return fail(token.ErrInvalid, nil, "the keystore %q takes no key file and no credential", i.Keystore)
	case i.Keystore != KeystoreSealed:
		return fail(token.ErrInvalid, nil, "%q is no keystore: there are %q and %q", i.Keystore, KeystoreOS, KeystoreSealed)
	case (i.KeyFile == "") == (i.Credential == ""):
		return fail(token.ErrInvalid, nil, "the keystore %q needs a key file or a systemd credential, one of them", i.Keystore)
	case i.GroupRead && i.KeyFile == "":
		return fail(token.ErrInvalid, nil, "only a key file can be one that its group may read")
	case LooksLikeKey(i.KeyFile), LooksLikeKey(i.Credential): // and is not repeated here
		return fail(token.ErrInvalid, nil, "that is a key, and not the name of a file that holds one; take another, for this one is seen by others now")
	case i.Credential != "" && !isCredentialName(i.Credential):
		return fail(token.ErrInvalid, nil, "%q is no name of a credential: letters, digits, '.', '_' and '-'", i.Credential)
	case i.Dir != "" && i.Dir != otherSealedDir:
		return fail(token.ErrInvalid, nil, "%q is no directory of sealed secrets", i.Dir)
	case i.KeyFile != "" && !filepath.IsAbs(i.KeyFile):
		return fail(token.ErrInvalid, nil, "key file %s: not an absolute path", i.KeyFile)
	}
	return nil
}

// refuseOther is the error for a choice other than the one in force.
func (i KeystoreConfig) refuseOther(choice KeystoreConfig) error {
	if i.Keystore == choice.Keystore && i.KeyFile == choice.KeyFile && i.Credential == choice.Credential && i.GroupRead == choice.GroupRead {
		return nil
	}
	return about("keystore-chosen", fail(token.ErrExists, nil, "the keystore is %s since %s, and stays so", i.Describe(), i.Created.Format(time.DateOnly)))
}

// refuseOrphans is the error for a first choice where secrets of a former one
// still lie.
func (i KeystoreConfig) refuseOrphans(stateDir string) error {
	if i.Keystore == KeystoreSealed {
		return nil // OpenSealed looks at the secrets that are there
	}
	dir := i.sealedDir(stateDir)
	old, err := sealedFiles(dir)
	if err != nil {
		return about("sealed-files", fail(token.ErrKeystore, err, "sealed secrets: %v", err))
	}
	if len(old) > 0 {
		return about("install-record", fail(token.ErrKeystore, nil, "%s holds sealed secrets and %s is missing: the keystore here was %q", dir, installPath(stateDir), KeystoreSealed))
	}
	return nil
}

func (i KeystoreConfig) refuseKeyInside(stateDir string) error {
	if i.KeyFile == "" {
		return nil
	}
	abs, err := filepath.Abs(stateDir)
	if err != nil {
		return err
	}
	rel, err := filepath.Rel(abs, i.KeyFile)
	if err != nil || rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		return nil
	}
	return fail(token.ErrInvalid, nil, "key file %s lies in %s, where one backup would hold the secrets and their key", i.KeyFile, stateDir)
}

func (i KeystoreConfig) kek() (token.Secret, error) {
	if i.Credential != "" {
		return ReadCredential(i.Credential)
	}
	if i.GroupRead {
		return readKey(i.KeyFile, 0o037)
	}
	return ReadKeyFile(i.KeyFile)
}

// CheckKeyFile tells whether the key file, if there is one, is closed to
// others, without reading it.
func (i KeystoreConfig) CheckKeyFile() error {
	if i.KeyFile == "" {
		return nil
	}
	info, err := os.Lstat(i.KeyFile)
	if err != nil {
		return about("key-file-missing", fail(token.ErrKeystore, err, "key file: %s", token.FileFault(err)))
	}
	refused := fs.FileMode(0o077)
	if i.GroupRead {
		refused = 0o037
	}
	if err := checkPerm(i.KeyFile, info, refused); err != nil {
		return about("key-file", fail(token.ErrKeystore, err, "key file: %s", token.FileFault(err)))
	}
	return nil
}

func (i KeystoreConfig) kekName() string {
	if i.Credential != "" {
		return fmt.Sprintf("credential %q", i.Credential)
	}
	return "key file " + i.KeyFile
}

// Describe names the keystore and where its key is.
func (i KeystoreConfig) Describe() string {
	if i.Keystore == KeystoreOS {
		return fmt.Sprintf("%q", i.Keystore)
	}
	return fmt.Sprintf("%q with %s", i.Keystore, i.kekName())
}

func (i KeystoreConfig) record(stateDir string) error {
	b, err := toml.Marshal(i)
	if err == nil {
		err = replaceFile(installPath(stateDir), b)
	}
	if err != nil {
		return about("install-record", fail(token.ErrKeystore, err, "installation record: %v", err))
	}
	return nil
}

// prove shows that ks keeps, gives back and forgets a secret.
func prove(ctx context.Context, ks Keystore, account string) error {
	probe := seal.NewKey()
	if err := ks.Set(ctx, account, probe); err != nil {
		return err
	}
	back, err := ks.Get(ctx, account)
	if err != nil {
		return err
	}
	if !back.Equal(probe) {
		return about("keystore-unfaithful", fail(token.ErrKeystore, nil, "the keystore does not give back what was put in"))
	}
	return ks.Delete(ctx, account)
}

func installPath(stateDir string) string { return filepath.Join(stateDir, "install.toml") }

func randomHex(bytes int) string {
	b := make([]byte, bytes)
	rand.Read(b) // never fails
	return hex.EncodeToString(b)
}
