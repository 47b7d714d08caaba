package providertest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// A part of a JWT before its signature is checked: nothing in it is true yet.
type part map[string]any

func (p part) text(name string) string { s, _ := p[name].(string); return s }

// number reads a NumericDate (RFC 7519 §2); ok is false if it is not one.
func (p part) number(name string) (at time.Time, ok bool) {
	n, ok := p[name].(float64)
	return time.Unix(int64(n), 0), ok
}

func (p part) has(name string) bool { _, ok := p[name]; return ok }

// unverified takes a compact JWS apart.
func unverified(text string) (header, claims part, err error) {
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return nil, nil, errors.New("not enough segments")
	}
	for i, into := range []*part{&header, &claims} {
		raw, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil {
			return nil, nil, err
		}
		if err := json.Unmarshal(raw, into); err != nil {
			return nil, nil, err
		}
	}
	return header, claims, nil
}

// signedBy checks the signature alone; claims are for the caller to judge.
func signedBy(text, algorithm string, key crypto.PublicKey) bool {
	parser := jwt.NewParser(jwt.WithValidMethods([]string{algorithm}), jwt.WithoutClaimsValidation())
	_, err := parser.Parse(text, func(*jwt.Token) (any, error) { return key, nil })
	return err == nil
}

// newKey makes a key for a JWT algorithm, and its PEM form (PKCS #8).
func newKey(algorithm string) (crypto.Signer, []byte, error) {
	var key crypto.Signer
	var err error
	switch algorithm {
	case "RS256", "RS384", "RS512", "PS256", "PS384", "PS512":
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	case "ES256":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		key, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ES512":
		key, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "EdDSA", "Ed25519": // RFC 9864
		_, key, err = ed25519.GenerateKey(rand.Reader)
	default:
		err = fmt.Errorf("providertest: no key for algorithm %q", algorithm)
	}
	if err != nil {
		return nil, nil, err
	}
	text, err := keyPEM(key)
	return key, text, err
}

func keyPEM(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// A tokenSigner makes access tokens that are JWTs.
type tokenSigner func(claims jwt.MapClaims, life time.Duration) (string, error)

func newTokenSigner(iss string) (tokenSigner, error) {
	key, _, err := newKey("ES256")
	if err != nil {
		return nil, err
	}
	return func(claims jwt.MapClaims, life time.Duration) (string, error) {
		now := time.Now()
		claims["iss"], claims["iat"], claims["exp"], claims["jti"] = iss, now.Unix(), now.Add(life).Unix(), newGUID()
		return jwt.NewWithClaims(jwt.SigningMethodES256, claims).SignedString(key)
	}, nil
}

func newGUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// opaque makes a token or secret of n random bytes.
func opaque(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return base64.URLEncoding.EncodeToString(b)
}
