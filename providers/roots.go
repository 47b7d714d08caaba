package providers

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
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
	again   time.Time       // when the authorities were read again
}

// rootsAgain is how far apart failures have the authorities read again.
const rootsAgain = time.Minute

func newTransport(caFile string, config *http.Transport) (*transport, error) {
	t := &transport{caFile: caFile, config: config}
	if caFile == "" {
		return t, nil
	}
	var err error
	if t.pem, err = token.ReadConfig(caFile); err != nil {
		return nil, &token.Error{Code: token.ErrInvalid, Field: "ca_file", Message: "ca_file cannot be read: " + token.FileFault(err), Cause: err}
	}
	if t.pem = authorities(t.pem); !x509.NewCertPool().AppendCertsFromPEM(t.pem) {
		return nil, invalid("ca_file", "%s contains no certificate: it is %s", caFile, cmp.Or(input.What(string(t.pem)), "neither PEM nor DER"))
	}
	return t, nil
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
	switch {
	case t.current == nil:
	case t.current != failed || time.Since(t.again) < rootsAgain:
		return t.current
	default:
		t.again = time.Now()
	}
	next := t.config.Clone()
	next.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: t.roots()}
	t.current = next
	return next
}

// authorities returns the content of a ca_file as PEM.
func authorities(content []byte) []byte {
	text := input.Key(string(content))
	if all, err := x509.ParseCertificates([]byte(text)); err == nil && len(all) > 0 {
		text = jose.EncodeCertificates(all)
	}
	return []byte(text)
}

// roots reads the authorities. t.mu is held.
func (t *transport) roots() *x509.CertPool {
	roots := systemRoots()
	if t.caFile == "" {
		return roots
	}
	if text, err := token.ReadConfig(t.caFile); err == nil && x509.NewCertPool().AppendCertsFromPEM(authorities(text)) {
		t.pem = authorities(text)
	}
	roots.AppendCertsFromPEM(t.pem)
	return roots
}

// The places where crypto/x509 finds the authorities: the first file that is there,
// and all files of the directories.
var (
	rootFiles = []string{
		"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem",
		"/etc/pki/tls/cacert.pem", "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "/etc/ssl/cert.pem",
	}
	rootDirs = []string{"/etc/ssl/certs", "/etc/pki/tls/certs"}
)

// systemRoots reads the system's authorities as they are now. A minimal system has
// none.
func systemRoots() *x509.CertPool {
	if runtime.GOOS != "linux" { // the system verifies, or nothing is known of its places
		if roots, err := x509.SystemCertPool(); err == nil {
			return roots
		}
		return x509.NewCertPool()
	}
	roots, files, dirs := x509.NewCertPool(), rootFiles, rootDirs
	if file := os.Getenv("SSL_CERT_FILE"); file != "" {
		files = []string{file}
	}
	if list := os.Getenv("SSL_CERT_DIR"); list != "" {
		dirs = strings.Split(list, ":")
	}
	for _, file := range files {
		if text, err := os.ReadFile(file); err == nil {
			roots.AppendCertsFromPEM(text)
			break
		}
	}
	for _, dir := range dirs {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			file := filepath.Join(dir, e.Name())
			if e.Type()&fs.ModeSymlink != 0 {
				if to, err := os.Readlink(file); err == nil && !strings.Contains(to, "/") {
					continue // another name of a file in dir: its hash
				}
			}
			if text, err := os.ReadFile(file); err == nil {
				roots.AppendCertsFromPEM(text)
			}
		}
	}
	return roots
}
