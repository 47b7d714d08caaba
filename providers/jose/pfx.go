package jose

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"software.sslmate.com/src/go-pkcs12"

	"tokend/providers/token/input"
)

// ErrPassword is the error of ParsePFX for a wrong or missing password.
var ErrPassword = errors.New("has another password")

// ParsePFX reads a PFX file (PKCS #12, RFC 7292) with a private key, its
// certificate and perhaps others; it may be base64-encoded. The error's words
// follow "the pfx".
func ParsePFX(text, password string) (crypto.Signer, []*x509.Certificate, error) {
	text = input.Key(text)
	key, leaf, others, err := pkcs12.DecodeChain([]byte(text), password)
	switch {
	case errors.Is(err, pkcs12.ErrIncorrectPassword):
		return nil, nil, ErrPassword
	case strings.Contains(text, "-----BEGIN "):
		return nil, nil, errors.New("is a PEM file; hand it in as certificate")
	case err != nil && whatDER([]byte(text)) != "":
		return nil, nil, errors.New("is " + whatDER([]byte(text)))
	case err != nil:
		return nil, nil, errors.New("cannot be read as PKCS #12 with one certificate and its key")
	}
	signer, err := usableKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("contains %w", err)
	}
	return signer, append([]*x509.Certificate{leaf}, others...), nil
}
