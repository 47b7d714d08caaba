package ipcserver

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"tokend/ipc"
	"tokend/providers/token"
)

// A managed identity's endpoint as Azure App Service has it (the REST protocol
// of "How to use managed identities for App Service"), for one program and for
// as long as that runs.
//
// It listens on 127.0.0.1, where the kernel does not say who calls. A random
// header guards it that only the program knows, from its environment: programs
// that can read that, which are the user's own, can use it. Web pages cannot: they
// cannot set the header, and their Host and Origin are refused. Nothing outside
// this machine reaches the address.

const (
	// maxLeases is how many endpoints there are at a time.
	maxLeases = 64
	// maxGuests is how many connections an endpoint has at a time.
	maxGuests = 32
	// msiLife is the least life that Azure's SDKs take for usable.
	msiLife = 5 * time.Minute
	// msiPath is where SDKs ask; they know the whole URL.
	msiPath = "/msi/token"
	// msiProvider is the kind of profile whose tokens Azure's SDKs can use.
	msiProvider = "azure"
	// msiSecret is the length of the header in bytes, before hex.
	msiSecret = 32
)

// lendMSI serves POST /v1/azure-msi: it opens an endpoint, says where it is, and
// closes it when the caller hangs up.
func (h *handler) lendMSI(c *call, in ipc.MSIRequest) (any, error) {
	owner := c.Context().Value(connKey{}).(*conn)
	if !h.leases.take(owner) {
		return nil, &token.Error{Code: token.ErrUnavailable, Message: "tokend has no endpoint left, or none for this user"}
	}
	defer h.leases.giveBack(owner)
	e, l, err := h.openMSI(c.Context(), in)
	if err != nil {
		return nil, err
	}
	srv := newServer(c.Context(), e, h.times, guestKey{})
	var serving sync.WaitGroup
	serving.Go(func() { _ = srv.Serve(LimitLoopback(l, maxGuests)) })
	defer func() { _ = srv.Close(); serving.Wait() }()

	kind, body, _ := encode(ipc.MSIAnswer{Endpoint: e.url(), Header: e.secret}) // text always has a JSON form
	c.send(http.StatusOK, kind, body)
	if c.sendPart(nil) {
		select {
		case <-c.Context().Done():
		case <-h.ending.Done():
		}
	}
	return nil, nil
}

type guestKey struct{}

// An msi is one endpoint.
type msi struct {
	h               *handler
	profiles        []token.ProfileStatus
	address, secret string
}

// openMSI opens an endpoint for the profiles, or opens one again that was lost.
func (h *handler) openMSI(ctx context.Context, in ipc.MSIRequest) (*msi, net.Listener, error) {
	e := &msi{h: h, address: "127.0.0.1:0", secret: in.Header}
	if len(in.Profiles) == 0 {
		return nil, nil, invalid("profiles", "no profile is named")
	}
	for _, name := range in.Profiles {
		p, err := h.backend.Profile(ctx, name)
		if err != nil {
			return nil, nil, err
		}
		if p.Provider != msiProvider {
			return nil, nil, invalid("profiles", "profile %q is of provider %s; Azure's SDKs need one of %s", name, p.Provider, msiProvider)
		}
		e.profiles = append(e.profiles, p)
	}
	if in.Endpoint == "" && in.Header == "" {
		b := make([]byte, msiSecret)
		rand.Read(b) // never fails
		e.secret = hex.EncodeToString(b)
	} else if err := e.reopen(in.Endpoint); err != nil {
		return nil, nil, err
	}
	l, err := net.Listen("tcp4", e.address)
	if err != nil {
		return nil, nil, &token.Error{Code: token.ErrUnavailable, Message: "no endpoint can be opened on loopback: " + err.Error()}
	}
	e.address = l.Addr().String()
	return e, l, nil
}

// reopen takes the address of an endpoint that is to be opened again.
func (e *msi) reopen(endpoint string) error {
	if b, err := hex.DecodeString(e.secret); err != nil || len(b) != msiSecret {
		return invalid("header", "tokend did not make this header")
	}
	e.address = strings.TrimSuffix(strings.TrimPrefix(endpoint, "http://"), msiPath)
	port, err := strconv.ParseUint(strings.TrimPrefix(e.address, "127.0.0.1:"), 10, 16)
	if err != nil || port < 1024 || endpoint != e.url() {
		return invalid("endpoint", "tokend did not lend this endpoint")
	}
	return nil
}

func (e *msi) url() string { return "http://" + e.address + msiPath }

// ServeHTTP answers a program. SDKs retry none of the statuses of a refusal.
func (e *msi) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	status, answer, err := http.StatusForbidden, map[string]string(nil), e.admit(r)
	switch {
	case err != nil:
	case r.Method != http.MethodGet:
		status, err = http.StatusMethodNotAllowed, invalid("method", "the method is GET")
	default:
		status = http.StatusOK
		if answer, err = e.token(r); err != nil {
			status = http.StatusBadRequest
		}
	}
	if err != nil {
		wire, _ := wireError(err)
		answer = map[string]string{"error": string(wire.Code), "error_description": "tokend: " + wire.Message}
	}
	kind, body, _ := encode(answer)
	(&call{h: e.h, w: w}).send(status, kind, body)
}

// admit lets in callers that know the secret, but no web page and no proxy.
func (e *msi) admit(r *http.Request) error {
	_, port, _ := net.SplitHostPort(e.address)
	foreign := r.Host != e.address && r.Host != "localhost:"+port
	for name := range r.Header {
		foreign = foreign || strings.HasPrefix(name, "X-Forwarded-") ||
			slices.Contains([]string{"Origin", "Referer", "Forwarded", "Sec-Fetch-Site"}, name)
	}
	values := r.Header.Values("X-Identity-Header")
	switch {
	case foreign:
		return &token.Error{Code: token.ErrDenied, Message: "this endpoint is not for other hosts, web pages or proxies"}
	case len(values) != 1 || subtle.ConstantTimeCompare([]byte(values[0]), []byte(e.secret)) != 1:
		return &token.Error{Code: token.ErrDenied, Message: "the header X-IDENTITY-HEADER is not that of $IDENTITY_HEADER"}
	}
	if g, ok := r.Context().Value(guestKey{}).(*conn); ok {
		g.proven.Store(true)
	}
	return nil
}

// token returns the answer to a program that may ask.
func (e *msi) token(r *http.Request) (map[string]string, error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, errQuery
	}
	for name, values := range q {
		switch name {
		case "object_id", "principal_id", "mi_res_id", "msi_res_id":
			return nil, invalid(name, "name the identity by its client_id, not by %s", name)
		}
		if len(values) > 1 {
			return nil, invalid(name, "%q is given twice", name)
		}
	}
	resource := q.Get("resource")
	switch {
	case r.URL.Path != msiPath:
		return nil, invalid("path", "the path is %s", msiPath)
	case resource == "":
		return nil, invalid("resource", "resource is missing")
	}
	p, target, err := e.pick(resource, q.Get("client_id"))
	if err != nil {
		return nil, err
	}
	g, err := e.h.backend.Get(r.Context(), p.Name, token.Query{Target: target, MinTTL: msiLife})
	e.h.audit(r.Context(), token.AuditEntry{Do: "get", Profile: p.Name, Target: target}, err)
	if err != nil {
		return nil, err
	}
	answer := map[string]string{
		"access_token": g.Secret.Reveal(), "token_type": "Bearer", "resource": resource,
		"expires_on": strconv.FormatInt(g.Expiry.Unix(), 10),
		"expires_in": strconv.FormatInt(int64(time.Until(g.Expiry)/time.Second), 10),
	}
	if id := p.Settings.Text("client_id"); id != "" {
		answer["client_id"] = id
	}
	return answer, nil
}

// pick finds the profile for a resource, and what to ask it for: the profile, or one of
// its resources (as NAME/RESOURCE), that is configured for the resource, else the only
// profile that there is, whose identity may have a role there too.
func (e *msi) pick(resource, client string) (p token.ProfileStatus, target token.Target, err error) {
	var candidates []token.ProfileStatus
	scope := resource + "/.default" // an identifier: a slash at its end belongs to it
	for _, p := range e.profiles {
		if client != "" && !strings.EqualFold(client, p.Settings.Text("client_id")) {
			continue
		}
		if p.Settings.Text("scope") == scope {
			return p, target, nil
		}
		for _, r := range p.Resources {
			if r.Settings.Text("scope") == scope {
				p.Name += "/" + r.Name
				return p, target, nil
			}
		}
		candidates = append(candidates, p)
	}
	switch len(candidates) {
	case 0:
		return p, target, invalid("client_id", "none of the profiles that tokenctl exec --azure-msi names has client_id %q", client)
	case 1:
		return candidates[0], token.Target{Scope: scope}, nil
	}
	return p, target, invalid("client_id", "%d profiles could be meant, and none is for the resource %s; name the identity by its client_id", len(candidates), resource)
}
