package providers

import (
	"cmp"
	"context"
	"net/url"
	"slices"
	"strings"
	"time"

	"tokend/providers/token"
)

// The ways in which a client can authenticate, by their registered names
// (RFC 7591 §2, OpenID Connect Core §9).
const (
	authBasic = "client_secret_basic"
	authPost  = "client_secret_post"
	authKey   = "private_key_jwt"
)

type oauth2Settings struct {
	TokenURL string            `toml:"token_url" need:"yes" doc:"the issuer's token endpoint, an https URL"`
	ClientID string            `toml:"client_id" need:"yes" doc:"client ID as registered with the issuer"`
	Auth     string            `toml:"auth" default:"client_secret_basic" doc:"client_secret_basic, client_secret_post or private_key_jwt"`
	Secret   secretField       `toml:"client_secret" doc:"client secret, for the first two"`
	Key      secretField       `toml:"private_key" doc:"private key in PEM or DER, for private_key_jwt"`
	Scopes   []string          `toml:"scopes" doc:"scopes to ask for"`
	Audience string            `toml:"audience" doc:"audience parameter of issuers that have one"`
	Resource string            `toml:"resource" doc:"resource that the token is for (RFC 8707)"`
	Form     map[string]string `toml:"form" doc:"more form fields of the request, none of them secret"`

	assertionSettings
	AssertionAudience string `toml:"assertion_audience" doc:"aud of private_key_jwt; the token URL if empty"`
	endpointSettings
}

// assertionSettings are those of every kind whose assertion is not fixed.
type assertionSettings struct {
	Algorithm string   `toml:"algorithm" default:"RS256" doc:"signature: RS256, PS256, ES256 (or 384, 512) or EdDSA"`
	KeyID     string   `toml:"key_id" doc:"kid in the assertion's header"`
	Lifetime  duration `toml:"assertion_lifetime" default:"5m" doc:"how long an assertion is valid"`
	Backdate  duration `toml:"backdate" default:"30s" doc:"how far iat lies in the past, for clocks that differ"`
}

func (s assertionSettings) assertion(claims map[string]any) (assertion, error) {
	if _, err := signingMethod(s.Algorithm); err != nil {
		return assertion{}, err
	}
	if s.Lifetime <= s.Backdate {
		return assertion{}, invalid("assertion_lifetime", "assertion_lifetime counts from the back-dated iat and must be longer than backdate")
	}
	header := map[string]any{}
	if s.KeyID != "" {
		header["kid"] = s.KeyID
	}
	return assertion{
		algorithm: s.Algorithm, header: header, claims: claims,
		start: "iat", backdate: time.Duration(s.Backdate), lifetime: time.Duration(s.Lifetime), unique: true,
	}, nil
}

func (s *oauth2Settings) open(env Env) (any, error) {
	e, err := newEndpoint("token_url", s.TokenURL, s.endpointSettings, env)
	if err != nil {
		return nil, err
	}
	authenticate, err := s.authenticator(env)
	if err != nil {
		return nil, err
	}
	scope := strings.Join(s.Scopes, " ")
	if err := checkScope("scopes", scope); err != nil {
		return nil, err
	}
	if err := checkForm(s.Form, "grant_type", "client_id", "client_secret", "client_assertion", "client_assertion_type",
		"scope", "audience", "resource"); err != nil {
		return nil, err
	}
	wish := oauth2Wish{scope: scope, audience: s.Audience, resource: s.Resource}
	return &clientCredentials{endpoint: e, authenticate: authenticate, form: s.Form, aim: wish.aim}, nil
}

func (s *oauth2Settings) authenticator(env Env) (authenticator, error) {
	switch s.Auth {
	case authBasic:
		return secretInHeader(s.ClientID, env), nil
	case authPost:
		return secretInForm(s.ClientID, env), nil
	case authKey:
		aud := s.AssertionAudience
		if aud == "" {
			aud = s.TokenURL
		}
		a, err := s.assertion(map[string]any{"iss": s.ClientID, "sub": s.ClientID, "aud": aud})
		if err != nil {
			return nil, err
		}
		return signedAssertion(s.ClientID, env, a), nil
	}
	return nil, invalid("auth", "auth %q is none of %s, %s, %s", s.Auth, authBasic, authPost, authKey)
}

// An oauth2Wish is what the settings ask a token for.
type oauth2Wish struct{ scope, audience, resource string }

// aim puts the wish into the form, or the target in its place. An audience goes
// where the profile has its own: into resource, if that is what it uses.
func (w oauth2Wish) aim(form url.Values, t token.Target) error {
	if w.resource != "" && w.audience == "" {
		w.resource = cmp.Or(t.Audience, w.resource)
	} else {
		w.audience = cmp.Or(t.Audience, w.audience)
	}
	setUnlessEmpty(form, "scope", cmp.Or(t.Scope, w.scope))
	setUnlessEmpty(form, "audience", w.audience)
	setUnlessEmpty(form, "resource", w.resource)
	return checkScope("scope", t.Scope)
}

func (s *oauth2Settings) prepare(a *token.CreateProfile) error {
	wanted, unwanted, prepare := "client_secret", "private_key", prepareClientSecret
	auth := said(a, "auth", s.Auth)
	if auth == authKey {
		wanted, unwanted = unwanted, wanted
		prepare = func(a *token.CreateProfile) error { return prepareKey(a, said(a, "algorithm", s.Algorithm)) }
	}
	if _, ok := a.Secrets[unwanted]; ok {
		return invalid(unwanted, "auth = %q uses a %s, not a %s", auth, wanted, unwanted)
	}
	return prepare(a)
}

// clientCredentials obtains tokens by the client credentials grant (RFC 6749
// §4.4).
type clientCredentials struct {
	*endpoint
	authenticate authenticator
	// form is the same in each request; aim adds what the token is for.
	form map[string]string
	aim  func(url.Values, token.Target) error
}

// Mint obtains a token.
func (c *clientCredentials) Mint(ctx context.Context, t token.Target) (token.Token, error) {
	r := newRequest(grantClientCredentials, c.form)
	if err := c.aim(r.form, t); err != nil {
		return token.Token{}, err
	}
	if err := c.authenticate(ctx, r); err != nil {
		return token.Token{}, err
	}
	return c.ask(ctx, r)
}

// An authenticator adds to a request what proves that the client is itself.
type authenticator func(context.Context, *request) error

// secretInHeader is client_secret_basic (RFC 6749 §2.3.1).
func secretInHeader(clientID string, env Env) authenticator {
	return func(ctx context.Context, r *request) error {
		secret, err := env.Secret(ctx, "client_secret")
		if err != nil {
			return err
		}
		r.setBasic(clientID, secret)
		return nil
	}
}

// secretInForm is client_secret_post (RFC 6749 §2.3.1).
func secretInForm(clientID string, env Env) authenticator {
	return func(ctx context.Context, r *request) error {
		secret, err := env.Secret(ctx, "client_secret")
		if err != nil {
			return err
		}
		r.form.Set("client_id", clientID)
		r.set("client_secret", secret)
		return nil
	}
}

// signedAssertion is private_key_jwt (RFC 7523 §2.2).
func signedAssertion(clientID string, env Env, a assertion) authenticator {
	return func(ctx context.Context, r *request) error {
		signed, err := a.sign(ctx, env, nil)
		if err != nil {
			return err
		}
		r.form.Set("client_id", clientID)
		r.form.Set("client_assertion_type", clientAssertionJWT)
		r.set("client_assertion", signed)
		return nil
	}
}

func setUnlessEmpty(form url.Values, name, value string) {
	if value != "" {
		form.Set(name, value)
	}
}

// reserved tells of claims that settings of their own decide.
func reserved(claim string) bool {
	return slices.Contains([]string{"iss", "sub", "aud", "iat", "exp", "nbf", "jti", "scope"}, claim)
}
