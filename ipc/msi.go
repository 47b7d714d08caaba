package ipc

import (
	"context"
	"errors"
	"io"

	"tokend/providers/token"
)

// MSIPath is the route that lends an endpoint of a managed identity.
const MSIPath = "/v1/azure-msi"

// An MSIRequest is the body of POST /v1/azure-msi.
type MSIRequest struct {
	// Profiles are those whose tokens the endpoint hands out.
	Profiles []string `json:"profiles"`
	// Endpoint and Header are those of a lease that was lost with a tokend
	// that ended; empty for a new one.
	Endpoint string `json:"endpoint,omitempty"`
	Header   string `json:"header,omitempty"`
}

// An MSIAnswer answers it at once; the endpoint lives as long as the connection.
// It holds a secret in the open.
type MSIAnswer struct {
	Endpoint string `json:"endpoint"`
	Header   string `json:"header"`
}

// An MSILease is an endpoint of a managed identity as Azure App Service has
// it, which tokend serves on loopback until the lease is closed.
type MSILease struct {
	// Endpoint is the URL for $IDENTITY_ENDPOINT, Header the secret for
	// $IDENTITY_HEADER.
	Endpoint string
	Header   token.Secret
	conn     connection
}

// LeaseMSI has the daemon serve such an endpoint. The lease ends when it is
// closed, with this process, and with the daemon.
func (c *Client) LeaseMSI(ctx context.Context, r MSIRequest) (*MSILease, error) {
	a, err := c.open(ctx, call{method: "POST", path: MSIPath, body: r})
	if err != nil {
		return nil, err
	}
	var lent MSIAnswer
	err = a.decode(ctx, &lent)
	if err == nil && (lent.Endpoint == "" || lent.Header == "") {
		err = c.nonsense(errors.New("an answer without an endpoint"))
	}
	if err != nil {
		return nil, errors.Join(err, a.conn.Close())
	}
	return &MSILease{lent.Endpoint, token.NewSecret(lent.Header), a.conn}, nil
}

// Wait returns when the lease has ended, or ctx, upon which it closes the
// lease.
func (l *MSILease) Wait(ctx context.Context) {
	defer context.AfterFunc(ctx, l.conn.interrupt)()
	l.conn.timeout(0)
	_, _ = io.Copy(io.Discard, l.conn) // tokend says nothing more
	_ = l.conn.Close()
}
