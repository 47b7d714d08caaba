package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"tokend/providers/strictjson"
)

const (
	// maxKeys bounds a key set, maxRSA a key in it, in bits: the time that a
	// verification takes grows with the latter.
	maxKeys = 1000
	maxRSA  = 8192
)

// A publicKey is a published key and the algorithms that it may be used with
// (RFC 8725 §3.1).
type publicKey struct {
	id, issuer string
	public     crypto.PublicKey
	algorithms []string
}

// keysIn reads a key set (RFC 7517 §5). It leaves out keys that cannot be
// used, or not for signatures. Keys that share a kid keep the algorithms that
// tell them apart (§4.5); which key is meant by the others is unknown. The error's
// words follow "answered with".
func (r Rules) keysIn(set strictjson.Object) ([]publicKey, error) {
	var raw []json.RawMessage
	if err := json.Unmarshal(set["keys"], &raw); err != nil || raw == nil {
		return nil, errors.New("no key set")
	}
	if len(raw) > maxKeys {
		return nil, fmt.Errorf("a set of more than %d keys", maxKeys)
	}
	type named struct{ id, algorithm string }
	var keys []publicKey
	count := map[named]int{}
	for _, text := range raw {
		m, err := strictjson.Parse(text)
		if err != nil {
			continue
		}
		if key, ok := r.readKey(m); ok {
			keys = append(keys, key)
			for _, a := range key.algorithms {
				count[named{key.id, a}]++
			}
		}
	}
	for i := range keys {
		k := &keys[i]
		k.algorithms = slices.DeleteFunc(k.algorithms, func(a string) bool { return k.id != "" && count[named{k.id, a}] > 1 })
	}
	return slices.DeleteFunc(keys, func(k publicKey) bool { return len(k.algorithms) == 0 }), nil
}

// readKey reads one key (RFC 7517 §4); ok is false if it must be left out.
func (r Rules) readKey(m strictjson.Object) (key publicKey, ok bool) {
	id, use, algorithm := m.Text("kid"), m.Text("use"), m.Text("alg")
	switch {
	case m.Has("kid") && id == "", m.Has("alg") && algorithm == "":
		return publicKey{}, false
	case m.Has("use") && use != "sig", m.Has("key_ops") && !slices.Contains(m.Texts("key_ops"), "verify"):
		return publicKey{}, false
	case m.Has("d") || m.Has("k"): // everybody has a private key that is published
		return publicKey{}, false
	case r.Strict && (id == "" || use == "" || algorithm == ""):
		return publicKey{}, false
	}
	public := parsePublic(m)
	allowed := slices.DeleteFunc(slices.Clone(r.Algorithms), func(a string) bool {
		return keyFor(a) != kindOf(public) || algorithm != "" && algorithm != a
	})
	return publicKey{id: id, public: public, algorithms: allowed}, len(allowed) > 0
}

// parsePublic reads the key itself (RFC 7518 §6, RFC 8037 §2) and returns nil if
// it is not usable.
func parsePublic(m strictjson.Object) crypto.PublicKey {
	switch m.Text("kty") + " " + m.Text("crv") {
	case "RSA ":
		return parseRSA(bytesOf(m, "n"), bytesOf(m, "e"))
	case "EC P-256", "EC P-384", "EC P-521":
		curve := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}[m.Text("crv")]
		return parseEC(curve, bytesOf(m, "x"), bytesOf(m, "y"))
	case "OKP Ed25519":
		if x := bytesOf(m, "x"); len(x) == ed25519.PublicKeySize {
			return ed25519.PublicKey(x)
		}
	}
	return nil
}

func parseRSA(n, e []byte) crypto.PublicKey {
	modulus, exponent := new(big.Int).SetBytes(n), new(big.Int).SetBytes(e)
	switch bits := modulus.BitLen(); {
	case bits < minRSA || bits > maxRSA || modulus.Bit(0) == 0:
		return nil
	case exponent.BitLen() > 31 || exponent.Bit(0) == 0 || exponent.Int64() < 3:
		return nil
	}
	return &rsa.PublicKey{N: modulus, E: int(exponent.Int64())}
}

func parseEC(curve elliptic.Curve, x, y []byte) crypto.PublicKey {
	if len(x) != len(y) { // which the whole length does not show
		return nil
	}
	key, err := ecdsa.ParseUncompressedPublicKey(curve, slices.Concat([]byte{4}, x, y))
	if err != nil {
		return nil
	}
	return key
}

// bytesOf decodes a member's text, nil if it cannot be decoded.
func bytesOf(m strictjson.Object, name string) []byte {
	b, _ := decodeBase64(m.Text(name))
	return b
}

// decodeBase64 decodes base64url in its one canonical spelling (RFC 7515 §2).
func decodeBase64(text string) ([]byte, error) {
	if strings.ContainsAny(text, "\r\n") { // which the decoder skips
		return nil, base64.CorruptInputError(0)
	}
	return base64.RawURLEncoding.Strict().DecodeString(text)
}
