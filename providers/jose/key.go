package jose

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"tokend/providers/token"
	"tokend/providers/token/input"
)

// minRSA is the least size of an RSA key in bits (RFC 7518 §3.3).
const minRSA = 2048

// ParseKey reads a private key in PEM or DER, as PKCS #1, PKCS #8 or SEC 1.
// The error says what the text is instead, in words that follow "it is" or
// "private_key is".
func ParseKey(text string) (crypto.Signer, error) {
	text = input.Key(text)
	if !strings.Contains(text, "-----BEGIN ") {
		return parseDER([]byte(text))
	}
	var keys []crypto.Signer
	other := cmp.Or(input.What(text), "damaged: it has the form of a PEM file but no readable key in it")
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
	if what := input.What(string(pem.EncodeToMemory(b))); what != "" || strings.HasSuffix(b.Type, "PRIVATE KEY") {
		return what
	}
	return fmt.Sprintf("a PEM file with a %s and no private key", token.Printable(b.Type, 60))
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
	return nil, errors.New(cmp.Or(whatDER(der), "not a private key that tokend can read (RSA, EC or Ed25519; PEM or DER)"))
}

// whatDER says what a file is that is no private key in DER, empty if that is not
// known.
func whatDER(der []byte) string {
	var pfx struct { // RFC 7292 §4
		Version int
		Safe    asn1.RawValue
		Mac     asn1.RawValue `asn1:"optional"`
	}
	if _, err := x509.ParseCertificate(der); err == nil {
		return "a certificate, without its private key"
	}
	if _, err := x509.ParsePKIXPublicKey(der); err == nil {
		return "a public key"
	}
	if _, err := asn1.Unmarshal(der, &pfx); err == nil && pfx.Version == 3 {
		return "a PFX file, with a certificate and its key"
	}
	return input.What(string(der))
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

// MarshalKey returns the form in which tokend keeps a key: PKCS #8 in DER,
// because a PEM of 4096 bits is too long for some keyrings.
func MarshalKey(key crypto.Signer) (token.Secret, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return token.Secret{}, &token.Error{Code: token.ErrInvalid, Field: "private_key", Message: "private_key cannot be written as PKCS #8"}
	}
	return token.NewSecret(string(der)), nil
}

// ParseCertificates reads the certificates of a file in PEM, of which it skips the
// rest, or in DER.
func ParseCertificates(text string) ([]*x509.Certificate, error) {
	text = input.Key(text)
	if all, err := x509.ParseCertificates([]byte(text)); err == nil && len(all) > 0 {
		return all, nil
	}
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
	switch what := input.What(text); {
	case len(all) > 0:
		return all, nil
	case what != "":
		return nil, errors.New("it is " + what)
	}
	return nil, errors.New("it contains no certificate in PEM or DER")
}

// Ordered returns the first certificate, its issuer's, that one's issuer's and so
// on, as x5c has them (RFC 7515 §4.1.6), and leaves out others.
func Ordered(all []*x509.Certificate) []*x509.Certificate {
	chain := all[:1:1]
	for last := all[0]; len(chain) < len(all); {
		i := slices.IndexFunc(all, func(c *x509.Certificate) bool {
			return !slices.Contains(chain, c) && bytes.Equal(c.RawSubject, last.RawIssuer) && last.CheckSignatureFrom(c) == nil
		})
		if i < 0 {
			break
		}
		last = all[i]
		chain = append(chain, last)
	}
	return chain
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
