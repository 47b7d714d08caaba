package providers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"tokend/providers/jose"
	"tokend/providers/strictjson"
	"tokend/providers/token"
)

// maxLeeway bounds how far clocks may be apart.
const maxLeeway = 5 * time.Minute

// verifierSettings are those of every kind that verifies tokens.
type verifierSettings struct {
	Leeway    duration `toml:"leeway" default:"60s" doc:"how far the clocks may differ, 5m at most"`
	UserAgent string   `toml:"user_agent" default:"tokend" doc:"User-Agent of the requests to the issuer"`
	Loopback  bool     `toml:"loopback" doc:"true if the issuer may be on this machine, by a host name or in the URLs that it publishes"`
}

func (s verifierSettings) check() error {
	if time.Duration(s.Leeway) > maxLeeway {
		return invalid("leeway", "leeway is more than 5m")
	}
	return checkUserAgent(s.UserAgent)
}

// prepare does nothing: keys are public.
func (verifierSettings) prepare(*token.CreateProfile) error { return nil }

// metadata finds an issuer's key set.
type metadata struct {
	client   *http.Client
	settings verifierSettings
	issuer   string
	// isHere: URLs that the issuer publishes may lead to this machine.
	isHere bool
	// urls are asked in turn, until one leads to keys.
	urls []string
	// mustName: the metadata must name the issuer. If it names one, that must
	// always be the right one.
	mustName bool
}

// newMetadata returns the metadata of an issuer, which is at one of urls.
func (s verifierSettings) newMetadata(env Env, issuer string, urls []string) *metadata {
	u, _ := url.Parse(issuer) // which checkURL has accepted
	isHere := s.Loopback || token.IsLoopback(u.Hostname())
	return &metadata{client: env.HTTP, settings: s, issuer: issuer, isHere: isHere, urls: urls}
}

// checkPublished checks a URL that the issuer publishes: it must not have tokend
// speak to a program on this machine.
func (m *metadata) checkPublished(name, address, without string) error {
	u, err := checkURL(name, address, without)
	if err == nil && token.IsLoopback(u.Hostname()) && !m.isHere {
		return invalid(name, "%s leads to this machine", name)
	}
	return err
}

// fetch gets the keys that the issuer publishes.
func (m *metadata) fetch(ctx context.Context) ([]jose.Published, error) {
	found, from, err := m.discover(ctx)
	if err != nil {
		return nil, err
	}
	if issuer := found.Text("issuer"); issuer != m.issuer && (m.mustName || found.Has("issuer")) {
		return nil, unavailable(from, finding{topicMetadata, "has metadata of another issuer, " + jose.Quote(issuer)}, nil)
	}
	name := m.keysMember(found)
	address := found.Text(name)
	if err := m.checkPublished(name, address, ""); err != nil {
		return nil, unavailable(from, finding{topicMetadata, fmt.Sprintf("has metadata in which %s is not an https URL of another machine", name)}, nil)
	}
	set, err := m.object(ctx, address)
	return []jose.Published{{Issuer: m.issuer, From: address, Keys: set}}, err
}

// discover returns the first metadata that leads to keys, or else the first.
func (m *metadata) discover(ctx context.Context) (found strictjson.Object, from string, err error) {
	for _, address := range m.urls {
		o, fault := m.object(ctx, address)
		leads := o.Has(m.keysMember(o))
		if leads || from == "" {
			found, from, err = o, address, fault
		}
		if e, failed := errors.AsType[*token.Error](fault); leads || failed && e.Topic != topicMetadata {
			break
		}
	}
	return found, from, err
}

// keysMember names the member with the URL of the key set. Dataspaces say jwks_url.
func (m *metadata) keysMember(found strictjson.Object) string {
	if !m.mustName && found.Has("jwks_url") {
		return "jwks_url"
	}
	return "jwks_uri"
}

// object gets a JSON object.
func (m *metadata) object(ctx context.Context, address string) (strictjson.Object, error) {
	a, err := outgoing{to: address, userAgent: m.settings.UserAgent, loopback: m.settings.Loopback}.send(ctx, m.client)
	if err != nil {
		return nil, err
	}
	return objectIn(a, address, topicMetadata)
}

// objectIn returns the JSON object in a good answer from address; topic is that of
// another status without one of its own.
func objectIn(a answer, address, topic string) (strictjson.Object, error) {
	if a.status != http.StatusOK {
		return nil, a.unavailable(address, a.finding(topic))
	}
	o, err := a.object()
	if err != nil {
		return nil, a.unavailable(address, a.nonsense(err))
	}
	return o, nil
}

type jwtVerifySettings struct {
	Issuer     string   `toml:"issuer" need:"yes" doc:"the issuer's URL, exactly as iss in its tokens has it"`
	Audiences  []string `toml:"audiences" need:"yes" doc:"aud of the tokens: one of these"`
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
	u, _ := url.Parse(base) // which checkURL has accepted
	path := u.EscapedPath()
	return []string{
		base + "/.well-known/openid-configuration",
		strings.TrimSuffix(base, path) + "/.well-known/oauth-authorization-server" + path,
	}
}
