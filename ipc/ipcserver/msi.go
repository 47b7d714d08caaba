package ipcserver

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
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

// lendMSI serves POST /v1/azure-msi: it opens an endpoint, says where it is, and
// closes it when the caller hangs up.
func (h *handler) lendMSI(c *call) error {
	in, err := decodeMSI(c.body)
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

	answer := ipc.MSIAnswer{Endpoint: "http://" + e.address() + msiPath, Header: e.secret}
	if err := c.json(http.StatusOK, answer, nil); err != nil {
		return err
	}
	if err := http.NewResponseController(c.w).Flush(); err != nil {
		return nil
	}
	select {
	case <-c.Context().Done():
	case <-h.ending:
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
			return nil, &token.Error{Code: token.ErrInvalid, Field: "profiles", Message: fmt.Sprintf(
				"profile %q is of provider %s; Azure's SDKs need one of %s", name, p.Provider, msiProvider)}
		}
		e.profiles = append(e.profiles, p)
	}
	address := "127.0.0.1:0"
	e.secret = in.Header
	if in.Endpoint != "" {
		var err error
		if address, err = formerAddress(in); err != nil {
			return nil, err
		}
	} else {
		b := make([]byte, msiSecret)
		rand.Read(b) // never fails
		e.secret = hex.EncodeToString(b)
	}
	var err error
	if e.listener, err = net.Listen("tcp4", address); err != nil {
		return nil, &token.Error{Code: token.ErrUnavailable, Message: "no endpoint can be opened on loopback: " + err.Error()}
	}
	return e, nil
}

// formerAddress is the address of an endpoint that is to be opened again.
func formerAddress(in ipc.MSIRequest) (string, error) {
	u, err := url.Parse(in.Endpoint)
	if err != nil || u.Scheme != "http" || u.Hostname() != "127.0.0.1" || u.Path != msiPath {
		return "", &token.Error{Code: token.ErrInvalid, Field: "endpoint", Message: "tokend did not lend this endpoint"}
	}
	if port, err := strconv.ParseUint(u.Port(), 10, 16); err != nil || port < 1024 {
		return "", &token.Error{Code: token.ErrInvalid, Field: "endpoint", Message: "tokend did not lend this endpoint"}
	}
	if b, err := hex.DecodeString(in.Header); err != nil || len(b) != msiSecret {
		return "", &token.Error{Code: token.ErrInvalid, Field: "header", Message: "tokend did not make this header"}
	}
	return u.Host, nil
}

func (e *msi) address() string { return e.listener.Addr().String() }

// An msiError is a refusal. Its status is one that SDKs do not retry.
type msiError struct {
	status            int
	code, description string
}

func (e msiError) Error() string { return e.description }

func (e *msi) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer, err := e.answer(r)
	status := http.StatusOK
	if err != nil {
		refusal := msiError{http.StatusBadRequest, "invalid_request", err.Error()}
		errors.As(err, &refusal)
		status = refusal.status
		answer = map[string]string{"error": refusal.code, "error_description": refusal.description}
	}
	body, err := json.Marshal(answer)
	if err != nil {
		status, body = http.StatusBadRequest, []byte("{}")
	}
	c := &call{Request: r, w: w, times: usualTimes}
	c.send(status, jsonType, body)
}

// answer is what the endpoint says.
func (e *msi) answer(r *http.Request) (map[string]string, error) {
	if err := e.admit(r); err != nil {
		return nil, err
	}
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, msiError{400, "invalid_request", "the query is not in the form name=value&name=value"}
	}
	for name, values := range q {
		if len(values) > 1 {
			return nil, msiError{400, "invalid_request", fmt.Sprintf("%q is given twice", name)}
		}
	}
	resource := q.Get("resource")
	if resource == "" {
		return nil, msiError{400, "invalid_request", "resource is missing"}
	}
	for _, name := range []string{"object_id", "principal_id", "mi_res_id", "msi_res_id"} {
		if q.Has(name) {
			return nil, msiError{400, "invalid_request", "name the identity by its client_id, not by " + name}
		}
	}
	p, target, err := e.pick(resource, q.Get("client_id"))
	if err != nil {
		return nil, err
	}
	g, err := e.backend.Get(r.Context(), p.Name, token.Query{Target: target, MinTTL: msiLife})
	if err != nil {
		wire, _ := wireError(err)
		return nil, msiError{400, string(wire.Code), "tokend: " + wire.Message}
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

// admit lets in callers that know the secret, but no web page.
func (e *msi) admit(r *http.Request) error {
	forbidden := func(why string) error { return msiError{http.StatusForbidden, "forbidden", why} }
	_, port, _ := net.SplitHostPort(e.address())
	switch {
	case r.Host != e.address() && r.Host != "localhost:"+port:
		return forbidden("this endpoint is not for that host")
	case r.Header.Get("Origin") != "" || r.Header.Get("Forwarded") != "":
		return forbidden("this endpoint is not for web pages")
	case r.Header.Get("Sec-Fetch-Site") != "" || r.Header.Get("Referer") != "":
		return forbidden("this endpoint is not for web pages")
	}
	for name := range r.Header {
		if strings.HasPrefix(name, "X-Forwarded-") {
			return forbidden("this endpoint is not for proxies")
		}
	}
	if values := r.Header.Values("X-Identity-Header"); len(values) != 1 ||
		subtle.ConstantTimeCompare([]byte(values[0]), []byte(e.secret)) != 1 {
		return forbidden("the header X-IDENTITY-HEADER is not that of $IDENTITY_HEADER")
	}
	switch {
	case r.URL.Path != msiPath:
		return msiError{400, "invalid_request", "the path is " + msiPath}
	case r.Method != http.MethodGet:
		return msiError{http.StatusMethodNotAllowed, "invalid_request", "the method is GET"}
	}
	return nil
}

// pick finds the profile for a resource, and what to ask it for: the profile
// that is configured for the resource, else the only one that there is, whose
// identity may have a role there too.
func (e *msi) pick(resource, client string) (token.ProfileStatus, token.Target, error) {
	var candidates []token.ProfileStatus
	for _, p := range e.profiles {
		if client == "" || strings.EqualFold(client, p.Settings.Text("client_id")) {
			candidates = append(candidates, p)
		}
	}
	scope := strings.TrimSuffix(resource, "/") + "/.default"
	for _, p := range candidates {
		if own := p.Settings.Text("scope"); own == scope || own == resource+"/.default" {
			return p, token.Target{}, nil
		}
	}
	switch len(candidates) {
	case 0:
		return token.ProfileStatus{}, token.Target{}, msiError{400, "invalid_request",
			fmt.Sprintf("none of the profiles that tokenctl exec --azure-msi names has client_id %q", client)}
	case 1:
		return candidates[0], token.Target{Scope: scope}, nil
	}
	var names []string
	for _, p := range candidates {
		names = append(names, p.Name)
	}
	return token.ProfileStatus{}, token.Target{}, msiError{400, "invalid_request", fmt.Sprintf(
		"none of the profiles %s is for the resource %s; name the identity by its client_id", strings.Join(names, ", "), resource)}
}
