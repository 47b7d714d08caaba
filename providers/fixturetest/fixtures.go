// Package fixturetest has what the tests of several packages need besides the issuers of
// providertest.
package fixturetest

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"time"
)

// InProcess returns a client that asks a handler without a network and follows no
// redirect, so that a test can have a time of its own (testing/synctest).
func InProcess(handler http.Handler) *http.Client {
	never := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &http.Client{CheckRedirect: never, Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		if err := r.Context().Err(); err != nil {
			return nil, err
		}
		sent := *r.URL
		sent.Fragment, sent.RawFragment = "", ""
		in := httptest.NewRequest(r.Method, sent.String(), r.Body).WithContext(r.Context())
		in.Header, in.RequestURI = r.Header, r.URL.RequestURI()
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, in)
		return w.Result(), nil
	})}
}

type roundTrip func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// PEM returns a block of PEM.
func PEM(blockType string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: blockType, Bytes: der}))
}

// SelfSigned makes a certificate for a key that ends at until, and its PEM.
func SelfSigned(key crypto.Signer, until time.Time) (*x509.Certificate, string, error) {
	draft := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: until.Add(-48 * time.Hour), NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, draft, draft, key.Public(), key)
	if err != nil {
		return nil, "", err
	}
	made, err := x509.ParseCertificate(der)
	return made, PEM("CERTIFICATE", der), err
}
