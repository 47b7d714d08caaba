package providertest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// A publisher signs tokens and publishes its keys; its methods are those of
// the issuers that do.
type publisher struct {
	url        string   // the issuer
	algorithms []string // of the keys that it begins with

	mu       sync.Mutex
	fault    Fault
	requests int
	keys     []publishedKey // the newest of an algorithm last; nil until the first need
}

type publishedKey struct {
	id, algorithm string
	private       crypto.Signer
}

func newPublisher(url string, algorithms ...string) *publisher {
	return &publisher{url: url, algorithms: algorithms}
}

// published are the keys. RSA keys take a while to make, so this waits for the
// first need. p.mu is held.
func (p *publisher) published() []publishedKey {
	if p.keys == nil {
		for _, a := range p.algorithms {
			p.keys = append(p.keys, newPublishedKey(a))
		}
	}
	return p.keys
}

func newPublishedKey(algorithm string) publishedKey {
	key, _, err := newKey(algorithm)
	if err != nil {
		panic(err) // an unknown algorithm, a fault of the test
	}
	return publishedKey{algorithm + "-" + newGUID()[:8], algorithm, key}
}

// Issuer is what its tokens have as iss.
func (p *publisher) Issuer() string { return p.url }

// AddKey makes another key for an algorithm, which signs from now on.
func (p *publisher) AddKey(algorithm string) {
	key := newPublishedKey(algorithm)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = append(p.published(), key)
}

// DropKey withdraws the oldest key.
func (p *publisher) DropKey() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = p.published()[1:]
}

// PublicKey is the key that signs by an algorithm, and its ID.
func (p *publisher) PublicKey(algorithm string) (crypto.PublicKey, string) {
	k := p.newest(algorithm)
	return k.private.Public(), k.id
}

func (p *publisher) newest(algorithm string) publishedKey {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, k := range slices.Backward(p.published()) {
		if k.algorithm == algorithm {
			return k
		}
	}
	panic("providertest: the issuer has no key for " + algorithm) // a fault of the test
}

// Sign signs a token by an algorithm. Its header has alg, typ and kid, its
// claims are iss, sub, iat and exp (an hour); changes to both come on top, nil
// taking a member out. What they say need not make sense.
func (p *publisher) Sign(algorithm string, header, claims map[string]any) (string, error) {
	now := time.Now()
	h, err := json.Marshal(with(map[string]any{"alg": algorithm, "typ": "JWT", "kid": p.newest(algorithm).id}, header))
	if err != nil {
		return "", err
	}
	c, err := json.Marshal(with(map[string]any{"iss": p.url, "sub": "user", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}, claims))
	if err != nil {
		return "", err
	}
	return p.SignText(algorithm, string(h), string(c))
}

// SignText signs a header and a payload as they are, whatever they say, with
// the newest key for an algorithm.
func (p *publisher) SignText(algorithm, header, payload string) (string, error) {
	text := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload))
	method := jwt.GetSigningMethod(algorithm)
	if algorithm == "Ed25519" {
		method = jwt.SigningMethodEdDSA // which RFC 9864 §2.2 renamed
	}
	signature, err := method.Sign(text, p.newest(algorithm).private)
	return text + "." + base64.RawURLEncoding.EncodeToString(signature), err
}

func with(m, changes map[string]any) map[string]any {
	maps.Copy(m, changes)
	maps.DeleteFunc(m, func(_ string, v any) bool { return v == nil })
	return m
}

// Requests counts the requests for metadata and keys, those with faulty
// answers included.
func (p *publisher) Requests() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.requests
}

// Fail answers requests by f, until Heal.
func (p *publisher) Fail(f Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = f
}

// Heal ends a fault.
func (p *publisher) Heal() { p.Fail(nil) }

// answering counts a request and hands it to the fault, if there is one, or to
// the issuer.
func (p *publisher) answering(serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.requests++
		fault := p.fault
		p.mu.Unlock()
		if fault != nil {
			fault(w, r)
			return
		}
		serve(w, r)
	}
}

// metadata serves the members that lead to the keys.
func (p *publisher) metadata(members map[string]any) http.HandlerFunc {
	return p.answering(func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, members) })
}

// jwks serves the keys (RFC 7517 §5).
func (p *publisher) jwks(w http.ResponseWriter, _ *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	set := []map[string]string{}
	for _, k := range p.published() {
		set = append(set, k.jwk())
	}
	writeJSON(w, http.StatusOK, map[string]any{"keys": set})
}

func (k publishedKey) jwk() map[string]string {
	m := map[string]string{"kid": k.id, "use": "sig", "alg": k.algorithm}
	b64 := base64.RawURLEncoding.EncodeToString
	switch public := k.private.Public().(type) {
	case *rsa.PublicKey:
		m["kty"], m["n"], m["e"] = "RSA", b64(public.N.Bytes()), b64(big.NewInt(int64(public.E)).Bytes())
	case *ecdsa.PublicKey:
		point, err := public.Bytes() // 4, x and y
		if err != nil {
			panic(err) // it is a key that was made here
		}
		half := len(point) / 2
		m["kty"], m["crv"], m["x"], m["y"] = "EC", public.Curve.Params().Name, b64(point[1:1+half]), b64(point[1+half:])
	case ed25519.PublicKey:
		m["kty"], m["crv"], m["x"] = "OKP", "Ed25519", b64(public)
	default:
		panic(fmt.Sprintf("providertest: no JWK for %T", public))
	}
	return m
}
