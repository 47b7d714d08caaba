package providers

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"

	"tokend/providers/token"
)

// errInward is why a connection to an issuer was not made.
var errInward = errors.New("its host name resolves to this machine or its link-local network")

// A guard dials issuers. Names that lead to loopback or link-local addresses
// are refused: whoever can change what a name means must not have credentials
// sent to a program of this machine or to a cloud's metadata service. Who
// means loopback writes it: 127.0.0.1, [::1] or localhost.
type guard struct {
	dialer net.Dialer
	proxy  string // the proxy's host, which may be anywhere
}

func (g guard) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	dialer := g.dialer
	if host != g.proxy && !token.IsLoopback(host) {
		dialer.Control = refuseInward
	}
	return dialer.DialContext(ctx, network, addr)
}

// refuseInward is a net.Dialer's Control: it sees each address that a name was
// resolved to.
func refuseInward(_, addr string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(addr)
	if err != nil {
		return err
	}
	if ip := at.Addr().Unmap(); ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsUnspecified() || ip.IsMulticast() {
		return errInward
	}
	return nil
}

// proxyHost is where requests to issuers are handed to a proxy, "" if nowhere.
func proxyHost(proxy func(*http.Request) (*url.URL, error)) string {
	if proxy == nil {
		return ""
	}
	u, err := proxy(&http.Request{URL: &url.URL{Scheme: "https", Host: "issuer.invalid"}})
	if err != nil || u == nil {
		return ""
	}
	return u.Hostname()
}
