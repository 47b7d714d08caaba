package providers

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"tokend/providers/token"
)

// errInward is why guardedDial refuses a connection.
var errInward = errors.New("its host name resolves to this machine or its link-local network")

const (
	// lookupLimit lets a third name server have its turn after two that are silent:
	// each gets 5 s (resolv.conf(5)).
	lookupLimit  = 12 * time.Second
	connectLimit = 5 * time.Second
)

// guardedDial returns a dialer of issuers. It refuses names that resolve to
// loopback or link-local addresses: an attacker who controls a name must not get
// credentials sent to a program on this machine or to a cloud's metadata service.
// If you mean loopback, write it: 127.0.0.1, [::1] or localhost, or let the profile
// allow it (issuerClient). The proxy's host may be anywhere. resolver looks names up; nil means the system's way.
func guardedDial(proxy string, resolver *net.Resolver) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		// A Dialer's own limit covers lookup and connection together.
		limited, giveUp := context.WithCancel(ctx)
		defer giveUp()
		limit := time.AfterFunc(lookupLimit, giveUp)
		defer limit.Stop()
		var lookedUp atomic.Bool
		dialer := net.Dialer{Resolver: resolver, Control: func(_, addr string, _ syscall.RawConn) error {
			if !lookedUp.Swap(true) {
				limit.Reset(connectLimit)
			}
			if host == proxy || token.IsLoopback(host) {
				return nil
			}
			return refuseInward(addr, ctx.Value(loopbackAllowed{}) != nil)
		}}
		conn, err := dialer.DialContext(limited, network, addr)
		switch {
		case err == nil || limited.Err() == nil || ctx.Err() != nil:
			return conn, err
		case lookedUp.Load():
			return nil, &net.OpError{Op: "dial", Net: network, Err: os.ErrDeadlineExceeded}
		}
		return nil, &net.DNSError{Err: "timeout", Name: host, IsTimeout: true}
	}
}

// refuseInward refuses an address and port of a name that is neither the proxy's nor
// loopback's.
func refuseInward(addr string, loopback bool) error {
	at, err := netip.ParseAddrPort(addr)
	if err != nil {
		return err
	}
	if ip := at.Addr().Unmap(); ip.IsLoopback() && !loopback || ip.IsLinkLocalUnicast() || ip.IsUnspecified() || ip.IsMulticast() {
		return errInward
	}
	return nil
}

// issuerClient returns the client of a profile, whose issuer's name may resolve to loopback
// if it says so.
func issuerClient(env Env, loopback bool) *http.Client {
	if !loopback {
		return env.HTTP
	}
	client := *env.HTTP
	client.Transport = allowLoopback{client.Transport}
	return &client
}

// loopbackAllowed marks the context of a request that allowLoopback sends.
type loopbackAllowed struct{}

type allowLoopback struct{ http.RoundTripper }

func (a allowLoopback) RoundTrip(r *http.Request) (*http.Response, error) {
	return a.RoundTripper.RoundTrip(r.WithContext(context.WithValue(r.Context(), loopbackAllowed{}, true)))
}
