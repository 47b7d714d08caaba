package providers

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"tokend/providers/token"
)

type ioxioSettings struct {
	Dataspace string   `toml:"dataspace" need:"yes" doc:"base URL of the dataspace, whose tokens are accepted"`
	DSI       []string `toml:"dsi" need:"yes" doc:"data source identifier, dpp://group:variant@dataspace/definition, that tokens must be for; several are possible"`
	Gateway   string   `toml:"gateway" doc:"base URL of the dataspace's product gateway, to have it verify tokens (--remote)"`
	verifierSettings
}

// dsiForm is dpp://group[:variant]@dataspace/definition.
var dsiForm = regexp.MustCompile(`^dpp://[A-Za-z0-9._~-]+(:[A-Za-z0-9._~-]+)?@[A-Za-z0-9.-]+(:[0-9]+)?(/[A-Za-z0-9._~-]+)+$`)

func (s *ioxioSettings) open(env Env) (any, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	client := withoutRedirects(env.HTTP)
	return &ioxio{
		client: client, userAgent: s.UserAgent, gateway: s.Gateway,
		verifier: verifier{
			keys: &issuerKeys{
				client: client, userAgent: s.UserAgent, issuer: s.Dataspace,
				metadata: metadata{urls: []string{s.Dataspace + "/.well-known/dataspace/dataspace-configuration.json"}, keysMember: "jwks_url"},
				policy:   keyPolicy{algorithms: []string{"RS256"}, explicit: true},
				known:    &knownKeys{},
			},
			needsKeyID: true,
			rules:      claimRules{issuer: s.Dataspace, audiences: s.DSI, oneAudience: true, leeway: time.Duration(s.Leeway)},
		},
	}, nil
}

func (s *ioxioSettings) check() error {
	for field, text := range map[string]string{"dataspace": s.Dataspace, "gateway": s.Gateway} {
		if field == "gateway" && text == "" {
			continue
		}
		if err := checkBase(field, text); err != nil {
			return err
		}
		if strings.HasSuffix(text, "/") {
			return invalid(field, "%s must not end in a slash", field)
		}
	}
	if len(s.DSI) == 0 {
		return invalid("dsi", "dsi is missing")
	}
	for _, dsi := range s.DSI {
		if !dsiForm.MatchString(dsi) {
			return invalid("dsi", "dsi %q is not of the form dpp://group:variant@dataspace/definition", dsi)
		}
	}
	return s.verifierSettings.check()
}

// prepare has nothing to do: keys are public.
func (*ioxioSettings) prepare(*token.CreateProfile) error { return nil }

// ioxio verifies the API tokens that a dataspace's gateway sends to a data
// source.
type ioxio struct {
	verifier
	client             *http.Client
	userAgent, gateway string
}

// Verify judges raw by the dataspace's keys, or has the gateway judge it.
func (i *ioxio) Verify(ctx context.Context, raw token.Secret, remote bool) (token.Verdict, error) {
	if !remote {
		return i.verifier.Verify(ctx, raw, false)
	}
	if i.gateway == "" {
		return token.Verdict{}, invalid("gateway", "gateway is not set, which verifies tokens remotely")
	}
	return conclude(i.ask(ctx, raw))
}

// ask has the gateway judge a token for the data source that it claims to be
// for. That must be one of ours: the gateway knows all of them.
func (i *ioxio) ask(ctx context.Context, raw token.Secret) (map[string]any, error) {
	t, err := parseJWS(raw.Reveal())
	if err != nil {
		return nil, err
	}
	m, err := parseObject(t.payload)
	if err != nil {
		return nil, flawed(reasonMalformed, "the token's payload is %v", err)
	}
	aud := m.text("aud")
	if !slices.Contains(i.rules.audiences, aud) {
		return nil, flawed(reasonAudience, "the token is for %s, not for %s", shown(aud), strings.Join(i.rules.audiences, " or "))
	}
	address := i.gateway + "/api/v1/api-token/verify"
	a, err := i.post(ctx, address, map[string]string{"aud": aud, "apiToken": raw.Reveal()})
	if err != nil {
		return nil, unavailable(address, whyUnreachable(err), ctx.Err())
	}
	switch {
	case a.status/100 == 2:
		return t.claims()
	case a.status/100 == 4 && !overloaded(a.status):
		return nil, flawed(reasonGateway, "the gateway answered %s", statusText(a.status))
	}
	unknown := unavailable(address, finding{"gateway", "answered " + statusText(a.status)}, nil)
	unknown.RetryAt = a.retryAt()
	return nil, unknown
}

func (i *ioxio) post(ctx context.Context, address string, body map[string]string) (answer, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return answer{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(text))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Accept-Encoding", "identity")
	req.Header.Set("User-Agent", i.userAgent)
	return roundTrip(i.client, req)
}
