package providers

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"tokend/providers/token"
)

type jwtVerifySettings struct {
	Issuer     string   `toml:"issuer" need:"yes" doc:"the issuer's URL, exactly as iss in its tokens has it"`
	Audiences  []string `toml:"audiences" need:"yes" doc:"aud that tokens must be for: one of these"`
	Algorithms []string `toml:"algorithms" doc:"signature algorithms to accept; if empty, all that the issuer's keys allow"`
	Type       string   `toml:"typ" doc:"typ that tokens must have, such as at+jwt (RFC 9068); any if empty"`
	verifierSettings
}

// asymmetric are the algorithms for keys that are published.
func asymmetric() []string {
	return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
}

func (s *jwtVerifySettings) open(env Env) (any, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	algorithms := s.Algorithms
	if len(algorithms) == 0 {
		algorithms = asymmetric()
	}
	return &verifier{
		keys: &issuerKeys{
			client: withoutRedirects(env.HTTP), userAgent: s.UserAgent, issuer: s.Issuer,
			metadata: metadata{urls: metadataURLs(s.Issuer), keysMember: "jwks_uri", mustName: true},
			policy:   keyPolicy{algorithms: algorithms},
			known:    &knownKeys{},
		},
		rules: claimRules{issuer: s.Issuer, audiences: s.Audiences, typ: s.Type, leeway: time.Duration(s.Leeway)},
	}, nil
}

func (s *jwtVerifySettings) check() error {
	if err := checkBase("issuer", s.Issuer); err != nil {
		return err
	}
	if len(s.Audiences) == 0 || slices.Contains(s.Audiences, "") {
		return invalid("audiences", "audiences is missing or holds an empty one")
	}
	for _, a := range s.Algorithms {
		if !slices.Contains(asymmetric(), a) {
			return invalid("algorithms", "algorithm %q is none of %s", a, strings.Join(asymmetric(), ", "))
		}
	}
	return s.verifierSettings.check()
}

// metadataURLs are where an issuer's metadata may be: OpenID Connect Discovery
// 1.0 §4 and RFC 8414 §3.1, which differ in where the issuer's path goes.
func metadataURLs(issuer string) []string {
	base := strings.TrimSuffix(issuer, "/")
	u, err := url.Parse(base)
	if err != nil {
		return nil // checkBase has parsed it
	}
	path := u.EscapedPath()
	return []string{
		base + "/.well-known/openid-configuration",
		strings.TrimSuffix(base, path) + "/.well-known/oauth-authorization-server" + path,
	}
}

// prepare has nothing to do: keys are public.
func (*jwtVerifySettings) prepare(*token.CreateProfile) error { return nil }
