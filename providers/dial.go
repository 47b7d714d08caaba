package providers

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"

	"tokend/providers/token"
)

// errInward is why guardedDial refuses a connection.
var errInward = errors.New("its host name resolves to this machine or its link-local network")

// guardedDial returns a dialer of issuers. It refuses names that resolve to
// loopback or link-local addresses: an attacker who controls a name must not get
// credentials sent to a program on this machine or to a cloud's metadata service.
// If you mean loopback, write it: 127.0.0.1, [::1] or localhost. The proxy's host
// may be anywhere.
func guardedDial(proxy string) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		dialer := net.Dialer{Timeout: 5 * time.Second}
		if host != proxy && !token.IsLoopback(host) {
			dialer.Control = refuseInward
		}
		return dialer.DialContext(ctx, network, addr)
	}
}

// refuseInward is a net.Dialer's Control, which sees each address of a name.
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
