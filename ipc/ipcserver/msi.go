package ipcserver

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
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
// that can read that, which are the user's own, can use it. Web pages cannot: they cannot set the header, and their Host and Origin
// are refused. Nothing outside this machine reaches the address.

const (
	// maxLeases is how many endpoints there are at a time.
	maxLeases = 64
	// msiLife is the least life that Azure's SDKs take for usable.
	msiLife = 5 * time.Minute
	// msiPath is where SDKs ask; they know the whole URL.
	msiPath = "/msi/token"
	// msiProvider is the kind of profile whose tokens Azure's SDKs can use.
	msiProvider = "azure"
	// msiSecret is the length of the header in bytes, before hex.
	msiSecret = 32
)

// checkMSI refuses a request for an endpoint that makes no sense.
func checkMSI(in ipc.MSIRequest) error {
	if len(in.Profiles) == 0 {
		return invalid("profiles", "no profile is named")
	}
	for _, name := range in.Profiles {
		if err := token.CheckName(name); err != nil {
			return err
		}
	}
	if (in.Endpoint == "") != (in.Header == "") {
		return invalid("header", "endpoint and header go together")
	}
	return nil
}

// lendMSI serves POST /v1/azure-msi: it opens an endpoint, says where it is, and
// closes it when the caller hangs up.
func (h *handler) lendMSI(c *call) error {
	in, err := decode(c.body, checkMSI)
	if err != nil {
		return err
	}
	select {
	case h.leases <- struct{}{}:
		defer func() { <-h.leases }()
	default:
		return &token.Error{Code: token.ErrUnavailable, Message: fmt.Sprintf("%d endpoints are lent already", maxLeases)}
	}
	e, err := h.newMSI(c.Context(), in)
	if err != nil {
		return err
	}
	srv := &http.Server{
		Handler: e, ReadHeaderTimeout: h.times.head, IdleTimeout: h.times.idle, WriteTimeout: time.Minute,
		MaxHeaderBytes: maxHead, DisableGeneralOptionsHandler: true,
		BaseContext: func(net.Listener) context.Context { return c.Context() },
		ErrorLog:    slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), // what strangers on loopback send
	}
	served := make(chan struct{})
	go func() { _ = srv.Serve(e.listener); close(served) }()
	defer func() { _ = srv.Close(); <-served }()

	if err := c.json(ipc.MSIAnswer{Endpoint: "http://" + e.address() + msiPath, Header: e.secret}, nil); err != nil {
		return err
	}
	if err := http.NewResponseController(c.w).Flush(); err != nil {
		return nil
	}
	select {
	case <-c.Context().Done():
	case <-h.ending.Done():
	}
	return nil
}

// An msi is one endpoint.
type msi struct {
	backend  Backend
	profiles []token.ProfileStatus
	listener net.Listener
	secret   string
}

// newMSI opens an endpoint for the profiles, or opens one again that was lost.
func (h *handler) newMSI(ctx context.Context, in ipc.MSIRequest) (*msi, error) {
	e := &msi{backend: h.backend}
	for _, name := range in.Profiles {
		p, err := h.backend.Profile(ctx, name)
		if err != nil {
			return nil, err
		}
		if p.Provider != msiProvider {
			return nil, invalid("profiles", "profile %q is of provider %s; Azure's SDKs need one of %s", name, p.Provider, msiProvider)
		}
		e.profiles = append(e.profiles, p)
	}
	address, err := "127.0.0.1:0", error(nil)
	if e.secret = in.Header; e.secret == "" {
		b := make([]byte, msiSecret)
		rand.Read(b) // never fails
		e.secret = hex.EncodeToString(b)
	} else if address, err = formerAddress(in); err != nil {
		return nil, err
	}
	if e.listener, err = net.Listen("tcp4", address); err != nil {
		return nil, &token.Error{Code: token.ErrUnavailable, Message: "no endpoint can be opened on loopback: " + err.Error()}
	}
	return e, nil
}

// formerAddress is the address of an endpoint that is to be opened again.
func formerAddress(in ipc.MSIRequest) (string, error) {
	if b, err := hex.DecodeString(in.Header); err != nil || len(b) != msiSecret {
		return "", invalid("header", "tokend did not make this header")
	}
	u, err := url.Parse(in.Endpoint)
	if err == nil && u.Scheme == "http" && u.Hostname() == "127.0.0.1" && u.Path == msiPath {
		if port, err := strconv.ParseUint(u.Port(), 10, 16); err == nil && port >= 1024 {
			return u.Host, nil
		}
	}
	return "", invalid("endpoint", "tokend did not lend this endpoint")
}

func (e *msi) address() string { return e.listener.Addr().String() }

// An msiError is a refusal. Its status is one that SDKs do not retry.
type msiError struct {
	status            int
	code, description string
}

func (e msiError) Error() string { return e.description }

func badMSI(format string, args ...any) error {
	return msiError{http.StatusBadRequest, "invalid_request", fmt.Sprintf(format, args...)}
}

func (e *msi) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{Request: r, w: w}
	answer, err := e.answer(r)
	if refusal := (msiError{}); errors.As(err, &refusal) {
		_ = c.answer(refusal.status, map[string]string{"error": refusal.code, "error_description": refusal.description}, nil)
		return
	}
	_ = c.json(answer, nil) // text always has a JSON form
}

// answer is what the endpoint says. Its errors are msiErrors.
func (e *msi) answer(r *http.Request) (map[string]string, error) {
	if err := e.admit(r); err != nil {
		return nil, err
	}
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, badMSI("the query is not in the form name=value&name=value")
	}
	for name, values := range q {
		if len(values) > 1 {
			return nil, badMSI("%q is given twice", name)
		}
	}
	resource := q.Get("resource")
	if resource == "" {
		return nil, badMSI("resource is missing")
	}
	for _, name := range []string{"object_id", "principal_id", "mi_res_id", "msi_res_id"} {
		if q.Has(name) {
			return nil, badMSI("name the identity by its client_id, not by %s", name)
		}
	}
	p, target, err := e.pick(resource, q.Get("client_id"))
	if err != nil {
		return nil, err
	}
	g, err := e.backend.Get(r.Context(), p.Name, token.Query{Target: target, MinTTL: msiLife})
	if err != nil {
		wire, _ := wireError(err)
		return nil, msiError{http.StatusBadRequest, string(wire.Code), "tokend: " + wire.Message}
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

// admit lets in callers that know the secret, but no web page and no proxy.
func (e *msi) admit(r *http.Request) error {
	_, port, _ := net.SplitHostPort(e.address())
	foreign := r.Host != e.address() && r.Host != "localhost:"+port
	for name := range r.Header {
		switch {
		case name == "Origin", name == "Referer", name == "Forwarded", name == "Sec-Fetch-Site", strings.HasPrefix(name, "X-Forwarded-"):
			foreign = true
		}
	}
	values := r.Header.Values("X-Identity-Header")
	switch {
	case foreign:
		return msiError{http.StatusForbidden, "forbidden", "this endpoint is not for other hosts, web pages or proxies"}
	case len(values) != 1 || subtle.ConstantTimeCompare([]byte(values[0]), []byte(e.secret)) != 1:
		return msiError{http.StatusForbidden, "forbidden", "the header X-IDENTITY-HEADER is not that of $IDENTITY_HEADER"}
	case r.URL.Path != msiPath:
		return badMSI("the path is %s", msiPath)
	case r.Method != http.MethodGet:
		return msiError{http.StatusMethodNotAllowed, "invalid_request", "the method is GET"}
	}
	return nil
}

// pick finds the profile for a resource, and what to ask it for: the profile
// that is configured for the resource, else the only one that there is, whose
// identity may have a role there too.
func (e *msi) pick(resource, client string) (p token.ProfileStatus, target token.Target, err error) {
	var candidates []token.ProfileStatus
	var names []string
	for _, p := range e.profiles {
		if client == "" || strings.EqualFold(client, p.Settings.Text("client_id")) {
			candidates, names = append(candidates, p), append(names, p.Name)
		}
	}
	scope := strings.TrimSuffix(resource, "/") + "/.default"
	for _, p := range candidates {
		if own := p.Settings.Text("scope"); own == scope || own == resource+"/.default" {
			return p, target, nil
		}
	}
	switch len(candidates) {
	case 0:
		return p, target, badMSI("none of the profiles that tokenctl exec --azure-msi names has client_id %q", client)
	case 1:
		return candidates[0], token.Target{Scope: scope}, nil
	}
	return p, target, badMSI("none of the profiles %s is for the resource %s; name the identity by its client_id", strings.Join(names, ", "), resource)
}
