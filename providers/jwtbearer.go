package providers

import (
	"context"
	"encoding/json"
	"strings"

	"tokend/providers/token"
)

type jwtBearerSettings struct {
	TokenURL string            `toml:"token_url" need:"yes" doc:"the issuer's token endpoint, an https URL"`
	Issuer   string            `toml:"issuer" need:"yes" doc:"iss: whose key signs, as registered with the issuer"`
	Subject  string            `toml:"subject" doc:"sub: whom the token is for; absent if empty"`
	Audience string            `toml:"audience" doc:"aud; the token URL if empty"`
	Key      secretField       `toml:"private_key" need:"yes" doc:"private key in PEM or DER"`
	Scopes   []string          `toml:"scopes" doc:"scopes to ask for"`
	ScopeIn  string            `toml:"scope_in" default:"claim" doc:"where the scopes go: claim (as Google wants it) or form (RFC 7521 §4.1)"`
	Claims   map[string]any    `toml:"claims" doc:"more claims of the assertion"`
	Form     map[string]string `toml:"form" doc:"more form fields of the request, none of them secret"`

	assertionSettings
	endpointSettings
}

func (s *jwtBearerSettings) open(env Env) (any, error) {
	e, err := newEndpoint("token_url", s.TokenURL, s.endpointSettings, env)
	if err != nil {
		return nil, err
	}
	claims, err := s.claims()
	if err != nil {
		return nil, err
	}
	a, err := s.assertion(claims)
	if err != nil {
		return nil, err
	}
	if s.ScopeIn != "claim" && s.ScopeIn != "form" {
		return nil, invalid("scope_in", `scope_in %q is neither "claim" nor "form"`, s.ScopeIn)
	}
	scope := strings.Join(s.Scopes, " ")
	if err := checkScope("scopes", scope); err != nil {
		return nil, err
	}
	if err := checkForm(s.Form, "grant_type", "assertion", "scope"); err != nil {
		return nil, err
	}
	return &jwtBearer{
		endpoint: e, env: env, assertion: a, form: s.Form,
		scope: scope, scopeInForm: s.ScopeIn == "form",
		accepts: func(t token.Target) error {
			if err := noTarget("jwt-bearer", "audience", t.Audience); err != nil {
				return err
			}
			return checkScope("scope", t.Scope)
		},
	}, nil
}

// claims are the assertion's, but for the scope and the times.
func (s *jwtBearerSettings) claims() (map[string]any, error) {
	claims := map[string]any{}
	for name, value := range s.Claims {
		if reserved(name) {
			return nil, invalid("claims", "claims cannot set %q; a setting of its own does", name)
		}
		claims[name] = value
	}
	if _, err := json.Marshal(claims); err != nil {
		return nil, invalid("claims", "claims cannot be written as JSON")
	}
	claims["iss"], claims["aud"] = s.Issuer, s.Audience
	if s.Audience == "" {
		claims["aud"] = s.TokenURL
	}
	if s.Subject != "" {
		claims["sub"] = s.Subject
	}
	return claims, nil
}

func (s *jwtBearerSettings) prepare(a *token.CreateProfile) error {
	return prepareKey(a, said(a, "algorithm", s.Algorithm))
}

// jwtBearer obtains tokens by an assertion as authorization grant (RFC 7523
// §2.1).
type jwtBearer struct {
	*endpoint
	env         Env
	assertion   assertion
	form        map[string]string
	scope       string
	scopeInForm bool
	accepts     func(token.Target) error
}

// Mint obtains a token.
func (j *jwtBearer) Mint(ctx context.Context, t token.Target) (token.Token, error) {
	if err := j.accepts(t); err != nil {
		return token.Token{}, err
	}
	scope := j.scope
	if t.Scope != "" {
		scope = t.Scope
	}
	r := newRequest(grantJWTBearer, j.form)
	extra := map[string]any{}
	switch {
	case scope == "":
	case j.scopeInForm:
		r.form.Set("scope", scope)
	default:
		extra["scope"] = scope
	}
	signed, err := j.assertion.sign(ctx, j.env, extra)
	if err != nil {
		return token.Token{}, err
	}
	r.set("assertion", signed)
	return j.ask(ctx, r)
}
