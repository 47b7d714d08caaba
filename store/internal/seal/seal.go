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
func Derive(key token.Secret, purpose string, size int) []byte {
	k, err := hkdf.Key(sha256.New, []byte(key.Reveal()), nil, "tokend "+purpose, size)
	if err != nil {
		panic(err) // only if size is too large
	}
	return k
}

// KeyID returns a name for a key that reveals nothing about it.
func KeyID(key token.Secret) string { return hex.EncodeToString(Derive(key, "key id v1", 8)) }

// New returns AES-256-GCM under the key for one purpose. Each Seal draws a
// 96-bit nonce and puts it in front.
func New(key token.Secret, purpose string) cipher.AEAD {
	block, err := aes.NewCipher(Derive(key, purpose, KeySize))
	if err != nil {
		panic(err) // the size is right
	}
	sealer, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // the block is AES
	}
	return sealer
}
