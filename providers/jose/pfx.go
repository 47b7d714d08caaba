package jose

import (
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"

	"software.sslmate.com/src/go-pkcs12"
)

// ErrPassword is the error of ParsePFX for a wrong or missing password.
var ErrPassword = errors.New("has another password")

// ParsePFX reads a PFX file (PKCS #12, RFC 7292) with a private key, its
// certificate and perhaps others; it may be base64-encoded. The error's words
// follow "the pfx".
func ParsePFX(text, password string) (crypto.Signer, []*x509.Certificate, error) {
	der := unpack(text)
	if wantsRounds(der, 0) {
		return nil, nil, fmt.Errorf("would take too long to open: it wants its password hashed more than %d times", maxRounds)
	}
	key, leaf, others, err := pkcs12.DecodeChain(der, password)
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

// maxRounds bounds how often a PFX file may want its password hashed: each
// million takes a good part of a second. OpenSSL and Windows write 2,000.
const maxRounds = 5_000_000

// wantsRounds reports whether a PFX file wants more than maxRounds: the library
// would go on for as long as the file says. It searches the elements of der, and
// within them. A number of rounds follows a salt, an OCTET STRING (RFC 7292 §4,
// appendix C; RFC 8018 appendix A.2).
func wantsRounds(der []byte, depth int) bool {
	const deepest = 32
	salt := false
	for len(der) > 0 && depth < deepest {
		var v asn1.RawValue
		rest, err := asn1.Unmarshal(der, &v)
		if err != nil {
			return false
		}
		der = rest
		universal := v.Class == asn1.ClassUniversal
		switch {
		case salt && universal && v.Tag == asn1.TagInteger:
			if new(big.Int).SetBytes(v.Bytes).Cmp(big.NewInt(maxRounds)) > 0 {
				return true
			}
		case v.IsCompound || universal && v.Tag == asn1.TagOctetString: // which may hold more of its like
			if wantsRounds(v.Bytes, depth+1) {
				return true
			}
		}
		salt = universal && v.Tag == asn1.TagOctetString
	}
	return false
}
