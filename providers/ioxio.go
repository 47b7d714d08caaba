package providers

import (
	"context"
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"tokend/providers/jose"
	"tokend/providers/token"
)

type ioxioSettings struct {
	Dataspace string   `toml:"dataspace" need:"yes" doc:"base URL of the dataspace, whose tokens are accepted"`
	DSI       []string `toml:"dsi" need:"yes" doc:"data source, dpp://group:variant@dataspace/name, that tokens must be for; several are possible"`
	Gateway   string   `toml:"gateway" doc:"base URL of the dataspace's product gateway, to have it verify tokens (--remote)"`
	verifierSettings
}

// dsiForm is dpp://group[:variant]@dataspace/definition.
var dsiForm = regexp.MustCompile(`^dpp://[A-Za-z0-9._~-]+(:[A-Za-z0-9._~-]+)?@[A-Za-z0-9.-]+(:[0-9]+)?(/[A-Za-z0-9._~-]+)+$`)

func (s *ioxioSettings) open(env Env) (any, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	m := &metadata{
		client: env.HTTP, userAgent: s.UserAgent, issuer: s.Dataspace,
		urls: []string{s.Dataspace + "/.well-known/dataspace/dataspace-configuration.json"}, keysMember: "jwks_url",
	}
	rules := jose.Rules{Issuer: s.Dataspace, Audiences: s.DSI, Algorithms: []string{"RS256"}, Leeway: time.Duration(s.Leeway), Strict: true, Required: []string{"sub", "iat"}}
	return &ioxio{jose.NewVerifier(rules, m.fetch), s, env.HTTP}, nil
}

func (s *ioxioSettings) check() error {
	for field, text := range map[string]string{"dataspace": s.Dataspace, "gateway": s.Gateway} {
		if field == "gateway" && text == "" {
			continue
		}
		if _, err := checkURL(field, text, "?#"); err != nil {
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

// ioxio verifies the API tokens that a dataspace's gateway sends to a data
// source.
type ioxio struct {
	*jose.Verifier
	settings *ioxioSettings
	client   *http.Client
}

// Verify verifies raw with the dataspace's keys, or asks the gateway.
func (i *ioxio) Verify(ctx context.Context, raw token.Secret, remote bool) (token.Verdict, error) {
	if !remote {
		return i.Verifier.Verify(ctx, raw, false)
	}
	if i.settings.Gateway == "" {
		return token.Verdict{}, invalid("gateway", "gateway is not set, and only a gateway verifies tokens remotely")
	}
	return jose.Verdict(i.ask(ctx, raw))
}

// ask asks the gateway about a token for the data source that it claims to be
// for. That must be one of ours: the gateway knows all of them.
func (i *ioxio) ask(ctx context.Context, raw token.Secret) (map[string]any, error) {
	claims, err := jose.Unverified(raw.Reveal())
	if err != nil {
		return nil, err
	}
	aud := claims.Text("aud")
	if !slices.Contains(i.settings.DSI, aud) {
		return nil, jose.Flaw(jose.ReasonAudience, "the token is for %s, not for %s", jose.Quote(aud), strings.Join(i.settings.DSI, " or "))
	}
	address := i.settings.Gateway + "/api/v1/api-token/verify"
	body, err := json.Marshal(map[string]string{"aud": aud, "apiToken": raw.Reveal()})
	if err != nil {
		return nil, err
	}
	a, err := outgoing{to: address, userAgent: i.settings.UserAgent, media: "application/json", body: string(body)}.send(ctx, i.client)
	if err != nil {
		return nil, err
	}
	switch {
	case a.status/100 == 2:
		return claims.Values(), nil
	case a.status/100 == 4 && !overloaded(a.status):
		return nil, jose.Flaw(jose.ReasonGateway, "the gateway answered %s", statusText(a.status))
	}
	return nil, a.unavailable(address, finding{"gateway", a.finding("").words})
}
