package providers

import (
	"bytes"
	"context"
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
	"tokend/providers/token/erase"
)

// minRSA is the least size of an RSA key in bits (RFC 7518 §3.3).
const minRSA = 2048

// parseKey reads a private key in PEM or DER, as PKCS #1, PKCS #8 or SEC 1.
// The error says what the text is instead, in words that follow "it is" or
// "private_key is".
func parseKey(text string) (crypto.Signer, error) {
	if !strings.Contains(text, "-----BEGIN ") {
		return parseDER(unpack(text))
	}
	var found crypto.Signer
	var other error
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		if what := notAKey(block); what != "" {
			other = errors.New(what)
			continue
		}
		key, err := parseDER(block.Bytes)
		switch {
		case block.Type == "EC PARAMETERS":
		case err != nil:
			return nil, err
		case found != nil:
			return nil, errors.New("more than one private key")
		default:
			found = key
		}
	}
	switch {
	case found != nil:
		return found, nil
	case other != nil:
		return nil, other
	}
	return nil, errors.New("damaged: it has the form of a PEM file but no readable key in it")
}

// notAKey names what a PEM block holds that is no usable private key, "" if it
// may be one.
func notAKey(b *pem.Block) string {
	switch {
	case b.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(b.Headers["Proc-Type"], "ENCRYPTED"):
		return "encrypted with a passphrase; it is needed without"
	case strings.HasSuffix(b.Type, "PUBLIC KEY"):
		return "a public key; the private key is needed"
	case b.Type == "CERTIFICATE":
		return "a certificate; its private key is needed"
	case b.Type == "OPENSSH PRIVATE KEY":
		return "in OpenSSH's own format; PKCS #8 is needed"
	case strings.HasSuffix(b.Type, "CERTIFICATE REQUEST"):
		return "a certificate request; its private key is needed"
	}
	return ""
}

func parseDER(der []byte) (crypto.Signer, error) {
	if key, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		return usable(key)
	}
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return usable(key)
	}
	if key, err := x509.ParseECPrivateKey(der); err == nil {
		return usable(key)
	}
	if _, err := x509.ParsePKIXPublicKey(der); err == nil {
		return nil, errors.New("a public key; the private key is needed")
	}
	if _, err := x509.ParseCertificate(der); err == nil {
		return nil, errors.New("a certificate; its private key is needed")
	}
	return nil, errors.New("no private key that can be read (RSA, EC or Ed25519; PEM or DER)")
}

// usable refuses keys that cannot or should not sign.
func usable(key any) (crypto.Signer, error) {
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

// unpack undoes the base64 in which a binary file may have travelled.
func unpack(text string) []byte {
	joined := strings.Join(strings.Fields(text), "")
	if der, err := base64.StdEncoding.DecodeString(joined); err == nil {
		return der
	}
	return []byte(text)
}

// keepKey is the form in which a key is kept: PKCS #8 in DER, because a PEM of
// 4096 bits is too long for some keyrings.
func keepKey(key crypto.Signer) (token.Secret, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return token.Secret{}, invalid("private_key", "private_key cannot be kept as PKCS #8")
	}
	return token.NewSecret(string(der)), nil
}

// prepareKey turns the private_key that was handed in into what is kept, and
// checks that it goes with the algorithm.
func prepareKey(a *token.CreateProfile, algorithm string) error {
	given, ok := a.Secrets["private_key"]
	if !ok {
		return invalid("private_key", "private_key is missing")
	}
	key, err := parseKey(given.Reveal())
	if err != nil {
		return invalid("private_key", "private_key is %v", err)
	}
	if err := checkKey(algorithm, key); err != nil {
		return err
	}
	a.Secrets["private_key"], err = keepKey(key)
	return err
}

// withKey reads the profile's private key, has it used, and leaves none of it in
// memory.
func (e Env) withKey(ctx context.Context, use func(crypto.Signer) error) (err error) {
	erase.Do(func() {
		var key crypto.Signer
		if key, err = e.key(ctx); err == nil {
			err = use(key)
		}
	})
	return err
}

// key reads the profile's private key.
func (e Env) key(ctx context.Context) (crypto.Signer, error) {
	s, err := e.Secret(ctx, "private_key")
	if err != nil {
		return nil, err
	}
	key, err := parseKey(s.Reveal())
	if err != nil {
		return nil, &token.Error{Code: token.ErrInvalid, Topic: "kept-key", Field: "private_key",
			Message: fmt.Sprintf("the private_key in the keystore is %v", err)}
	}
	return key, nil
}

// parseCertificates reads the certificates of a PEM file and skips the rest.
func parseCertificates(text string) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, errors.New("it holds a damaged certificate")
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil, errors.New("it holds no certificate in PEM")
	}
	return all, nil
}

func encodeCertificates(all []*x509.Certificate) string {
	var b bytes.Buffer
	for _, c := range all {
		b.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	return b.String()
}

// belong tells whether a certificate is that of a key.
func belong(c *x509.Certificate, key crypto.Signer) bool {
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(c.PublicKey)
}
