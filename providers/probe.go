package providers

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/url"
	"time"
)

// A Sighting is what a request without a credential shows of an issuer.
type Sighting struct {
	// Took is how long the answer took, with DNS, connection and TLS.
	Took time.Duration
	// TLS is the protocol's version, such as "TLS 1.3", empty without TLS.
	TLS string
	// Skew is the issuer's clock minus ours, if its answer has a Date (Dated).
	Skew  time.Duration
	Dated bool
}

// See sends a HEAD request to the host of an issuer's URL, without a credential.
// Any answer shows that it is there. Errors are ErrUnavailable with a topic.
func See(ctx context.Context, client *http.Client, issuer string) (Sighting, error) {
	u, err := url.Parse(issuer)
	if err != nil || u.Host == "" {
		return Sighting{}, invalid("", "%q is not a URL", issuer)
	}
	front := url.URL{Scheme: u.Scheme, Host: u.Host, Path: "/"}
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, front.String(), nil)
	if err != nil {
		return Sighting{}, err
	}
	began := time.Now()
	res, err := withoutRedirects(client).Do(req)
	if err != nil {
		return Sighting{}, unavailable(u.Host, whyUnreachable(err), err)
	}
	_ = res.Body.Close() // a HEAD has none
	seen := Sighting{Took: time.Since(began), Dated: res.Header.Get("Date") != ""}
	seen.Skew = answer{header: res.Header, received: time.Now().Round(0)}.skew()
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
	if proxy.Host == "" {
		return ""
	}
	return (&url.URL{Scheme: proxy.Scheme, Host: proxy.Host}).String()
}
