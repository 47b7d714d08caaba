package providers

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"
)

// HTTPConfig says how to reach issuers. The zero value is a good one.
type HTTPConfig struct {
	// CAFile contains certificates in PEM to trust besides the system's.
	CAFile string
	// Proxy is the proxy's URL (http, https or socks5), "none", or empty to use
	// HTTPS_PROXY and NO_PROXY as they were at the first call of NewHTTPClient in
	// this process.
	Proxy string
	// Timeout bounds a request as a whole; zero means 20 s.
	Timeout time.Duration
}

// NewHTTPClient returns a client for token requests: TLS 1.2 or later, no
// cookies, no compression, a limit for each step. Errors are
// ErrInvalid with the Field ca_file or proxy.
func NewHTTPClient(c HTTPConfig) (*http.Client, error) {
	proxy, err := proxyOf(c.Proxy)
	if err != nil {
		return nil, err
	}
	transport, err := newTransport(c.CAFile, &http.Transport{
		Proxy:                  proxy,
		OnProxyConnectResponse: refusedByProxy,
		DialContext:            guardedDial(proxyFor(proxy, anyIssuer).Hostname(), nil),
		TLSHandshakeTimeout:    5 * time.Second,
		ResponseHeaderTimeout:  10 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true,
		// A profile asks about once an hour: an idle connection would be dead
		// by then, or shared by unrelated profiles.
		DisableKeepAlives: true,
	})
	if err != nil {
		return nil, err
	}
	return &http.Client{Timeout: cmp.Or(c.Timeout, 20*time.Second), Transport: transport}, nil
}

// anyIssuer stands for the issuers where one proxy is for all of them.
const anyIssuer = "https://issuer.invalid"

// proxyFor returns the proxy for an issuer's URL, without a host if there is none.
func proxyFor(proxy func(*http.Request) (*url.URL, error), issuer string) *url.URL {
	u, err := url.Parse(issuer)
	if err != nil || proxy == nil {
		return &url.URL{}
	}
	if found, err := proxy(&http.Request{URL: u}); err == nil && found != nil {
		return found
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

// A proxyRefusal is a proxy's answer to CONNECT other than 200.
type proxyRefusal struct{ status int }

func (p *proxyRefusal) Error() string {
	return fmt.Sprintf("the proxy answered %s", statusText(p.status))
}

func refusedByProxy(_ context.Context, _ *url.URL, _ *http.Request, res *http.Response) error {
	if res.StatusCode == http.StatusOK {
		return nil
	}
	return &proxyRefusal{res.StatusCode}
}

// statusText returns an HTTP status in the standard's words, not the server's.
func statusText(status int) string {
	if text := http.StatusText(status); text != "" {
		return fmt.Sprintf("%d %s", status, text)
	}
	return fmt.Sprintf("HTTP status %d", status)
}
