package providers

import (
	"cmp"
	"context"
	"net/url"
	"slices"
	"strings"

	"tokend/providers/jose"
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
	if err := cmp.Or(checkScope("scopes", strings.Join(s.Scopes, " ")), checkForm(s.Form, "grant_type", "assertion", "scope")); err != nil {
		return nil, err
	}
	return &minter{endpoint: e, grantType: grantJWTBearer, form: s.Form, aim: s.aim,
		prove: signedGrant(env, a, func(t token.Target) map[string]any {
			if scope := s.scope(t); scope != "" && s.ScopeIn == "claim" {
				return map[string]any{"scope": scope}
			}
			return nil
		})}, nil
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
	return prepareKey(a, cmp.Or(token.Settings(a.Settings).Text("algorithm"), s.Algorithm))
}

// signedGrant adds an assertion as authorization grant (RFC 7523 §2.1); extra
// returns more claims.
func signedGrant(env Env, a jose.Assertion, extra func(token.Target) map[string]any) prover {
	return func(ctx context.Context, r *request, t token.Target) error {
		signed, err := env.sign(ctx, a, extra(t))
		if err == nil {
			r.set("assertion", signed)
		}
		return err
	}
}
