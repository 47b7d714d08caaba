package providertest

import (
	"crypto/rsa"
	"crypto/sha512"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Datarock is Datarock's API, which answers to requests that are signed. It
// recomputes what must have been signed from what it received, by Datarock's page
// api-docs.prod.datarock.com.au/register.html: the headers, RS256, the text under
// requestHash, five minutes of age and one ahead. What no page says is that of
// jsonwebtoken 9 (Node), which Datarock's example signs with: iat is a whole
// number. How Datarock words a refusal is not published: these words are ours.
type Datarock struct {
	url string

	mu                 sync.Mutex
	keys               map[string]*rsa.PublicKey // by email
	requests, accepted int
	refusal            string
}

// APIURL is below what signed requests open.
func (d *Datarock) APIURL() string { return d.url + "/api/datarock/" }

// Register registers a public key in PEM in place of the account's last one:
// an account has one.
func (d *Datarock) Register(email, publicKey string) error {
	block, _ := pem.Decode([]byte(publicKey))
	if block == nil || block.Type != "PUBLIC KEY" {
		return errors.New("providertest: no public key in PEM")
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return err
	}
	public, ok := key.(*rsa.PublicKey)
	if !ok {
		return errors.New("providertest: no RSA key")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.keys[email] = public
	return nil
}

// Requests counts the requests received.
func (d *Datarock) Requests() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.requests
}

// Accepted counts the requests whose signature was good.
func (d *Datarock) Accepted() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.accepted
}

// Refusal is why the last request that was refused was; "" if none was.
func (d *Datarock) Refusal() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.refusal
}

func (d *Datarock) serve(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	key := d.keys[r.Header.Get("x-api-user")]
	d.mu.Unlock()
	fault := datarockFault(r, key, time.Now())
	d.mu.Lock()
	d.requests++
	if fault == "" {
		d.accepted++
	} else {
		d.refusal = fault
	}
	d.mu.Unlock()
	if fault != "" {
		writeJSON(w, http.StatusUnauthorized, map[string]string{"error": fault})
		return
	}
	if strings.HasSuffix(r.URL.Path, "/v3/projects") { // api-docs.prod.datarock.com.au/getting-started.html
		writeJSON(w, http.StatusOK, []map[string]string{{"uuid": "0ccf3042-de5e-41b5-b344-e1366916d06f", "name": "Example Project"}})
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"path": r.URL.Path, "good": true})
}

// datarockFault judges a request that came over TLS; "" if it is good.
func datarockFault(r *http.Request, key *rsa.PublicKey, now time.Time) string {
	signature := r.Header.Get("Signature")
	header, claims, err := unverified(signature)
	iat, hasIAT := claims.number("iat")
	seconds, _ := claims["iat"].(float64)
	switch {
	case key == nil:
		return "no key is registered for x-api-user"
	case err != nil:
		return "Signature is no JWT"
	case header.text("alg") != "RS256" || !signedBy(signature, "RS256", key):
		return "the signature is not that of the registered key by RS256"
	case !hasIAT || seconds != math.Trunc(seconds):
		return "iat is missing or no whole number"
	case now.Sub(iat) > 5*time.Minute:
		return "iat is more than 5 minutes ago"
	case iat.Sub(now) > time.Minute:
		return "iat is more than a minute ahead"
	}
	text := fmt.Sprintf("%s/%d/https://%s%s", r.Header.Get("x-api-user"), iat.Unix(), r.Host, ordered(r.RequestURI))
	if claims.text("requestHash") != fmt.Sprintf("%x", sha512.Sum512([]byte(text))) {
		return "requestHash is not that of this request"
	}
	return ""
}

// ordered sorts a request's query by its parameters' names.
func ordered(uri string) string {
	path, query, ok := strings.Cut(uri, "?")
	if !ok {
		return path
	}
	name := func(p string) string { n, _, _ := strings.Cut(p, "="); return n }
	parameters := strings.Split(query, "&")
	slices.SortStableFunc(parameters, func(a, b string) int { return strings.Compare(name(a), name(b)) })
	return path + "?" + strings.Join(parameters, "&")
}
