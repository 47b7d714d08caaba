package store

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"tokend/providers/token"
	"tokend/store/internal/seal"
)

// NewKeyFile makes a key and keeps it in a new file of mode 0400, in base64.
// It never overwrites: a file that exists is token.ErrExists.
func NewKeyFile(path string) error { return NewKeyFileFor(path, -1, -1) }

// NewKeyFileFor is NewKeyFile for another user, which only root can do; -1 means
// the current user.
func NewKeyFileFor(path string, uid, gid int) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o400)
	if errors.Is(err, fs.ErrExist) {
		return fail(token.ErrExists, "", err, "%s exists already, and tokend does not overwrite it", path)
	}
	if err != nil {
		return broken("key-file", "key file", err)
	}
	if uid >= 0 {
		err = f.Chown(uid, gid)
	}
	if err == nil {
		_, err = fmt.Fprintln(f, base64.StdEncoding.EncodeToString([]byte(seal.NewKey().Reveal())))
	}
	if err = cmp.Or(err, f.Sync(), f.Close(), syncDir(filepath.Dir(path))); err != nil {
		_ = os.Remove(path)
	}
	return broken("key-file", "key file", err)
}

// readKey reads a key for OpenSealed: a regular file, no symbolic link, owned by
// root or by us, with none of the refused permissions, that holds 32 bytes, raw
// or in base64. Anything else is token.ErrKeystore.
func readKey(path string, refused fs.FileMode) (token.Secret, error) {
	b, info, err := readRegular(path, 1024)
	if target, link := os.Readlink(path); err != nil && link == nil {
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(path), target)
		}
		err = fmt.Errorf("%s is a symbolic link; name its target instead: %s", path, target)
	}
	if err == nil {
		err = CheckPrivacy(path, info, os.Geteuid(), refused)
	}
	if err != nil {
		topic := "key-file"
		if errors.Is(err, fs.ErrNotExist) {
			topic = "key-file-missing"
		}
		return token.Secret{}, broken(topic, "key file", err)
	}
	return parseKey("key file: "+path, b)
}

// LooksLikeKey reports whether text, which should name a key, is one itself.
func LooksLikeKey(text string) bool {
	key, err := base64.StdEncoding.Strict().DecodeString(text)
	return err == nil && len(key) == seal.KeySize
}

// parseKey reads 32 bytes, raw or in base64, from what is called name.
func parseKey(name string, b []byte) (token.Secret, error) {
	if text := string(bytes.TrimSpace(b)); LooksLikeKey(text) {
		b, _ = base64.StdEncoding.DecodeString(text) // it can be
	}
	if len(b) != seal.KeySize {
		return token.Secret{}, fail(token.ErrKeystore, "key-file", nil, "%s holds %d bytes, which is not a key: 32 bytes, raw or in base64", name, len(b))
	}
	return token.NewSecret(string(b)), nil
}
