package jose

import (
	"context"
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
	"time"

	"tokend/providers/strictjson"
	"tokend/providers/token"
)

const (
	// keysAge is the age at which keys are fetched again, keysEnd the age at
	// which they are forgotten.
	keysAge = time.Hour
	keysEnd = 24 * time.Hour
	// fetchPause follows every fetch: tokens with invented key IDs must not cause a
	// request each. maxPause bounds a Retry-After.
	fetchPause = 10 * time.Second
	maxPause   = time.Hour
	// fetchLimit bounds a fetch, of metadata and keys together; patience bounds
	// how long a token waits for it while keys are known.
	fetchLimit = 30 * time.Second
	patience   = time.Second
)

func (v *Verifier) snapshot() knownKeys {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.known
}

// knownKeys are what is known at some time.
type knownKeys struct {
	keys []publicKey
	// fetched is when the keys came, zero if never, as a wall-clock time: a
	// monotonic one stands still while a machine sleeps.
	fetched time.Time
	// nextTry is when the next fetch may begin, whatever becomes of the clock.
	nextTry time.Time
	// failure is why the last fetch failed, nil if it did not.
	failure *token.Error
}

// after returns what is known when a fetch has ended. Errors are ErrUnavailable.
func (k knownKeys) after(keys []publicKey, err error) knownKeys {
	now := time.Now()
	k.nextTry = now.Add(fetchPause)
	k.failure, _ = errors.AsType[*token.Error](err)
	switch {
	case err == nil:
		k.keys, k.fetched = keys, now.Round(0)
	case k.failure == nil:
		k.failure = &token.Error{Code: token.ErrUnavailable, Message: err.Error()}
	case k.failure.RetryAt.After(k.nextTry):
		k.nextTry = now.Add(min(k.failure.RetryAt.Sub(now), maxPause))
	}
	if k.failure != nil {
		k.failure.RetryAt = k.nextTry.Round(0)
	}
	return k
}

// find returns the key that a token must be signed with: the only one that fits
// its algorithm, of those with its kid if it has one. It returns any other of that
// kid if there is none, whose algorithm the token's is not.
func (k knownKeys) find(id, algorithm string) (key publicKey, ok bool) {
	found := 0
	for _, candidate := range k.keys {
		switch {
		case id != "" && candidate.id != id:
		case slices.Contains(candidate.algorithms, algorithm):
			key = candidate
			found++
		case id != "" && found == 0:
			key = candidate
		}
	}
	return key, found == 1 || found == 0 && key.public != nil
}

// key returns the key that a token must be signed with. The error is a flaw if
// the issuer has no such key, and ErrUnavailable if it could not be asked.
func (v *Verifier) key(ctx context.Context, id, algorithm string) (publicKey, error) {
	known := v.snapshot()
	if key, found := known.find(id, algorithm); found && time.Since(known.fetched) < keysEnd {
		if age := time.Since(known.fetched); age < 0 || age >= keysAge { // the former if the clock was set back
			v.begin(ctx)
		}
		return key, nil
	}
	known, err := v.fetchAgain(ctx)
	if err != nil {
		return publicKey{}, err
	}
	key, found := known.find(id, algorithm)
	switch {
	case found:
		return key, nil
	case id != "":
		return publicKey{}, Flaw(ReasonUnknownKey, "the issuer has no key %s", Quote(id))
	}
	return publicKey{}, Flaw(ReasonUnknownKey, "the token names no key, and the issuer has not exactly one for %s", Quote(algorithm))
}

// fetchAgain returns the keys after another fetch, if one is allowed, because those
// that are known were not enough. The error is ErrUnavailable if the last fetch
// failed or takes too long.
func (v *Verifier) fetchAgain(ctx context.Context) (knownKeys, error) {
	if flight := v.begin(ctx); flight != nil {
		if time.Since(v.snapshot().fetched) < keysEnd { // or a slow issuer would let a stranger occupy all connections
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, patience)
			defer cancel()
		}
		select {
		case <-flight:
		case <-ctx.Done():
			return knownKeys{}, &token.Error{Code: token.ErrUnavailable, Topic: "timeout", Cause: ctx.Err(),
				Message: v.rules.Issuer + " is slow: its keys are still being fetched"}
		}
	}
	known := v.snapshot()
	if known.failure != nil {
		return knownKeys{}, known.failure
	}
	return known, nil
}

// begin starts a fetch if there is none and the pause is over. It returns the
// current fetch, nil if there is none. The fetch goes on when its caller gives up.
func (v *Verifier) begin(ctx context.Context) <-chan struct{} {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.flight != nil || time.Now().Before(v.known.nextTry) {
		return v.flight
	}
	flight := make(chan struct{})
	v.flight = flight
	go func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchLimit)
		defer cancel()
		keys, err := v.published(ctx)
		v.mu.Lock()
		defer v.mu.Unlock()
		v.known = v.known.after(keys, err)
		v.flight = nil
		close(flight)
	}()
	return flight
}

func (v *Verifier) published(ctx context.Context) (keys []publicKey, err error) {
	sets, err := v.fetch(ctx)
	if err != nil {
		return nil, err
	}
	for _, set := range sets {
		found, err := v.rules.keysIn(set.Keys)
		if err != nil {
			return nil, &token.Error{Code: token.ErrUnavailable, Topic: topicKeys, Message: set.From + " answered with " + err.Error()}
		}
		for i := range found {
			found[i].issuer = set.Issuer
		}
		keys = append(keys, found...)
	}
	return keys, nil
}

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
	var keys []publicKey
	count := map[[2]string]int{} // by kid and algorithm
	for _, text := range raw {
		m, err := strictjson.Parse(text)
		if err != nil {
			continue
		}
		if key, ok := r.readKey(m); ok {
			keys = append(keys, key)
			for _, a := range key.algorithms {
				count[[2]string{key.id, a}]++
			}
		}
	}
	for i := range keys {
		k := &keys[i]
		k.algorithms = slices.DeleteFunc(k.algorithms, func(a string) bool { return k.id != "" && count[[2]string{k.id, a}] > 1 })
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
	case m.Has("d") || m.Has("k"): // a private key that is published is everyone's
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
		x, y := bytesOf(m, "x"), bytesOf(m, "y")
		key, err := ecdsa.ParseUncompressedPublicKey(curve, slices.Concat([]byte{4}, x, y))
		if err == nil && len(x) == len(y) { // which the whole length does not show
			return key
		}
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
