// Package jose signs and verifies JSON Web Tokens. It reads private keys in
// the forms in which people have them, makes assertions (RFC 7523), reads the
// key sets that issuers publish (RFC 7517) and verifies tokens with them.
// golang-jwt does the cryptography and validates the claims; this package binds
// keys to algorithms, and parses tokens so strictly that they can be read in one
// way only.
package jose

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"tokend/providers/token"
)

// Algorithms returns the signature algorithms for keys that can be published
// (RFC 7518 §3.1, RFC 8037 §3.1, RFC 9864 §2.2). "none" and the symmetric ones
// are not among them.
func Algorithms() []string {
	return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"}
}

// ed25519Method is EdDSA by its newer name (RFC 9864), which golang-jwt lacks.
type ed25519Method struct{ *jwt.SigningMethodEd25519 }

func (ed25519Method) Alg() string { return "Ed25519" }

func init() {
	jwt.RegisterSigningMethod("Ed25519", func() jwt.SigningMethod { return ed25519Method{jwt.SigningMethodEdDSA} })
}

// CheckAlgorithm returns an error if algorithm is not one of Algorithms.
func CheckAlgorithm(algorithm string) error {
	if slices.Contains(Algorithms(), algorithm) {
		return nil
	}
	return fmt.Errorf("algorithm %q is not one of %s", algorithm, strings.Join(Algorithms(), ", "))
}

// method returns the signing method of one of Algorithms.
func method(algorithm string) jwt.SigningMethod {
	m := jwt.GetSigningMethod(algorithm)
	if pss, ok := m.(*jwt.SigningMethodRSAPSS); ok {
		// The library accepts a salt of any length; RFC 7518 §3.5 says which.
		strict := *pss
		strict.VerifyOptions = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}
		return &strict
	}
	return m
}

// CheckKey returns an error if key cannot sign with the algorithm (RFC 8725
// §3.1). Its words follow "private_key is".
func CheckKey(algorithm string, key crypto.Signer) error {
	if is, needs := kindOf(key.Public()), keyFor(algorithm); is != needs {
		return fmt.Errorf("%s, and %s needs %s", is, algorithm, needs)
	}
	return nil
}

// kindOf names the kind of a key.
func kindOf(public crypto.PublicKey) string {
	switch k := public.(type) {
	case *rsa.PublicKey:
		return "an RSA key"
	case *ecdsa.PublicKey:
		return "an EC key on " + k.Curve.Params().Name
	case ed25519.PublicKey:
		return "an Ed25519 key"
	}
	return ""
}

// keyFor names the kind of key that an algorithm needs.
func keyFor(algorithm string) string {
	others := map[string]string{
		"ES256": "an EC key on P-256", "ES384": "an EC key on P-384", "ES512": "an EC key on P-521", "EdDSA": "an Ed25519 key", "Ed25519": "an Ed25519 key",
	}
	return cmp.Or(others[algorithm], "an RSA key")
}

// An Assertion describes JWTs that are signed with a profile's private key (RFC
// 7523 §3).
type Assertion struct {
	Algorithm string
	// Header and Claims are the same in all of them.
	Header, Claims map[string]any
	// Start is the claim for the beginning of its life, "iat" or "nbf". Backdate
	// puts that into the past, for issuers whose clock is behind. The lifetime
	// counts from there.
	Start              string
	Backdate, Lifetime time.Duration
	// Unique adds a jti, a new one each time.
	Unique bool
}

// ClaimsAt returns the claims of an assertion made at now, with extra ones.
func (a Assertion) ClaimsAt(now time.Time, extra map[string]any) map[string]any {
	claims := map[string]any{}
	maps.Copy(claims, a.Claims)
	maps.Copy(claims, extra)
	begin := now.Add(-a.Backdate)
	claims[a.Start] = begin.Unix()
	claims["exp"] = begin.Add(a.Lifetime).Unix()
	if a.Unique {
		claims["jti"] = newUUID()
	}
	return claims
}

func (a Assertion) Sign(key crypto.Signer, claims map[string]any) (token.Secret, error) {
	if err := CheckKey(a.Algorithm, key); err != nil {
		return token.Secret{}, &token.Error{Code: token.ErrInvalid, Field: "private_key", Message: "private_key is " + err.Error()}
	}
	t := jwt.NewWithClaims(method(a.Algorithm), jwt.MapClaims(claims))
	maps.Copy(t.Header, a.Header)
	text, err := t.SignedString(key)
	if err != nil {
		return token.Secret{}, &token.Error{Code: token.ErrInternal, Message: "signing with " + a.Algorithm + " failed"}
	}
	return token.NewSecret(text), nil
}

// newUUID makes a random UUID (RFC 9562 §5.4).
func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
