// Package seal derives keys and seals with them. Its users are the sealed
// keystore and the token cache.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"tokend/providers/token"
)

// KeySize is the size in bytes of every key: a key file's, the cache's, and
// those derived from them.
const KeySize = 32

// NewKey makes a key.
func NewKey() token.Secret {
	b := make([]byte, KeySize)
	rand.Read(b) // never fails
	return token.NewSecret(string(b))
}

// Derive returns a key for one purpose (HKDF-SHA256, RFC 5869).
func Derive(key token.Secret, purpose string, size int) ([]byte, error) {
	if n := len(key.Reveal()); n != KeySize {
		return nil, &token.Error{Code: token.ErrKeystore, Topic: "key-file", Message: fmt.Sprintf("a key has %d bytes instead of %d", n, KeySize)}
	}
	return hkdf.Key(sha256.New, []byte(key.Reveal()), nil, "tokend "+purpose, size)
}

// KeyID returns a name for a key that reveals nothing about it.
func KeyID(key token.Secret) (string, error) {
	id, err := Derive(key, "key id v1", 8)
	return hex.EncodeToString(id), err
}

// New returns AES-256-GCM under the key for one purpose. Each Seal draws a
// 96-bit nonce and puts it in front.
func New(key token.Secret, purpose string) (cipher.AEAD, error) {
	k, err := Derive(key, purpose, KeySize)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(k)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}
