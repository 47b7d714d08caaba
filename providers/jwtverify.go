package providers

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"tokend/providers/jose"
)

type jwtVerifySettings struct {
	Issuer     string   `toml:"issuer" need:"yes" doc:"the issuer's URL, exactly as iss in its tokens has it"`
	Audiences  []string `toml:"audiences" need:"yes" doc:"aud that tokens must be for: one of these"`
	Algorithms []string `toml:"algorithms" doc:"signature algorithms to accept; if empty, all that the issuer's keys allow"`
	Type       string   `toml:"typ" doc:"typ that tokens must have, such as at+jwt (RFC 9068); any if empty"`
	verifierSettings
}

func (s *jwtVerifySettings) open(env Env) (any, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	algorithms := s.Algorithms
	if len(algorithms) == 0 {
		algorithms = jose.Algorithms()
	}
	m := s.newMetadata(env, s.Issuer, metadataURLs(s.Issuer))
	m.mustName = true
	rules := jose.Rules{Issuer: s.Issuer, Audiences: s.Audiences, Algorithms: algorithms, Type: s.Type, Leeway: time.Duration(s.Leeway)}
	return jose.NewVerifier(rules, m.fetch), nil
}

func (s *jwtVerifySettings) check() error {
	if _, err := checkURL("issuer", s.Issuer, "?#"); err != nil {
		return err
	}
	if len(s.Audiences) == 0 || slices.Contains(s.Audiences, "") {
		return invalid("audiences", "audiences is missing or contains an empty one")
	}
	for _, a := range s.Algorithms {
		if err := jose.CheckAlgorithm(a); err != nil {
			return invalid("algorithms", "%v", err)
		}
	}
	return s.verifierSettings.check()
}

// metadataURLs returns where an issuer's metadata may be: OpenID Connect Discovery
// 1.0 §4 and RFC 8414 §3.1 put the issuer's path in different places.
func metadataURLs(issuer string) []string {
	base := strings.TrimSuffix(issuer, "/")
	u, err := url.Parse(base)
	if err != nil {
		return nil // checkURL has parsed it
	}
	path := u.EscapedPath()
	return []string{
		base + "/.well-known/openid-configuration",
		strings.TrimSuffix(base, path) + "/.well-known/oauth-authorization-server" + path,
	}
}
