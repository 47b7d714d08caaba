package providers

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"tokend/providers/jose"
	"tokend/providers/token"
	"tokend/providers/token/input"
)

// NewHTTPClient returns a client for token requests: TLS 1.2 or later, no
// cookies, no compression, a limit for each step. caFile, if it is not empty,
// contains certificates to trust besides the system's. proxyURL (http, https or
// socks5) may be "none", or empty to use HTTPS_PROXY and NO_PROXY as they were at
// the first call in this process. Errors are ErrInvalid with the Field ca_file or
// proxy.
func NewHTTPClient(caFile, proxyURL string) (*http.Client, error) {
	proxy, err := proxyOf(proxyURL)
	if err != nil {
		return nil, err
	}
	pem, err := readAuthorities(caFile)
	if err != nil {
		return nil, err
	}
	config := &http.Transport{
		Proxy:                  proxy,
		OnProxyConnectResponse: refusedByProxy,
		DialContext:            guardedDial(proxyFor(proxy, "https://issuer.invalid").Hostname(), nil),
		TLSHandshakeTimeout:    5 * time.Second,
		ResponseHeaderTimeout:  10 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true,
		// A profile asks about once an hour: an idle connection would be dead
		// by then, or shared by unrelated profiles.
		DisableKeepAlives: true,
	}
	return &http.Client{
		Timeout:   20 * time.Second,
		Transport: &transport{config: config, caFile: caFile, pem: pem},
		// What is sent goes to no other host.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// proxyFor returns the proxy for an issuer's URL, without a host if there is none.
func proxyFor(proxy func(*http.Request) (*url.URL, error), issuer string) *url.URL {
	if u, err := url.Parse(issuer); err == nil && proxy != nil {
		if found, err := proxy(&http.Request{URL: u}); err == nil && found != nil {
			return found
		}
	}
	return &url.URL{}
}

func proxyOf(text string) (func(*http.Request) (*url.URL, error), error) {
	switch text {
	case "none":
		return nil, nil
	case "":
		// net/http drops a setting that does not parse, and asks the issuer directly.
		if env := cmp.Or(os.Getenv("HTTPS_PROXY"), os.Getenv("https_proxy")); env != "" && parseProxy(env) == nil && parseProxy("http://"+env) == nil {
			return nil, invalid("proxy", "HTTPS_PROXY in the environment is not a URL such as http://proxy.example:3128; write %%25, %%23, %%2F and %%40 for %%, #, / and @ in a password")
		}
		return http.ProxyFromEnvironment, nil
	}
	u := parseProxy(text)
	if u == nil {
		return nil, invalid("proxy", "proxy must be a URL with http, https or socks5, such as http://proxy.example:3128, or none")
	}
	return func(r *http.Request) (*url.URL, error) {
		if r.URL.Scheme == "http" { // a server on this machine; a proxy would read along
			return nil, nil
		}
		return u, nil
	}, nil
}

// parseProxy parses a proxy's URL, nil if it is something else. What follows the host
// may be the rest of a password.
func parseProxy(text string) *url.URL {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || strings.Trim(u.Path, "/")+u.RawQuery+u.Fragment != "" ||
		!slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme) {
		return nil
	}
	return u
}

// refusedByProxy is the error for a proxy's answer to CONNECT other than 200.
func refusedByProxy(_ context.Context, _ *url.URL, _ *http.Request, res *http.Response) error {
	if res.StatusCode == http.StatusOK {
		return nil
	}
	return finding{"proxy-refused", "cannot be reached: the proxy answered " + statusText(res.StatusCode)}
}

// statusText returns an HTTP status in the standard's words, not the server's.
func statusText(status int) string {
	return strings.TrimSpace(fmt.Sprint(status, " ", http.StatusText(status)))
}

// errInward is why guardedDial refuses a connection.
var errInward = finding{"inward-address", "was not asked: its host name resolves to this machine or its link-local network"}

const (
	// lookupLimit lets a third name server have its turn after two that are silent:
	// each gets 5 s (resolv.conf(5)).
	lookupLimit  = 12 * time.Second
	connectLimit = 5 * time.Second
	nextAddress  = 300 * time.Millisecond
)

// guardedDial returns a dialer of issuers. It refuses names that resolve to
// loopback or link-local addresses: an attacker who controls a name must not get
// credentials sent to a program on this machine or to a cloud's metadata service.
// If you mean loopback, write it: 127.0.0.1, [::1] or localhost, or let the profile
// allow it (loopbackAllowed). The proxy's host may be anywhere. resolver looks names
// up; nil means the system's way.
func guardedDial(proxy string, resolver *net.Resolver) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		host, port, _ := net.SplitHostPort(addr)
		looking, done := context.WithTimeout(ctx, lookupLimit)
		defer done()
		addresses, err := resolver.LookupNetIP(looking, "ip", host)
		if err != nil {
			return nil, err
		}
		dialer := net.Dialer{Control: func(_, addr string, _ syscall.RawConn) error {
			if host == proxy || token.IsLoopback(host) {
				return nil
			}
			return refuseInward(addr, ctx.Value(loopbackAllowed{}) != nil)
		}}
		return firstOf(ctx, len(addresses), func(ctx context.Context, i int) (net.Conn, error) {
			return dialer.DialContext(ctx, network, net.JoinHostPort(addresses[i].Unmap().String(), port))
		})
	}
}

// firstOf returns the first connection of n dials. Each dial begins when the one
// before has failed, or has been silent for a while (RFC 8305).
func firstOf(ctx context.Context, n int, dial func(context.Context, int) (net.Conn, error)) (net.Conn, error) {
	ctx, giveUp := context.WithTimeout(ctx, connectLimit)
	defer giveUp()
	conns, errs, first := make(chan net.Conn), make(chan error, n), error(nil)
	for begun, failed := 0, 0; failed < n; {
		if begun < n {
			go func(i int) {
				conn, err := dial(ctx, i)
				if err != nil {
					errs <- err
					return
				}
				select {
				case conns <- conn:
				case <-ctx.Done(): // another one was first
					_ = conn.Close()
				}
			}(begun)
			begun++
		}
		select {
		case conn := <-conns:
			return conn, nil
		case err := <-errs:
			first = cmp.Or(first, err)
			failed++
		case <-time.After(nextAddress):
		}
	}
	return nil, first
}

// refuseInward refuses an address and port of a name that is neither the proxy's nor
// loopback's.
func refuseInward(addr string, loopback bool) error {
	at, err := netip.ParseAddrPort(addr)
	if ip := at.Addr().Unmap(); err != nil || ip.IsLoopback() && !loopback || ip.IsLinkLocalUnicast() || ip.IsUnspecified() || ip.IsMulticast() {
		return errInward
	}
	return nil
}

// loopbackAllowed marks the context of a request of a profile with loopback = true.
type loopbackAllowed struct{}

// A Sighting is what a request without a credential shows of an issuer.
type Sighting struct {
	// Took is how long the answer took, with DNS, connection and TLS.
	Took time.Duration
	// TLS is the protocol's version, such as "TLS 1.3", empty without TLS.
	TLS string
	// Skew is the issuer's clock minus ours, zero if its answer has no Date.
	Skew time.Duration
}

// See sends a HEAD request to the host of an issuer's URL, without a credential.
// Any answer shows that it is there. Errors are ErrUnavailable with a topic.
func See(ctx context.Context, client *http.Client, issuer string) (Sighting, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, issuer, nil)
	if err != nil {
		return Sighting{}, invalid("", "%q is not a URL", issuer)
	}
	req.URL = &url.URL{Scheme: req.URL.Scheme, Host: req.URL.Host, Path: "/"}
	began := time.Now()
	res, err := client.Do(req)
	if err != nil {
		return Sighting{}, unavailable(req.URL.Host, whyUnreachable(err), err)
	}
	_ = res.Body.Close() // a HEAD has none
	seen := Sighting{Took: time.Since(began), Skew: answer{header: res.Header, received: time.Now().Round(0)}.skew()}
	if res.TLS != nil {
		seen.TLS = tls.VersionName(res.TLS.Version)
	}
	return seen, nil
}

// ProxyFor returns the proxy that client uses for an issuer: scheme, host and
// port, without the user; "" if there is none.
func ProxyFor(client *http.Client, issuer string) string {
	of, ok := client.Transport.(*transport)
	if !ok {
		return ""
	}
	proxy := proxyFor(of.config.Proxy, issuer)
	return (&url.URL{Scheme: proxy.Scheme, Host: proxy.Host}).String()
}

// A transport makes requests over TLS 1.2 or later. It trusts the authorities of the
// system and of ca_file, and reads them again when an issuer's is not among them, or
// has expired there: crypto/x509 reads the system's once in a process.
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

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	used := t.after(nil)
	res, err := used.RoundTrip(r)
	if !is[*tls.CertificateVerificationError](err) { // else nothing was sent
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
