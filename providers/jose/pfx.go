package jose

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"

	"software.sslmate.com/src/go-pkcs12"
)

// ErrPassword is the error of ParsePFX for a wrong or missing password.
var ErrPassword = errors.New("has another password")

// ParsePFX reads a PFX file (PKCS #12, RFC 7292) with a private key, its
// certificate and perhaps others; it may be base64-encoded. The error's words
// follow "the pfx".
func ParsePFX(text, password string) (crypto.Signer, []*x509.Certificate, error) {
	key, leaf, others, err := pkcs12.DecodeChain(unpack(text), password)
	switch {
	case errors.Is(err, pkcs12.ErrIncorrectPassword):
		return nil, nil, ErrPassword
	case err != nil:
		return nil, nil, errors.New("cannot be read as PKCS #12 with one certificate and its key")
	}
	signer, err := usableKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("contains %w", err)
	}
	return signer, append([]*x509.Certificate{leaf}, others...), nil
}
