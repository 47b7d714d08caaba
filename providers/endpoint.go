package providers

import (
	"cmp"
	"context"
	"encoding/base64"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"tokend/providers/token"
)

// endpointSettings are those of every kind that has a token endpoint.
type endpointSettings struct {
	UserAgent       string   `toml:"user_agent" default:"tokend" doc:"User-Agent of the requests to the issuer, and of tokenctl curl"`
	DefaultLifetime duration `toml:"default_lifetime" default:"5m" doc:"how long a token lives when the issuer does not say"`
	TokenType       string   `toml:"token_type" default:"Bearer" doc:"token_type to accept besides Bearer, none for an answer without one"`
	Loopback        bool     `toml:"loopback" sends:"yes" doc:"true if the issuer's host name may resolve to this machine, as that of a local Keycloak"`
	MaxLifetime     duration `toml:"max_lifetime" default:"24h" doc:"how long a token lives at most, whatever the issuer says"`
}

// noTokenType is the TokenType of answers without one.
const noTokenType = "none"

// The grants (RFC 6749 §4.4, RFC 7523 §2.1).
const (
	grantClientCredentials = "client_credentials"
	grantJWTBearer         = "urn:ietf:params:oauth:grant-type:jwt-bearer"
)

// A minter obtains tokens from a token endpoint (RFC 6749 §3.2).
type minter struct {
	grantType string
	// form is the same in each request; aim adds what the token is for, and
	// refuses a target that makes no sense.
	form  map[string]string
	aim   func(url.Values, token.Target) error
	prove prover
	// explain classifies a refusal in the provider's own terms; nil if it has
	// none.
	explain func(*refusal)
	// apis are what the tokens are for, where that follows from the issuer.
	apis []string
	// expires is when the credential does, zero if that is unknown.
	expires time.Time

	// newMinter sets the rest.
	url, host string
	client    *http.Client
	settings  endpointSettings
}

// A prover adds to a request what proves that the client may have the token.
type prover func(context.Context, *request, token.Target) error

// newMinter completes m with the URL of the endpoint, which comes from the setting
// field.
func (s endpointSettings) newMinter(field, text string, env Env, m minter) (any, error) {
	u, err := checkURL(field, text, "#")
	if err = cmp.Or(err, checkUserAgent(s.UserAgent)); err != nil {
		return nil, err
	}
	m.url, m.host, m.client, m.settings = u.String(), u.Host, env.HTTP, s
	return &m, nil
}

// Hosts returns where the tokens may be sent, as far as the provider knows.
func (m *minter) Hosts() []string { return m.apis }

func (m *minter) CredentialExpires() time.Time { return m.expires }

func (m *minter) Mint(ctx context.Context, t token.Target) (token.Token, error) {
	r := &request{form: url.Values{}}
	for name, value := range m.form {
		r.form.Set(name, value)
	}
	r.form.Set("grant_type", m.grantType)
	if err := m.aim(r.form, t); err != nil {
		return token.Token{}, err
	}
	if err := m.prove(ctx, r, t); err != nil {
		return token.Token{}, err
	}
	return m.ask(ctx, r)
}

// checkURL checks the URL of an issuer, which must not contain some characters.
func checkURL(field, text, without string) (*url.URL, error) {
	u, err := url.Parse(text)
	isOwn := err == nil && field == "base_url" && u.Scheme == "http" && token.IsLoopback(u.Hostname()) // a server on this machine
	switch {
	case err != nil || u.Scheme != "https" && !isOwn || u.Hostname() == "":
		return nil, invalid(field, "%s must be a URL that begins with https://%s", field, map[bool]string{true: ", or for a server on this machine http://"}[field == "base_url"])
	case u.User != nil:
		return nil, invalid(field, "%s must not contain a user name or password", field)
	case strings.ContainsAny(text, without):
		return nil, invalid(field, "%s must not contain any of %q", field, without)
	}
	return u, nil
}

func checkUserAgent(text string) error {
	if text == "" || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
		return invalid("user_agent", "user_agent must be printable ASCII")
	}
	return nil
}

// Endpoint returns the URL without its query.
func (m *minter) Endpoint() string {
	u, _, _ := strings.Cut(m.url, "?")
	return u
}

// A request is one token request: its form, and the Authorization header if
// the client authenticates with that.
type request struct {
	form          url.Values
	authorization token.Secret
	// secrets are all that must not come back in any text.
	secrets []token.Secret
}

func (r *request) set(name string, s token.Secret) {
	r.form.Set(name, s.Reveal())
	r.secrets = append(r.secrets, s)
}

// setBasic authenticates with a header, with id and secret form-encoded first
// (RFC 6749 §2.3.1).
func (r *request) setBasic(id string, s token.Secret) {
	pair := url.QueryEscape(id) + ":" + url.QueryEscape(s.Reveal())
	encoded := token.NewSecret(base64.StdEncoding.EncodeToString([]byte(pair)))
	r.authorization = token.NewSecret("Basic " + encoded.Reveal())
	r.secrets = append(r.secrets, s, encoded)
}

// ask makes the round trip of RFC 6749 §5.
func (m *minter) ask(ctx context.Context, r *request) (token.Token, error) {
	quoter := newQuoter(r.secrets)
	out := outgoing{to: m.url, who: m.host, userAgent: m.settings.UserAgent, media: formMedia, body: r.form.Encode(), authorization: r.authorization, loopback: m.settings.Loopback}
	a, err := out.send(m.traceRequest(ctx, r, quoter), m.client)
	if err != nil {
		return token.Token{}, err
	}
	traceAnswer(ctx, a, quoter)
	o, fault := a.object()
	if a.status/100 != 2 || o.Text("error") != "" && o.Text("access_token") == "" {
		return token.Token{}, m.refused(a, o, quoter)
	}
	var t token.Token
	if fault == nil {
		t, fault = m.grant(o, a.received, quoter)
	}
	if fault != nil {
		err := a.unavailable(m.host, a.nonsense(fault))
		if err.Topic == topicTokenType { // which asking again does not change
			err.Code, err.RetryAt = token.ErrRejected, time.Time{}
		}
		return token.Token{}, err
	}
	t.Scope = quoter.redact(t.Scope)
	t.Skew = a.skew()
	return t, nil
}

const formMedia = "application/x-www-form-urlencoded"

// An outgoing request wants plain JSON. It is a POST if it has a body.
type outgoing struct {
	to, userAgent string
	// who names what is asked in errors; the URL if empty.
	who           string
	media, body   string
	authorization token.Secret
	// loopback allows a host name that resolves to this machine.
	loopback bool
}

// send sends the request and reads the answer, up to one byte too many. Errors
// are ErrUnavailable.
func (o outgoing) send(ctx context.Context, client *http.Client) (answer, error) {
	fail := func(err error) (answer, error) {
		return answer{}, unavailable(cmp.Or(o.who, o.to), whyUnreachable(err), context.Cause(ctx))
	}
	if o.loopback {
		ctx = context.WithValue(ctx, loopbackAllowed{}, true)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, o.to, strings.NewReader(o.body))
	if err != nil {
		return fail(err)
	}
	req.Header = http.Header{"Accept": {"application/json"}, "Accept-Encoding": {"identity"}, "User-Agent": {o.userAgent}}
	if o.body != "" {
		req.Method = http.MethodPost
		req.Header.Set("Content-Type", o.media)
	}
	if !o.authorization.IsZero() {
		req.Header.Set("Authorization", o.authorization.Reveal())
	}
	res, err := client.Do(req)
	if err != nil {
		return fail(err)
	}
	defer res.Body.Close()
	received := time.Now().Round(0)
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return fail(err)
	}
	return answer{res.StatusCode, res.Header, body, received}, nil
}

// checkForm refuses extra form fields that the request has anyway.
func checkForm(form map[string]string, own ...string) error {
	for name := range form {
		if name == "" || slices.Contains(own, name) {
			return invalid("form", "form cannot set %q", name)
		}
	}
	return nil
}

// checkScope refuses what is not a scope (RFC 6749 §3.3).
func checkScope(field, scope string) error {
	if strings.ContainsFunc(scope, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }) {
		return invalid(field, "%s %q has characters that a scope cannot have (RFC 6749 §3.3)", field, scope)
	}
	return nil
}

// noTarget refuses a scope or audience that a kind of token does not have.
func noTarget(kind, field, value string) error {
	if value == "" {
		return nil
	}
	return invalid(field, "%s tokens have no %s", kind, field)
}

// noTargets is the aim of providers whose tokens are all alike.
func noTargets(kind string) func(url.Values, token.Target) error {
	return func(_ url.Values, t token.Target) error {
		return cmp.Or(noTarget(kind, "scope", t.Scope), noTarget(kind, "audience", t.Audience))
	}
}
