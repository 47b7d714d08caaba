package providers

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"math/big"
	"slices"
)

const (
	// maxKeys bounds a key set, maxRSA a key in it, in bits: the time that a
	// verification takes grows with the latter.
	maxKeys = 100
	maxRSA  = 8192
)

// A keyPolicy says which keys of a set may be used.
type keyPolicy struct {
	// algorithms are those to choose from.
	algorithms []string
	// explicit keys state their kid, use and alg.
	explicit bool
}

// parseKeys reads a key set (RFC 7517 §5). Keys that cannot be used, or not for
// signatures, are left out, and so are all keys of one kid: which of them was
// meant nobody knows. The error's words follow "answered with".
func parseKeys(set members, policy keyPolicy) ([]verifyKey, error) {
	var raw []json.RawMessage
	if err := json.Unmarshal(set["keys"], &raw); err != nil || raw == nil {
		return nil, errors.New("no key set")
	}
	if len(raw) > maxKeys {
		return nil, errors.New("a set of more than 100 keys")
	}
	var keys []verifyKey
	count := map[string]int{}
	for _, text := range raw {
		m, err := parseObject(text)
		if err != nil {
			continue
		}
		count[m.text("kid")]++
		if key, ok := policy.read(m); ok {
			keys = append(keys, key)
		}
	}
	return slices.DeleteFunc(keys, func(k verifyKey) bool { return k.id != "" && count[k.id] > 1 }), nil
}

// read reads one key (RFC 7517 §4); ok is false if it is to be left out.
func (p keyPolicy) read(m members) (key verifyKey, ok bool) {
	id, use, algorithm := m.text("kid"), m.text("use"), m.text("alg")
	switch {
	case m.has("kid") && id == "", m.has("alg") && algorithm == "":
		return verifyKey{}, false
	case m.has("use") && use != "sig", m.has("key_ops") && !slices.Contains(m.texts("key_ops"), "verify"):
		return verifyKey{}, false
	case m.has("d") || m.has("k"): // a private key that is published is everybody's
		return verifyKey{}, false
	case p.explicit && (id == "" || use == "" || algorithm == ""):
		return verifyKey{}, false
	}
	public, fitting := publicKey(m)
	if public == nil {
		return verifyKey{}, false
	}
	allowed := slices.DeleteFunc(slices.Clone(p.algorithms), func(a string) bool {
		return !slices.Contains(fitting, a) || algorithm != "" && algorithm != a
	})
	return verifyKey{id, public, allowed}, len(allowed) > 0
}

// publicKey reads the key itself (RFC 7518 §6, RFC 8037 §2) and says which
// algorithms fit it; nil if it is no good.
func publicKey(m members) (public crypto.PublicKey, fitting []string) {
	switch m.text("kty") + " " + m.text("crv") {
	case "RSA ":
		if key := publicRSA(m.bytes("n"), m.bytes("e")); key != nil {
			return key, []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
		}
	case "EC P-256":
		return publicEC(elliptic.P256(), m, "ES256")
	case "EC P-384":
		return publicEC(elliptic.P384(), m, "ES384")
	case "EC P-521":
		return publicEC(elliptic.P521(), m, "ES512")
	case "OKP Ed25519":
		if x := m.bytes("x"); len(x) == ed25519.PublicKeySize {
			return ed25519.PublicKey(x), []string{"EdDSA"}
		}
	}
	return nil, nil
}

func publicRSA(n, e []byte) *rsa.PublicKey {
	modulus, exponent := new(big.Int).SetBytes(n), new(big.Int).SetBytes(e)
	switch bits := modulus.BitLen(); {
	case bits < minRSA || bits > maxRSA || modulus.Bit(0) == 0:
		return nil
	case exponent.BitLen() > 31 || exponent.Bit(0) == 0 || exponent.Int64() < 3:
		return nil
	}
	return &rsa.PublicKey{N: modulus, E: int(exponent.Int64())}
}

func publicEC(curve elliptic.Curve, m members, algorithm string) (crypto.PublicKey, []string) {
	x, y, size := m.bytes("x"), m.bytes("y"), (curve.Params().BitSize+7)/8
	if len(x) != size || len(y) != size {
		return nil, nil
	}
	key, err := ecdsa.ParseUncompressedPublicKey(curve, slices.Concat([]byte{4}, x, y))
	if err != nil { // it is no point of the curve
		return nil, nil
	}
	return key, []string{algorithm}
}

func (m members) has(name string) bool { _, ok := m[name]; return ok }

// bytes is a member's base64url text, decoded; nil if it is none.
func (m members) bytes(name string) []byte {
	b, err := decodeBase64URL(m.text(name))
	if err != nil {
		return nil
	}
	return b
}

// texts is a member's list of strings, nil if it is none.
func (m members) texts(name string) (list []string) {
	if err := json.Unmarshal(m[name], &list); err != nil {
		return nil
	}
	return list
}
