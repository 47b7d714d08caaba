package providers

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/golang-jwt/jwt/v5"
)

// maxJWS bounds a token that is to be verified.
const maxJWS = 16 << 10

// The reasons why a token is not good (token.Verdict).
const (
	reasonMalformed    = "malformed"
	reasonUnsupported  = "unsupported"
	reasonAlgorithm    = "algorithm_not_allowed"
	reasonUnknownKey   = "unknown_key"
	reasonSignature    = "bad_signature"
	reasonIssuer       = "wrong_issuer"
	reasonAudience     = "wrong_audience"
	reasonExpired      = "expired"
	reasonNotYetValid  = "not_yet_valid"
	reasonMissingClaim = "missing_claim"
	reasonBadClaim     = "bad_claim"
	reasonGateway      = "refused_by_gateway"
)

// A flaw is what is wrong with a token.
type flaw struct{ reason, words string }

func (f *flaw) Error() string { return f.words }

func flawed(reason, format string, args ...any) error {
	return &flaw{reason, fmt.Sprintf(format, args...)}
}

// shown is what a token says, fit for a message.
func shown(text string) string {
	return fmt.Sprintf("%q", cut(printable(text[:min(len(text), maxScan)]), 60))
}

// A jws is a JWS in compact serialization (RFC 7515 §7.1), taken apart and not
// believed yet. Keys and their addresses in its header (jwk, jku, x5c, x5u) are
// not even read: whoever forges a token would bring them along (RFC 8725
// §3.10). Many issuers send them, so they are no reason to refuse a token.
type jws struct {
	algorithm, typ string
	// keyID is the kid, "" if there is none.
	keyID     string
	payload   []byte
	signed    string // what the signature is over
	signature []byte
}

// parseJWS takes a token apart. Its error is a flaw.
func parseJWS(text string) (jws, error) {
	if len(text) > maxJWS {
		return jws{}, flawed(reasonMalformed, "the token is longer than 16 KiB")
	}
	switch dots := strings.Count(text, "."); {
	case text == "":
		return jws{}, flawed(reasonMalformed, "the token is empty")
	case strings.HasPrefix(text, "{"):
		return jws{}, flawed(reasonUnsupported, "the token is in JSON serialization, not a compact JWS")
	case dots == 4:
		return jws{}, flawed(reasonUnsupported, "the token is encrypted (JWE), not a compact JWS")
	case dots != 2:
		return jws{}, flawed(reasonMalformed, "the token is no compact JWS, which has three parts with a dot between")
	}
	var parts [3][]byte
	for i, part := range strings.Split(text, ".") {
		var err error
		if parts[i], err = decodeBase64URL(part); err != nil {
			return jws{}, flawed(reasonMalformed, "the token's %s is %v", [...]string{"header", "payload", "signature"}[i], err)
		}
	}
	header, err := parseObject(parts[0])
	if err != nil {
		return jws{}, flawed(reasonMalformed, "the token's header is %v", err)
	}
	t := jws{payload: parts[1], signature: parts[2], signed: text[:strings.LastIndexByte(text, '.')]}
	return t, t.readHeader(header)
}

// decodeBase64URL accepts the one canonical spelling of bytes (RFC 7515 §2):
// no padding, no line breaks, no bits that say nothing.
func decodeBase64URL(text string) ([]byte, error) {
	if strings.ContainsAny(text, "\r\n") { // which the decoder would skip
		return nil, errors.New("not canonical base64url")
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, errors.New("not canonical base64url")
	}
	return b, nil
}

// readHeader reads what matters of a header (RFC 7515 §4.1).
func (t *jws) readHeader(header members) error {
	// What would change the meaning of the rest: extensions that must be
	// understood (RFC 7515 §4.1.11), a payload that is not encoded (RFC 7797),
	// encryption and compression (RFC 7516 §4.1).
	for _, name := range []string{"crit", "b64", "enc", "zip"} {
		if _, ok := header[name]; ok {
			return flawed(reasonUnsupported, "the token's header has %q, which is not supported", name)
		}
	}
	for name, into := range map[string]*string{"alg": &t.algorithm, "kid": &t.keyID, "typ": &t.typ} {
		raw, ok := header[name]
		if ok && (raw[0] != '"' || json.Unmarshal(raw, into) != nil) {
			return flawed(reasonMalformed, "the token's %s is no text", name)
		}
	}
	if t.algorithm == "" {
		return flawed(reasonMalformed, "the token's header names no algorithm")
	}
	return nil
}

// A verifyKey is a public key and the algorithms that it may be used with (RFC
// 8725 §3.1).
type verifyKey struct {
	id         string
	public     crypto.PublicKey
	algorithms []string
}

func (k verifyKey) allows(algorithm string) bool { return slices.Contains(k.algorithms, algorithm) }

// verify checks the signature, and first whether it has the one form that its
// algorithm allows (RFC 7518 §3.3 to §3.5, RFC 8037 §3.1). Its error is a flaw.
func (t jws) verify(key verifyKey) error {
	if !key.allows(t.algorithm) {
		return flawed(reasonAlgorithm, "the token's algorithm %s is not that of its key", shown(t.algorithm))
	}
	method, err := signingMethod(t.algorithm)
	if err != nil {
		return flawed(reasonAlgorithm, "the token's algorithm %s is not allowed", shown(t.algorithm))
	}
	if want := signatureSize(key.public); len(t.signature) != want {
		return flawed(reasonSignature, "the token's signature has %d bytes, and one by %s with this key has %d", len(t.signature), t.algorithm, want)
	}
	if public, ok := key.public.(*ecdsa.PublicKey); ok && !inRange(public, t.signature) {
		return flawed(reasonSignature, "the token's signature is none of %s: a part of it is out of range", t.algorithm)
	}
	if pss, ok := method.(*jwt.SigningMethodRSAPSS); ok {
		// The library would take any length of salt; RFC 7518 §3.5 says which.
		strict := *pss
		strict.VerifyOptions = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}
		method = &strict
	}
	if err := method.Verify(t.signed, t.signature, key.public); err != nil {
		return flawed(reasonSignature, "the token's signature is not that of the issuer's key")
	}
	return nil
}

// signatureSize is how many bytes a signature has, 0 for a key that has none.
func signatureSize(public crypto.PublicKey) int {
	switch key := public.(type) {
	case *rsa.PublicKey:
		return key.Size()
	case *ecdsa.PublicKey:
		return 2 * ((key.Curve.Params().BitSize + 7) / 8)
	case ed25519.PublicKey:
		return ed25519.SignatureSize
	}
	return 0
}

// inRange tells whether both halves of r‖s are between 0 and the curve's order
// (FIPS 186-5 §6.4.2). A high s is as good as a low one: no JOSE standard
// prefers either, and half of all issuers' signatures have one.
func inRange(key *ecdsa.PublicKey, signature []byte) bool {
	half := len(signature) / 2
	for _, part := range [][]byte{signature[:half], signature[half:]} {
		if n := new(big.Int).SetBytes(part); n.Sign() == 0 || n.Cmp(key.Curve.Params().N) >= 0 {
			return false
		}
	}
	return true
}
