package providers

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"tokend/providers/jose"
	"tokend/providers/token"
	"tokend/providers/token/input"
)

// A transport makes requests over TLS 1.2 or later. It trusts the authorities of the
// system and of ca_file, and reads them again when an issuer's is not among them:
// crypto/x509 reads the system's once in a process.
type transport struct {
	config *http.Transport // without authorities
	caFile string
	pem    []byte // of caFile, when it was last good

	mu      sync.Mutex
	current *http.Transport // nil before the first request
	read    time.Time       // when the authorities were read
}

// rootsAgain is how far apart failures have the authorities read again.
const rootsAgain = time.Minute

func newTransport(caFile string, config *http.Transport) (*transport, error) {
	pem, err := readAuthorities(caFile)
	return &transport{caFile: caFile, config: config, pem: pem}, err
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	used := t.after(nil)
	res, err := used.RoundTrip(r)
	if !is[x509.UnknownAuthorityError](err) { // else nothing was sent
		return res, err
	}
	next := t.after(used)
	if next == used {
		return res, err
	}
	again := r.Clone(r.Context())
	if r.GetBody != nil {
		if again.Body, err = r.GetBody(); err != nil {
			return nil, err
		}
	}
	return next.RoundTrip(again)
}

// after returns what to make a request with, after one made with failed did not find
// the issuer's authority; nil for a first request.
func (t *transport) after(failed *http.Transport) *http.Transport {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current != failed || time.Since(t.read) < rootsAgain {
		return t.current
	}
	if pem, err := readAuthorities(t.caFile); err == nil {
		t.pem = pem
	}
	roots := systemRoots()
	roots.AppendCertsFromPEM(t.pem)
	t.current, t.read = t.config.Clone(), time.Now()
	t.current.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	return t.current
}

// readAuthorities returns the content of a ca_file, if there is one, as PEM.
func readAuthorities(file string) ([]byte, error) {
	if file == "" {
		return nil, nil
	}
	content, err := token.ReadConfig(file)
	if err != nil {
		return nil, &token.Error{Code: token.ErrInvalid, Field: "ca_file", Message: "ca_file cannot be read: " + token.FileFault(err), Cause: err}
	}
	text := input.Key(string(content))
	if all, err := x509.ParseCertificates([]byte(text)); err == nil && len(all) > 0 {
		text = jose.EncodeCertificates(all)
	}
	if !x509.NewCertPool().AppendCertsFromPEM([]byte(text)) {
		return nil, invalid("ca_file", "%s contains no certificate: it is %s", file, cmp.Or(input.What(text), "neither PEM nor DER"))
	}
	return []byte(text), nil
}

// The places where crypto/x509 finds the authorities: the first file that is there,
// and all files of the directories.
var (
	rootFiles = []string{
		"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem",
		"/etc/pki/tls/cacert.pem", "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "/etc/ssl/cert.pem",
	}
	rootDirs = "/etc/ssl/certs:/etc/pki/tls/certs"
)

// systemRoots reads the system's authorities as they are now. A minimal system has
// none.
func systemRoots() *x509.CertPool {
	roots := x509.NewCertPool()
	if runtime.GOOS != "linux" { // the system verifies, or nothing is known of its places
		if system, err := x509.SystemCertPool(); err == nil {
			roots = system
		}
		return roots
	}
	add := func(file string) bool {
		text, err := os.ReadFile(file)
		return err == nil && roots.AppendCertsFromPEM(text)
	}
	files := rootFiles
	if file := os.Getenv("SSL_CERT_FILE"); file != "" {
		files = []string{file}
	}
	for _, file := range files {
		if add(file) {
			break
		}
	}
	for _, dir := range filepath.SplitList(cmp.Or(os.Getenv("SSL_CERT_DIR"), rootDirs)) {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			add(filepath.Join(dir, e.Name()))
		}
	}
	return roots
}
