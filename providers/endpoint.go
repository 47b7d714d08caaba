package providers

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unique"

	"tokend/providers/token"
)

// endpointSettings are those of every kind that has a token endpoint.
type endpointSettings struct {
	UserAgent       string   `toml:"user_agent" default:"tokend" doc:"User-Agent of the requests to the issuer"`
	DefaultLifetime duration `toml:"default_lifetime" default:"5m" doc:"how long a token lives when the issuer does not say"`
	MaxLifetime     duration `toml:"max_lifetime" default:"24h" doc:"how long a token lives at most, whatever the issuer says"`
}

// An endpoint is a token endpoint (RFC 6749 §3.2).
type endpoint struct {
	url      unique.Handle[string] // thousands of profiles may have the same
	client   *http.Client
	settings endpointSettings
	// explain words a refusal in the provider's own terms; nil if it has none.
	explain func(refusal) explanation
	// api is what the tokens are for, where that follows from the issuer.
	api string
}

// Hosts are where the tokens may be sent, as far as the provider knows.
func (e *endpoint) Hosts() []string {
	if e.api == "" {
		return nil
	}
	return []string{e.api}
}

// newEndpoint checks the URL, which comes from the setting field.
func newEndpoint(field, text string, s endpointSettings, env Env) (*endpoint, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "":
		return nil, invalid(field, "%s must be a URL such as https://issuer.example/oauth2/token", field)
	case u.Scheme != "https":
		return nil, invalid(field, "%s must begin with https://, because a credential goes there", field)
	case u.User != nil:
		return nil, invalid(field, "%s must hold no user name or password", field)
	case u.Fragment != "" || strings.Contains(text, "#"):
		return nil, invalid(field, "%s must not hold a '#' (RFC 6749 §3.2)", field)
	}
	if err := checkUserAgent(s.UserAgent); err != nil {
		return nil, err
	}
	return &endpoint{url: unique.Make(u.String()), client: env.HTTP, settings: s}, nil
}

func checkUserAgent(text string) error {
	if text == "" || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
		return invalid("user_agent", "user_agent must be printable ASCII")
	}
	return nil
}

// withoutRedirects makes sure that what is sent goes to no other host,
// whatever client this is.
func withoutRedirects(c *http.Client) *http.Client {
	client := *c
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	client.Jar = nil
	return &client
}

// Endpoint is the URL, without its query.
func (e *endpoint) Endpoint() string {
	u, _, _ := strings.Cut(e.url.Value(), "?")
	return u
}

// host is the URL's host, with its port if it names one.
func (e *endpoint) host() string {
	_, rest, _ := strings.Cut(e.Endpoint(), "://")
	host, _, _ := strings.Cut(rest, "/")
	return host
}

// A request is one token request: its form, and the Authorization header if
// the client authenticates by that.
type request struct {
	form          url.Values
	authorization token.Secret
	// secrets are all that must not come back in any text.
	secrets []token.Secret
}

// newRequest makes a request for a grant, with more fields in its form.
func newRequest(grant string, more map[string]string) *request {
	r := &request{form: url.Values{}}
	for name, value := range more {
		r.form.Set(name, value)
	}
	r.form.Set("grant_type", grant)
	return r
}

// set adds a secret to the form.
func (r *request) set(name string, s token.Secret) {
	r.form.Set(name, s.Reveal())
	r.secrets = append(r.secrets, s)
}

// setBasic authenticates by a header, with id and secret form-encoded first
// (RFC 6749 §2.3.1).
func (r *request) setBasic(id string, s token.Secret) {
	pair := url.QueryEscape(id) + ":" + url.QueryEscape(s.Reveal())
	encoded := token.NewSecret(base64.StdEncoding.EncodeToString([]byte(pair)))
	r.authorization = token.NewSecret("Basic " + encoded.Reveal())
	r.secrets = append(r.secrets, s, encoded)
}

// ask makes the round trip of RFC 6749 §5.
func (e *endpoint) ask(ctx context.Context, r *request) (token.Token, error) {
	quoter := newQuoter(r.secrets)
	a, err := e.post(e.traceRequest(ctx, r, quoter), r)
	if err != nil {
		return token.Token{}, e.unreachable(ctx, err)
	}
	traceAnswer(ctx, a, quoter)
	if 300 <= a.status && a.status < 400 {
		return token.Token{}, e.redirected(a, quoter)
	}
	m, fault := a.members()
	if a.status/100 != 2 || m.text("error") != "" && m.absent("access_token") {
		return token.Token{}, e.refused(a, m, quoter)
	}
	if fault != nil {
		return token.Token{}, e.nonsense(a, fault)
	}
	t, fault := e.grant(m, a.received)
	if fault != nil {
		return token.Token{}, e.nonsense(a, fault)
	}
	t.Scope = quoter.redact(t.Scope)
	t.Skew = a.skew()
	return t, nil
}

// post sends the request.
func (e *endpoint) post(ctx context.Context, r *request) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url.Value(), strings.NewReader(r.form.Encode()))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Accept-Encoding", "identity")
	req.Header.Set("User-Agent", e.settings.UserAgent)
	if !r.authorization.IsZero() {
		req.Header.Set("Authorization", r.authorization.Reveal())
	}
	return roundTrip(withoutRedirects(e.client), req)
}

// roundTrip sends a request and reads the answer, up to one byte too many.
func roundTrip(client *http.Client, req *http.Request) (answer, error) {
	res, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	received := time.Now().Round(0)
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return answer{}, err
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

// checkScope refuses what is no scope (RFC 6749 §3.3).
func checkScope(field, scope string) error {
	if strings.ContainsFunc(scope, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }) {
		return invalid(field, "%s %q has characters that no scope has (RFC 6749 §3.3)", field, scope)
	}
	return nil
}

// noTarget refuses what a provider's tokens do not have.
func noTarget(kind, field, value string) error {
	if value == "" {
		return nil
	}
	return invalid(field, "%s tokens have no %s", kind, field)
}

// nonsense tells of an answer that is not what RFC 6749 §5 says: most often it
// is not the issuer that speaks, so the next try may succeed.
func (e *endpoint) nonsense(a answer, fault error) *token.Error {
	return &token.Error{Code: token.ErrUnavailable, Topic: nonsenseTopic(fault), RetryAt: a.retryAt(),
		Message: fmt.Sprintf("%s answered %s with %v", e.host(), statusText(a.status), fault)}
}
