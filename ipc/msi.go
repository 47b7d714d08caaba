package ipc

import (
	"context"
	"encoding/json"
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

// msiAnswer answers it, at once; the endpoint lives as long as the connection.
type msiAnswer struct {
	Endpoint string       `json:"endpoint"`
	Header   token.Secret `json:"header"`
}

// EncodeMSI is the answer to POST /v1/azure-msi. It reveals the header.
func EncodeMSI(endpoint, header string) ([]byte, error) {
	return json.Marshal(map[string]string{"endpoint": endpoint, "header": header})
}

// DecodeMSI reads the body of POST /v1/azure-msi strictly.
func DecodeMSI(body []byte) (MSIRequest, error) {
	var in MSIRequest
	if err := decodeStrict(body, &in); err != nil {
		return in, err
	}
	if len(in.Profiles) == 0 {
		return in, invalid("profiles", "no profile is named")
	}
	for _, name := range in.Profiles {
		if err := CheckName(name); err != nil {
			return in, err
		}
	}
	if (in.Endpoint == "") != (in.Header == "") {
		return in, invalid("header", "endpoint and header go together")
	}
	return in, nil
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
	body, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	conn, err := c.connect(ctx)
	if err != nil {
		return nil, err
	}
	status, answer, err := c.converse(ctx, conn, request("POST", MSIPath, body))
	switch {
	case err != nil:
	case status/100 != 2:
		err = c.refusal(status, answer)
	default:
		var a msiAnswer
		if err = decode(answer, &a); err == nil && (a.Endpoint == "" || a.Header.IsZero()) {
			err = errors.New("an answer without an endpoint")
		}
		if err == nil {
			return &MSILease{a.Endpoint, a.Header, conn}, nil
		}
		err = c.nonsense(err)
	}
	return nil, errors.Join(err, conn.Close())
}

// Wait returns when the lease has ended, or ctx, upon which it closes the
// lease.
func (l *MSILease) Wait(ctx context.Context) {
	stop := context.AfterFunc(ctx, l.conn.interrupt)
	defer stop()
	_, _ = io.Copy(io.Discard, l.conn) // tokend says nothing more
	_ = l.conn.Close()
}
