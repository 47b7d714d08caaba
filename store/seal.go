package store

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"

	"tokend/providers/token"
)

// keySize is the size of every key here, in bytes: a key file's, the cache's,
// and those derived from them.
const keySize = 32

// newKey makes a key.
func newKey() token.Secret {
	b := make([]byte, keySize)
	rand.Read(b) // never fails
	return token.NewSecret(string(b))
}

// derive gives a key for one purpose (HKDF-SHA256, RFC 5869).
func derive(key token.Secret, purpose string, size int) ([]byte, error) {
	if n := len(key.Reveal()); n != keySize {
		return nil, about("key-file", fail(token.ErrKeystore, nil, "a key has %d bytes instead of %d", n, keySize))
	}
	return hkdf.Key(sha256.New, []byte(key.Reveal()), nil, "tokend "+purpose, size)
}

// keyID tells keys apart without telling anything of them.
func keyID(key token.Secret) (string, error) {
	id, err := derive(key, "key id v1", 8)
	return hex.EncodeToString(id), err
}

// newSealer gives AES-256-GCM under the key for one purpose. Each Seal draws a
// 96-bit nonce and puts it in front.
func newSealer(key token.Secret, purpose string) (cipher.AEAD, error) {
	k, err := derive(key, purpose, keySize)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(k)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}
