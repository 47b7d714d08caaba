package providers

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"tokend/providers/jose"
	"tokend/providers/strictjson"
	"tokend/providers/token"
)

const (
	// maxLeeway bounds how far clocks may be apart.
	maxLeeway = 5 * time.Minute
	// maxKeySet bounds a key set in bytes: that of 1,000 keys with certificates.
	maxKeySet = 4 << 20
)

// verifierSettings are those of every kind that verifies tokens.
type verifierSettings struct {
	Leeway    duration `toml:"leeway" default:"60s" doc:"how far the clocks may be apart, 5m at most"`
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
	client    *http.Client
	userAgent string
	issuer    string
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
	u, err := url.Parse(issuer)
	isHere := s.Loopback || err == nil && token.IsLoopback(u.Hostname())
	return &metadata{client: issuerClient(env, s.Loopback), userAgent: s.UserAgent, issuer: issuer, isHere: isHere, urls: urls}
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

// fetch is a jose.Fetch.
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
		a, failed := m.get(ctx, address)
		if failed != nil {
			return nil, address, failed
		}
		o, failed := objectIn(a, address, topicMetadata)
		leads := failed == nil && o.Has(m.keysMember(o))
		if leads || found == nil && err == nil {
			found, from, err = o, address, failed
		}
		if leads || failed != nil && (a.status/100 != 4 || overloaded(a.status)) {
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
	a, err := m.get(ctx, address)
	if err != nil {
		return nil, err
	}
	return objectIn(a, address, topicMetadata)
}

// get takes JSON of any media type: published files are often served from a
// storage that knows none.
func (m *metadata) get(ctx context.Context, address string) (answer, error) {
	a, err := outgoing{to: address, userAgent: m.userAgent, most: maxKeySet}.send(ctx, m.client)
	if err == nil && json.Valid(a.body) {
		a.header.Set("Content-Type", "application/json")
	}
	return a, err
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

// topicMetadata is the topic of an issuer's metadata that leads to no keys.
const topicMetadata = "issuer-metadata"
