package providers

import (
	"cmp"
	"context"
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"tokend/providers/jose"
	"tokend/providers/strictjson"
	"tokend/providers/token"
)

type ioxioSettings struct {
	Dataspace string   `toml:"dataspace" need:"yes" doc:"base URL of the dataspace, whose tokens are accepted"`
	DSI       []string `toml:"dsi" need:"yes" doc:"data sources (dpp://group:variant@dataspace/name) that tokens must be for"`
	Gateway   string   `toml:"gateway" doc:"base URL of the product gateway, if not the one in the dataspace's configuration"`
	Consent   bool     `toml:"require_consent" doc:"true to refuse requests without a consent token (X-Consent-Token)"`
	verifierSettings
}

// dsiForm is dpp://group[:variant]@dataspace/definition.
var dsiForm = regexp.MustCompile(`^dpp://[A-Za-z0-9._~-]+(:[A-Za-z0-9._~-]+)?@[A-Za-z0-9.-]+(:[0-9]+)?(/[A-Za-z0-9._~-]+)+$`)

func (s *ioxioSettings) open(env Env) (any, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	m := s.newMetadata(env, s.Dataspace, []string{
		s.Dataspace + "/.well-known/dataspace/dataspace-configuration.json",
		s.Dataspace + "/.well-known/openid-configuration", // for dataspaces whose configuration names no keys
	})
	// As in IOXIO's example-productizer, app/api_tokens.py.
	rules := jose.Rules{Issuer: s.Dataspace, Audiences: s.DSI, Algorithms: []string{"RS256"}, Leeway: time.Duration(s.Leeway), Strict: true, Required: []string{"sub", "iat"}}
	// https://docs.ioxio.dev/schemas/consent-token
	consents := rules
	consents.Issuer, consents.AudienceClaim = "the consent provider of "+s.Dataspace, "dsi"
	consents.Required = []string{"sub", "iat", "subiss", "acr", "app", "appiss"}
	i := &ioxio{Verifier: jose.NewVerifier(rules, m.fetch), settings: s, dataspace: m}
	i.consents = jose.NewVerifier(consents, i.consentKeys)
	return i, nil
}

func (s *ioxioSettings) check() error {
	for _, setting := range [][2]string{{"dataspace", s.Dataspace}, {"gateway", cmp.Or(s.Gateway, s.Dataspace)}} {
		field, text := setting[0], setting[1]
		if _, err := checkURL(field, text, "?#"); err != nil {
			return err
		}
		if strings.HasSuffix(text, "/") {
			return invalid(field, "%s must not end in a slash", field)
		}
	}
	if len(s.DSI) == 0 || slices.ContainsFunc(s.DSI, func(dsi string) bool { return !dsiForm.MatchString(dsi) }) {
		return invalid("dsi", "dsi %q is not one or more of the form dpp://group:variant@dataspace/definition", s.DSI)
	}
	return s.verifierSettings.check()
}

// ioxio verifies the API tokens that a dataspace's gateway sends to a data
// source, and consent tokens.
type ioxio struct {
	*jose.Verifier
	consents  *jose.Verifier
	settings  *ioxioSettings
	dataspace *metadata
}

func (i *ioxio) Inherit(old any) {
	if o, ok := old.(*ioxio); ok {
		i.Verifier.Inherit(o.Verifier)
		i.consents.Inherit(o.consents)
	}
}

// Verify verifies what was presented with published keys, or asks the gateway about
// the API token.
func (i *ioxio) Verify(ctx context.Context, p token.Presented) (verdict token.Verdict, err error) {
	if p.Remote {
		verdict, err = jose.Verdict(i.ask(ctx, p.Token))
	} else {
		verdict, err = i.Verifier.Verify(ctx, token.Presented{Token: p.Token})
	}
	if err != nil || !verdict.Valid || p.Consent.IsZero() && !i.settings.Consent {
		return verdict, err
	}
	if p.Consent.IsZero() {
		return jose.Verdict(nil, jose.Flaw(jose.ReasonConsent, "there is no consent token (X-Consent-Token), and this data source requires one"))
	}
	consent, err := i.consents.Verify(ctx, token.Presented{Token: p.Consent})
	switch {
	case err != nil:
		return token.Verdict{}, err
	case !consent.Valid:
		return jose.Verdict(nil, jose.Flaw(jose.ReasonConsent, "the consent token is not valid: %s", consent.Message))
	case consent.Claims["dsi"] != verdict.Claims["aud"]: // one profile may be for several sources
		return jose.Verdict(nil, jose.Flaw(jose.ReasonConsent, "the consent token is for another data source than the API token"))
	}
	verdict.Consent = consent.Claims
	return verdict, nil
}

// configuration gets the dataspace's configuration
// (https://docs.ioxio.dev/schemas/dataspace-configuration).
func (i *ioxio) configuration(ctx context.Context) (strictjson.Object, error) {
	return i.dataspace.object(ctx, i.dataspace.urls[0])
}

// consentKeys gets the keys of all consent providers.
func (i *ioxio) consentKeys(ctx context.Context) (all []jose.Published, err error) {
	configuration, err := i.configuration(ctx)
	var providers []struct {
		BaseURL string `json:"base_url"`
	}
	_ = json.Unmarshal(configuration["consent_providers"], &providers)
	for _, p := range providers {
		base := strings.TrimSuffix(p.BaseURL, "/")
		if i.dataspace.checkPublished("consent_providers", base, "?#") != nil {
			continue
		}
		m := *i.dataspace
		m.issuer, m.urls, m.mustName = base, []string{base + "/.well-known/dataspace/consent-configuration.json"}, true
		published, err := m.fetch(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, published...)
	}
	return all, err
}

// Look looks at the dataspace's configuration, and returns what it found there.
func (i *ioxio) Look(ctx context.Context) ([]string, error) {
	configuration, err := i.configuration(ctx)
	if err != nil {
		return nil, err
	}
	domain := configuration.Text("dataspace_base_domain")
	for _, dsi := range i.settings.DSI {
		if u, err := url.Parse(dsi); domain != "" && (err != nil || u.Hostname() != domain) {
			return nil, invalid("dsi", "%s belongs to another dataspace than %s, whose domain is %s", dsi, i.settings.Dataspace, jose.Quote(domain))
		}
	}
	found, err := i.Verifier.Look(ctx)
	if err != nil {
		return nil, err
	}
	found = append(found, "product gateway: "+cmp.Or(i.settings.Gateway, configuration.Text("product_gateway_url"), "none"))
	if i.settings.Consent {
		more, err := i.consents.Look(ctx)
		return append(found, more...), err
	}
	return found, nil
}

// gateway returns the base URL of the product gateway.
func (i *ioxio) gateway(ctx context.Context) (string, error) {
	if i.settings.Gateway != "" {
		return i.settings.Gateway, nil
	}
	configuration, err := i.configuration(ctx)
	if err != nil {
		return "", err
	}
	gateway := strings.TrimSuffix(configuration.Text("product_gateway_url"), "/")
	if err := i.dataspace.checkPublished("product_gateway_url", gateway, "?#"); err != nil {
		return "", invalid("gateway", "the dataspace's configuration names no product gateway (product_gateway_url); set gateway in the profile")
	}
	return gateway, nil
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
	address, err := i.gateway(ctx)
	if err != nil {
		return nil, err
	}
	address += "/api/v1/api-token/verify"
	body, _ := json.Marshal(map[string]string{"aud": aud, "apiToken": raw.Reveal()}) // of texts, which cannot fail
	a, err := outgoing{to: address, userAgent: i.settings.UserAgent, loopback: i.settings.Loopback, media: "application/json", body: string(body)}.send(ctx, i.dataspace.client)
	if err != nil {
		return nil, err
	}
	o, fault := a.object()
	valid := string(o["valid"])
	switch {
	case a.status/100 == 4 && !overloaded(a.status):
		return nil, jose.Flaw(jose.ReasonGateway, "the gateway answered %s", statusText(a.status))
	case a.status/100 != 2:
		return nil, a.unavailable(address, finding{"gateway", a.finding("").words})
	case fault != nil || valid != "true" && valid != "false":
		return nil, a.unavailable(address, finding{"gateway", "answered without a verdict"})
	case valid == "false":
		return nil, jose.Flaw(jose.ReasonGateway, "the gateway says that the token is not valid")
	}
	return claims.Values(), nil
}
