package providers

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"maps"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"tokend/providers/token"
)

const (
	grantJWTBearer         = "urn:ietf:params:oauth:grant-type:jwt-bearer"            // RFC 7523 §2.1
	clientAssertionJWT     = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" // RFC 7523 §2.2
	grantClientCredentials = "client_credentials"                                     // RFC 6749 §4.4
)

// An assertion is a JWT signed with the profile's private key (RFC 7523 §3).
type assertion struct {
	algorithm string
	// header and claims are what does not change: all but alg and typ, the
	// times and jti.
	header, claims map[string]any
	// start is the claim that says when its life begins, "iat" or "nbf";
	// backdate puts that into the past, for issuers whose clock is behind.
	// The lifetime counts from there.
	start              string
	backdate, lifetime time.Duration
	// unique adds a jti, another each time.
	unique bool
}

// sign makes the assertion of this moment.
func (a assertion) sign(ctx context.Context, env Env, extra map[string]any) (signed token.Secret, err error) {
	method, err := signingMethod(a.algorithm)
	if err != nil {
		return token.Secret{}, err
	}
	err = env.withKey(ctx, func(key crypto.Signer) error {
		if err := checkKey(a.algorithm, key); err != nil {
			return err
		}
		claims := a.claimsAt(time.Now(), extra)
		traceAssertion(ctx, a.algorithm, claims)
		t := jwt.NewWithClaims(method, jwt.MapClaims(claims))
		maps.Copy(t.Header, a.header)
		text, err := t.SignedString(key)
		if err != nil {
			return &token.Error{Code: token.ErrInternal, Message: "the assertion could not be signed with " + a.algorithm}
		}
		signed = token.NewSecret(text)
		return nil
	})
	return signed, err
}

// claimsAt are the claims of an assertion that is made at now.
func (a assertion) claimsAt(now time.Time, extra map[string]any) map[string]any {
	claims := maps.Clone(a.claims)
	maps.Copy(claims, extra)
	begin := now.Add(-a.backdate)
	claims[a.start] = begin.Unix()
	claims["exp"] = begin.Add(a.lifetime).Unix()
	if a.unique {
		claims["jti"] = newUUID()
	}
	return claims
}

// newUUID makes a random UUID (RFC 9562 §5.4).
func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// signingMethod finds an algorithm (RFC 7518 §3.1, RFC 8037 §3.1). It lists
// them itself so that "none" and the symmetric ones are not among them.
func signingMethod(algorithm string) (jwt.SigningMethod, error) {
	switch algorithm {
	case "RS256":
		return jwt.SigningMethodRS256, nil
	case "RS384":
		return jwt.SigningMethodRS384, nil
	case "RS512":
		return jwt.SigningMethodRS512, nil
	case "PS256":
		return jwt.SigningMethodPS256, nil
	case "PS384":
		return jwt.SigningMethodPS384, nil
	case "PS512":
		return jwt.SigningMethodPS512, nil
	case "ES256":
		return jwt.SigningMethodES256, nil
	case "ES384":
		return jwt.SigningMethodES384, nil
	case "ES512":
		return jwt.SigningMethodES512, nil
	case "EdDSA":
		return jwt.SigningMethodEdDSA, nil
	}
	return nil, invalid("algorithm", "algorithm %q is none of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA", algorithm)
}

// checkKey binds key and algorithm together (RFC 8725 §3.1).
func checkKey(algorithm string, key crypto.Signer) error {
	method, err := signingMethod(algorithm)
	if err != nil {
		return err
	}
	fits, needs := false, ""
	switch m := method.(type) {
	case *jwt.SigningMethodRSA, *jwt.SigningMethodRSAPSS:
		_, fits = key.(*rsa.PrivateKey)
		needs = "an RSA key"
	case *jwt.SigningMethodECDSA:
		k, ok := key.(*ecdsa.PrivateKey)
		fits = ok && k.Curve.Params().BitSize == m.CurveBits
		needs = fmt.Sprintf("an EC key on P-%d", m.CurveBits)
	case *jwt.SigningMethodEd25519:
		_, fits = key.(ed25519.PrivateKey)
		needs = "an Ed25519 key"
	}
	if !fits {
		return invalid("private_key", "private_key is %s, and %s needs %s", keyWords(key), algorithm, needs)
	}
	return nil
}

func keyWords(key crypto.Signer) string {
	switch k := key.(type) {
	case *rsa.PrivateKey:
		return "an RSA key"
	case *ecdsa.PrivateKey:
		return "an EC key on " + k.Curve.Params().Name
	}
	return "an Ed25519 key"
}
