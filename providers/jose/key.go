package jose

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/pbkdf2"
	"crypto/rsa"
	"crypto/sha1" // the default of PBKDF2 (RFC 8018 §A.2)
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"hash"
	"slices"
	"strings"

	"golang.org/x/crypto/scrypt"
	"software.sslmate.com/src/go-pkcs12"

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
	var key crypto.Signer
	other := cmp.Or(input.What(text), "damaged: it has the form of a PEM file but no readable key in it")
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		what := input.What(string(pem.EncodeToMemory(block)))
		if what == "" && !strings.HasSuffix(block.Type, "PRIVATE KEY") {
			what = fmt.Sprintf("a PEM file with a %s and no private key", token.Printable(block.Type, 60))
		}
		if what != "" {
			other = what
			continue
		}
		if key != nil {
			return nil, errors.New("more than one private key")
		}
		var err error
		if key, err = parseDER(block.Bytes); err != nil {
			return nil, err
		}
	}
	if key == nil {
		return nil, errors.New(other)
	}
	return key, nil
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
		Version   int
		Safe, Mac asn1.RawValue `asn1:"optional"`
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
	der, err := x509.MarshalPKCS8PrivateKey(key) // which cannot fail for one that ParseKey returns
	return token.NewSecret(string(der)), err
}

// ParseCertificates reads the certificates of a file in PEM, of which it skips the
// rest, or in DER.
func ParseCertificates(text string) ([]*x509.Certificate, error) {
	text = input.Key(text)
	if all, err := x509.ParseCertificates([]byte(text)); err == nil && len(all) > 0 {
		return all, nil
	}
	var all []*x509.Certificate
	what := whatDER([]byte(text))
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			what = cmp.Or(what, "a PEM file with a "+block.Type+" and no certificate")
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, errors.New("it contains a damaged certificate")
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil, errors.New("it is " + cmp.Or(what, "a file without a certificate in PEM or DER"))
	}
	return all, nil
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

// ErrPassword is the error for a wrong or missing password.
var ErrPassword = errors.New("has another password")

// ParsePFX reads a PFX file (PKCS #12, RFC 7292) with a private key, its
// certificate and perhaps others; it may be base64-encoded. The error's words
// follow "the pfx".
func ParsePFX(text, password string) (crypto.Signer, []*x509.Certificate, error) {
	text = input.Key(text)
	key, leaf, others, err := pkcs12.DecodeChain([]byte(text), password)
	what := whatDER([]byte(text))
	switch {
	case errors.Is(err, pkcs12.ErrIncorrectPassword):
		return nil, nil, ErrPassword
	case strings.Contains(text, "-----BEGIN "):
		return nil, nil, errors.New("is a PEM file; pass it as certificate")
	case err != nil && what != "" && !strings.HasPrefix(what, "a PFX"): // one of both can be missing
		return nil, nil, errors.New("is " + what)
	case err != nil:
		return nil, nil, errors.New("cannot be read as PKCS #12 with one certificate and its key")
	}
	signer, err := usableKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("contains %w", err)
	}
	return signer, append([]*x509.Certificate{leaf}, others...), nil
}

// The parts of PBES2 that are known, by their object identifiers (RFC 8018 §B, RFC
// 3565 §4.1), and the work that a file can ask for: rounds of PBKDF2, or blocks of
// 128 bytes that scrypt mixes. That is some seconds, or 256 MiB.
var (
	pbkdf2Hashes = map[string]func() hash.Hash{"": sha1.New, "1.2.840.113549.2.7": sha1.New, "1.2.840.113549.2.9": sha256.New, "1.2.840.113549.2.11": sha512.New}
	keySizes     = map[string]int{tripleDES: 24, "2.16.840.1.101.3.4.1.2": 16, "2.16.840.1.101.3.4.1.22": 24, "2.16.840.1.101.3.4.1.42": 32} // the others are AES
)

const (
	tripleDES    = "1.2.840.113549.3.7"
	maxRounds    = 5_000_000
	maxBlocks    = 1 << 21
	encryptedPEM = "ENCRYPTED PRIVATE KEY"
)

// An encryptedKey is RFC 5958's EncryptedPrivateKeyInfo.
type encryptedKey struct {
	Algorithm pkix.AlgorithmIdentifier
	Data      []byte
}

// Decrypt decrypts the PKCS #8 key of a file in PEM or DER, in which it leaves the
// rest. It returns any other file as it is. The error is ErrPassword, or its words
// follow "private_key is".
func Decrypt(text, passphrase string) (string, error) {
	decoded := input.Key(text)
	if !strings.Contains(decoded, "-----BEGIN ") {
		decoded = string(pem.EncodeToMemory(&pem.Block{Type: encryptedPEM, Bytes: []byte(decoded)}))
	}
	var e encryptedKey
	for block, rest := pem.Decode([]byte(decoded)); block != nil; block, rest = pem.Decode(rest) {
		if _, err := asn1.Unmarshal(block.Bytes, &e); err == nil && block.Type == encryptedPEM {
			der, err := e.decrypt(passphrase)
			return decoded + string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), err
		}
	}
	return text, nil
}

// decrypt returns the key as PKCS #8 (RFC 8018 §6.2.2).
func (e encryptedKey) decrypt(passphrase string) ([]byte, error) {
	var scheme struct {
		Derivation struct {
			ID     asn1.ObjectIdentifier
			Params struct { // PBKDF2-params (RFC 8018 §A.2) or scrypt-params (RFC 7914 §7.1)
				Salt []byte
				N    int
				R, P int                      `asn1:"optional"`
				Hash pkix.AlgorithmIdentifier `asn1:"optional"`
			}
		}
		Cipher struct {
			ID asn1.ObjectIdentifier
			IV []byte
		}
	}
	_, err := asn1.Unmarshal(e.Algorithm.Parameters.FullBytes, &scheme)
	p, function, iv := scheme.Derivation.Params, scheme.Derivation.ID.String(), scheme.Cipher.IV
	newHash, keySize := pbkdf2Hashes[p.Hash.Algorithm.String()], keySizes[scheme.Cipher.ID.String()]
	var key []byte
	switch isKnown := err == nil && keySize > 0; {
	case isKnown && passphrase == "":
		return nil, ErrPassword
	case isKnown && function == "1.2.840.113549.1.5.12" && newHash != nil && p.N <= maxRounds:
		key, err = pbkdf2.Key(newHash, passphrase, p.Salt, p.N, keySize)
	case isKnown && function == "1.3.6.1.4.1.11591.4.11" && p.R > 0 && p.P > 0 && p.N <= maxBlocks/p.R/p.P:
		key, err = scrypt.Key([]byte(passphrase), p.Salt, p.N, p.R, p.P, keySize)
	default:
		how := strings.Fields(fmt.Sprintln(e.Algorithm.Algorithm, scheme.Derivation.ID, scheme.Cipher.ID))
		return nil, fmt.Errorf("encrypted in a way that tokend does not read (%s), or with too many rounds; convert a copy of it: openssl pkcs8 -topk8 -v2 aes-256-cbc -in FILE -out key.pem", strings.Join(how, ", "))
	}
	newCipher := aes.NewCipher
	if scheme.Cipher.ID.String() == tripleDES {
		newCipher = des.NewTripleDESCipher
	}
	block, fault := newCipher(key)
	if err != nil || fault != nil || len(iv) != block.BlockSize() || len(e.Data)%len(iv) != 0 {
		return nil, errors.New("damaged: it has the form of an encrypted key, and its parts do not fit together")
	}
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(e.Data, e.Data)
	var plain struct { // RFC 5958 §2
		Version   int
		Algorithm pkix.AlgorithmIdentifier
		Key       []byte
	}
	padding, err := asn1.Unmarshal(e.Data, &plain)
	if err != nil {
		return nil, ErrPassword
	}
	return bytes.TrimSuffix(e.Data, padding), nil
}
