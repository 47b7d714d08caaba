package providers

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
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
	// urls are asked in turn, until one is there.
	urls []string
	// keysMember holds the URL of the key set.
	keysMember string
	// mustName: the metadata must name the issuer. If it names one, that must
	// always be the right one.
	mustName bool
}

// fetch is a jose.Fetch.
func (m *metadata) fetch(ctx context.Context) (set strictjson.Object, from string, err error) {
	address, err := m.discover(ctx)
	if err != nil {
		return nil, "", err
	}
	a, err := m.get(ctx, address)
	if err != nil {
		return nil, "", err
	}
	set, err = objectIn(a, address, topicMetadata)
	return set, address, err
}

// discover returns the URL of the key set.
func (m *metadata) discover(ctx context.Context) (string, error) {
	var a answer
	var from string
	for _, from = range m.urls {
		var err error
		if a, err = m.get(ctx, from); err != nil {
			return "", err
		}
		if a.status/100 != 4 || overloaded(a.status) {
			break
		}
	}
	o, err := objectIn(a, from, topicMetadata)
	if err != nil {
		return "", err
	}
	if issuer := o.Text("issuer"); issuer != m.issuer && (m.mustName || o.Has("issuer")) {
		return "", unavailable(from, finding{topicMetadata, "has metadata of another issuer, " + jose.Quote(issuer)}, nil)
	}
	address := o.Text(m.keysMember)
	if _, err := checkURL(m.keysMember, address, ""); err != nil {
		return "", unavailable(from, finding{topicMetadata, fmt.Sprintf("has metadata in which %s is not an https URL", m.keysMember)}, nil)
	}
	return address, nil
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
