package jose

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"tokend/providers/token"
)

// minRSA is the least size of an RSA key in bits (RFC 7518 §3.3).
const minRSA = 2048

// ParseKey reads a private key in PEM or DER, as PKCS #1, PKCS #8 or SEC 1.
// The error says what the text is instead, in words that follow "it is" or
// "private_key is".
func ParseKey(text string) (crypto.Signer, error) {
	if !strings.Contains(text, "-----BEGIN ") {
		return parseDER(unpack(text))
	}
	var keys []crypto.Signer
	other := "damaged: it has the form of a PEM file but no readable key in it"
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		if what := notAKey(block); what != "" {
			other = what
			continue
		}
		key, err := parseDER(block.Bytes)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	switch len(keys) {
	case 0:
		return nil, errors.New(other)
	case 1:
		return keys[0], nil
	}
	return nil, errors.New("more than one private key")
}

// notAKey says what a PEM block contains if it cannot be a usable private key.
func notAKey(b *pem.Block) string {
	switch {
	case b.Type == "OPENSSH PRIVATE KEY":
		return "in OpenSSH's own format; convert it to PKCS #8"
	case b.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(b.Headers["Proc-Type"], "ENCRYPTED"):
		return "encrypted with a passphrase; remove the passphrase first"
	case !strings.HasSuffix(b.Type, "PRIVATE KEY"):
		return fmt.Sprintf("a PEM file with a %s and no private key", token.Printable(b.Type, 60))
	}
	return ""
}

func parseDER(der []byte) (crypto.Signer, error) {
	if key, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		return usableKey(key)
	}
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return usableKey(key)
	}
	if key, err := x509.ParseECPrivateKey(der); err == nil {
		return usableKey(key)
	}
	return nil, errors.New("not a private key that tokend can read (RSA, EC or Ed25519; PEM or DER)")
}

// usableKey returns a key that can sign, or says what key is instead.
func usableKey(key any) (crypto.Signer, error) {
	switch key := key.(type) {
	case *rsa.PrivateKey:
		if key.N.BitLen() < minRSA {
			return nil, errors.New("an RSA key of less than 2048 bits")
		}
		return key, nil
	case *ecdsa.PrivateKey:
		if key.Curve == elliptic.P224() {
			return nil, errors.New("an EC key on P-224, which no JWT algorithm uses")
		}
		return key, nil
	case ed25519.PrivateKey:
		return key, nil
	}
	return nil, errors.New("a key that cannot sign")
}

// unpack decodes a binary file that may have been base64-encoded on its way.
func unpack(text string) []byte {
	joined := strings.Join(strings.Fields(text), "")
	if der, err := base64.StdEncoding.DecodeString(joined); err == nil {
		return der
	}
	return []byte(text)
}

// MarshalKey returns the form in which tokend keeps a key: PKCS #8 in DER,
// because a PEM of 4096 bits is too long for some keyrings.
func MarshalKey(key crypto.Signer) (token.Secret, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return token.Secret{}, &token.Error{Code: token.ErrInvalid, Field: "private_key", Message: "private_key cannot be written as PKCS #8"}
	}
	return token.NewSecret(string(der)), nil
}

// ParseCertificates reads the certificates of a PEM file and skips the rest.
func ParseCertificates(text string) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, errors.New("it contains a damaged certificate")
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil, errors.New("it contains no certificate in PEM")
	}
	return all, nil
}

func EncodeCertificates(all []*x509.Certificate) string {
	var b bytes.Buffer
	for _, c := range all {
		b.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	return b.String()
}

// Belongs reports whether a certificate is that of a key.
func Belongs(c *x509.Certificate, key crypto.Signer) bool {
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(c.PublicKey)
}
