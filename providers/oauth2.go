package providers

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"tokend/providers/jose"
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
	TokenURL string            `toml:"token_url" need:"yes" sends:"yes" doc:"the issuer's token endpoint, an https URL"`
	ClientID string            `toml:"client_id" need:"yes" doc:"client ID as registered with the issuer"`
	Auth     string            `toml:"auth" default:"client_secret_basic" doc:"client_secret_basic, client_secret_post or private_key_jwt"`
	Secret   secretField       `toml:"client_secret" doc:"client secret, for the first two"`
	Key      secretField       `toml:"private_key" doc:"private key in PEM or DER, for private_key_jwt"`
	Scopes   []string          `toml:"scopes" per:"resource" doc:"scopes to ask for"`
	Audience string            `toml:"audience" per:"resource" doc:"audience parameter of issuers that have one"`
	Resource string            `toml:"resource" per:"resource" doc:"resource that the token is for (RFC 8707)"`
	Form     map[string]string `toml:"form" doc:"more form fields of the request, none of them secret"`

	assertionSettings
	AssertionAudience string `toml:"assertion_audience" doc:"aud of private_key_jwt; the token URL if empty"`
	endpointSettings
}

func (s *oauth2Settings) open(env Env) (any, error) {
	prove, err := s.prover(env)
	form := checkForm(s.Form, "grant_type", "client_id", "client_secret", "client_assertion", "client_assertion_type",
		"scope", "audience", "resource")
	if err := cmp.Or(err, form, checkScope("scopes", strings.Join(s.Scopes, " "))); err != nil {
		return nil, err
	}
	return s.newMinter("token_url", s.TokenURL, env,
		minter{grantType: grantClientCredentials, form: s.Form, aim: s.aim, prove: prove, explain: s.explain})
}

// explain names the other way to send a client secret, where the issuer may not read
// the one that was used: it finds no client then.
func (s *oauth2Settings) explain(r *refusal) {
	other := map[string]string{authBasic: authPost, authPost: authBasic}[s.Auth]
	noClient := r.oauth == "invalid_client" || r.oauth == "invalid_request" && strings.Contains(r.description, "client")
	if other != "" && noClient {
		r.advice = fmt.Sprintf("; if client ID and secret are right, the issuer may want them by auth = %q", other)
	}
}

func (s *oauth2Settings) prover(env Env) (prover, error) {
	switch s.Auth {
	case authBasic, authPost:
		return clientSecret(s.ClientID, s.Auth, env), nil
	case authKey:
		a, err := s.assertion(map[string]any{"iss": s.ClientID, "sub": s.ClientID, "aud": cmp.Or(s.AssertionAudience, s.TokenURL)})
		return clientAssertion(s.ClientID, env, a), err
	}
	return nil, invalid("auth", "auth %q is not one of %s, %s, %s", s.Auth, authBasic, authPost, authKey)
}

// aim sends an audience where the profile has its own: as resource, if that is
// what it uses.
func (s *oauth2Settings) aim(form url.Values, t token.Target) error {
	audience, resource := s.Audience, s.Resource
	if resource != "" && audience == "" {
		resource = cmp.Or(t.Audience, resource)
	} else {
		audience = cmp.Or(t.Audience, audience)
	}
	setUnlessEmpty(form, "scope", cmp.Or(t.Scope, strings.Join(s.Scopes, " ")))
	setUnlessEmpty(form, "audience", audience)
	setUnlessEmpty(form, "resource", resource)
	return checkScope("scope", t.Scope)
}

func setUnlessEmpty(form url.Values, name, value string) {
	if value != "" {
		form.Set(name, value)
	}
}

func (s *oauth2Settings) prepare(a *token.CreateProfile) error {
	wanted, unwanted, prepare := "client_secret", "private_key", prepareClientSecret
	auth := cmp.Or(token.Settings(a.Settings).Text("auth"), s.Auth)
	if auth == authKey {
		wanted, unwanted = unwanted, wanted
		prepare = func(a *token.CreateProfile) error { return prepareKey(a, s.Algorithm) }
	}
	if _, ok := a.Secrets[unwanted]; ok {
		return invalid(unwanted, "auth = %q uses a %s, not a %s", auth, wanted, unwanted)
	}
	return prepare(a)
}

// clientSecret is client_secret_basic or client_secret_post (RFC 6749 §2.3.1).
func clientSecret(clientID, auth string, env Env) prover {
	return func(ctx context.Context, r *request, _ token.Target) error {
		secret, err := env.Secret(ctx, "client_secret")
		switch {
		case err != nil:
			return err
		case auth == authBasic:
			r.setBasic(clientID, secret)
		default:
			r.form.Set("client_id", clientID)
			r.set("client_secret", secret)
		}
		return nil
	}
}

// clientAssertion is private_key_jwt (RFC 7523 §2.2).
func clientAssertion(clientID string, env Env, a jose.Assertion) prover {
	return func(ctx context.Context, r *request, _ token.Target) error {
		signed, err := env.sign(ctx, a, nil)
		if err == nil {
			r.form.Set("client_id", clientID)
			r.form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
			r.set("client_assertion", signed)
		}
		return err
	}
}

type jwtBearerSettings struct {
	TokenURL string            `toml:"token_url" need:"yes" sends:"yes" doc:"the issuer's token endpoint, an https URL"`
	Issuer   string            `toml:"issuer" need:"yes" doc:"iss: the client whose key signs, as registered with the issuer"`
	Subject  string            `toml:"subject" doc:"sub: the user that the token is for; absent if empty"`
	Audience string            `toml:"audience" doc:"aud; the token URL if empty"`
	Key      secretField       `toml:"private_key" need:"yes" doc:"private key in PEM or DER"`
	Scopes   []string          `toml:"scopes" per:"resource" doc:"scopes to ask for"`
	ScopeIn  string            `toml:"scope_in" default:"claim" doc:"where the scopes go: claim (as Google wants it) or form (RFC 7521 §4.1)"`
	Claims   map[string]any    `toml:"claims" doc:"more claims of the assertion"`
	Form     map[string]string `toml:"form" doc:"more form fields of the request, none of them secret"`

	assertionSettings
	endpointSettings
}

func (s *jwtBearerSettings) open(env Env) (any, error) {
	claims, err := s.claims()
	a, fault := s.assertion(claims)
	if s.ScopeIn != "claim" && s.ScopeIn != "form" {
		return nil, invalid("scope_in", `scope_in %q is neither "claim" nor "form"`, s.ScopeIn)
	}
	if err := cmp.Or(err, fault, checkScope("scopes", strings.Join(s.Scopes, " ")), checkForm(s.Form, "grant_type", "assertion", "scope")); err != nil {
		return nil, err
	}
	var inClaims func(token.Target) string
	if s.ScopeIn == "claim" {
		inClaims = s.scope
	}
	return s.newMinter("token_url", s.TokenURL, env,
		minter{grantType: grantJWTBearer, form: s.Form, aim: s.aim, prove: signedGrant(env, a, inClaims)})
}

func (s *jwtBearerSettings) scope(t token.Target) string {
	return cmp.Or(t.Scope, strings.Join(s.Scopes, " "))
}

func (s *jwtBearerSettings) aim(form url.Values, t token.Target) error {
	if s.ScopeIn == "form" {
		setUnlessEmpty(form, "scope", s.scope(t))
	}
	return cmp.Or(noTarget("jwt-bearer", "audience", t.Audience), checkScope("scope", t.Scope))
}

// claims returns the assertion's claims, but for the scope and the times.
func (s *jwtBearerSettings) claims() (map[string]any, error) {
	claims := map[string]any{}
	for name, value := range s.Claims {
		if slices.Contains([]string{"iss", "sub", "aud", "iat", "exp", "nbf", "jti", "scope"}, name) {
			return nil, invalid("claims", "claims cannot set %q, because another setting does", name)
		}
		claims[name] = value
	}
	claims["iss"], claims["aud"] = s.Issuer, cmp.Or(s.Audience, s.TokenURL)
	if s.Subject != "" {
		claims["sub"] = s.Subject
	}
	return claims, nil
}

func (s *jwtBearerSettings) prepare(a *token.CreateProfile) error {
	return prepareKey(a, s.Algorithm)
}

// signedGrant adds an assertion as authorization grant (RFC 7523 §2.1), with the
// claim scope that the function returns, if there is one.
func signedGrant(env Env, a jose.Assertion, scope func(token.Target) string) prover {
	return func(ctx context.Context, r *request, t token.Target) error {
		extra := map[string]any{}
		if scope != nil && scope(t) != "" {
			extra["scope"] = scope(t)
		}
		signed, err := env.sign(ctx, a, extra)
		if err == nil {
			r.set("assertion", signed)
		}
		return err
	}
}
