package jose

import (
	"bytes"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/pbkdf2"
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
	"strings"

	"golang.org/x/crypto/scrypt"
	"software.sslmate.com/src/go-pkcs12"

	"tokend/providers/token/input"
)

// ErrPassword is the error for a wrong or missing password.
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
	newHash, size := pbkdf2Hashes[p.Hash.Algorithm.String()], keySizes[scheme.Cipher.ID.String()]
	var key []byte
	switch isKnown := err == nil && size > 0; {
	case isKnown && passphrase == "":
		return nil, ErrPassword
	case isKnown && function == "1.2.840.113549.1.5.12" && newHash != nil && p.N <= maxRounds:
		key, err = pbkdf2.Key(newHash, passphrase, p.Salt, p.N, size)
	case isKnown && function == "1.3.6.1.4.1.11591.4.11" && p.R > 0 && p.P > 0 && p.N <= maxBlocks/p.R/p.P:
		key, err = scrypt.Key([]byte(passphrase), p.Salt, p.N, p.R, p.P, size)
	default:
		how := strings.Fields(fmt.Sprintln(e.Algorithm.Algorithm, scheme.Derivation.ID, scheme.Cipher.ID))
		return nil, fmt.Errorf("encrypted in a way that tokend does not read (%s), or with too many rounds; convert a copy of it: openssl pkcs8 -topk8 -v2 aes-256-cbc -in FILE -out key.pem", strings.Join(how, ", "))
	}
	newBlock := aes.NewCipher
	if scheme.Cipher.ID.String() == tripleDES {
		newBlock = des.NewTripleDESCipher
	}
	block, fault := newBlock(key)
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
