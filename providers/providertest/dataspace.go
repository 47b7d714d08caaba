package providertest

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"time"
)

// Dataspace is an IOXIO dataspace: it signs API tokens for data sources,
// publishes its keys, and has a gateway that verifies tokens, and a provider of
// consents. Its sources are IOXIO's own pages, docs.ioxio.dev: "Verifying API
// tokens" (guides), and the schemas dataspace-configuration, consent-configuration
// and consent-token; and example-productizer, app/api_tokens.py. All keys are for
// RS256.
type Dataspace struct {
	*publisher
	consents *publisher
	// without are the members that its configuration lacks.
	without []string
}

// OpenID is an issuer with keys of all kinds, and metadata as OpenID Connect
// Discovery 1.0 or, at another path, RFC 8414 has it.
type OpenID struct{ *publisher }

// NewToken signs an API token for a data source, as the gateway sends it in
// X-API-Key.
func (d *Dataspace) NewToken(dsi string) (string, error) {
	return d.Sign("RS256", nil, map[string]any{"sub": "group", "aud": dsi})
}

// NewConsent signs a consent token for a data source, as the gateway passes it on
// in X-Consent-Token: the members are those of the schema consent-token, all of
// them required. changes to its claims come on top, nil taking one out.
func (d *Dataspace) NewConsent(dsi string, changes map[string]any) (string, error) {
	header := map[string]any{"v": "0.2", "tid": newGUID(), "jku": d.consents.url + "/.well-known/jwks.json"}
	claims := map[string]any{"sub": "person", "subiss": d.url + "/login", "acr": "fake-auth", "app": newGUID(), "appiss": d.url + "/login", "dsi": dsi}
	maps.Copy(claims, changes)
	return d.consents.Sign("RS256", header, claims)
}

// Consents is the provider of consents.
func (d *Dataspace) Consents() *publisher { return d.consents }

// Gateway is the base URL of the product gateway.
func (d *Dataspace) Gateway() string { return d.url + "/gateway" }

// Lack leaves members out of the dataspace's configuration; some dataspaces have no
// jwks_url, which the schema does not have.
func (d *Dataspace) Lack(members ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.without = members
}

// NewToken signs a token for an audience by RS256.
func (o *OpenID) NewToken(audience string) (string, error) {
	return o.Sign("RS256", nil, map[string]any{"aud": audience})
}

func newDataspace(url string) *Dataspace {
	return &Dataspace{publisher: newPublisher(url, "RS256"), consents: newPublisher(url+"/consent", "RS256")}
}

func (d *Dataspace) routes(mux *http.ServeMux) {
	mux.HandleFunc("GET /.well-known/dataspace/dataspace-configuration.json", d.answering(d.configuration))
	// For Azure API Management ("Verifying API tokens").
	mux.HandleFunc("GET /.well-known/openid-configuration", d.metadata(map[string]any{"issuer": d.url, "jwks_uri": d.url + "/.well-known/jwks.json"}))
	mux.HandleFunc("GET /.well-known/jwks.json", d.answering(d.jwks))
	mux.HandleFunc("GET /consent/.well-known/dataspace/consent-configuration.json", d.consents.metadata(map[string]any{
		"issuer":              d.consents.url,
		"jwks_uri":            d.consents.url + "/.well-known/jwks.json",
		"consent_request_uri": d.consents.url + "/Consent/RequestConsents",
	}))
	mux.HandleFunc("GET /consent/.well-known/jwks.json", d.consents.answering(d.consents.jwks))
	mux.HandleFunc("POST /gateway/api/v1/api-token/verify", d.answering(d.verify))
}

// configuration is that of the schema dataspace-configuration, with jwks_url, which
// the guide "Verifying API tokens" adds.
func (d *Dataspace) configuration(w http.ResponseWriter, _ *http.Request) {
	base, _ := url.Parse(d.url) // it is ours
	all := map[string]any{
		"dataspace_base_domain":    base.Hostname(),
		"dataspace_name":           "Example",
		"product_gateway_url":      d.Gateway(),
		"developer_portal_url":     d.url + "/developer",
		"docs_url":                 d.url + "/docs",
		"authentication_providers": map[string]any{"developer": map[string]string{"base_url": d.url + "/login"}, "end_user": map[string]string{"base_url": d.url + "/login"}},
		"consent_providers":        []any{map[string]string{"base_url": d.consents.url}},
		"definitions":              map[string]string{"git": d.url + "/definitions.git", "web": d.url + "/definitions"},
		"jwks_url":                 d.url + "/.well-known/jwks.json",
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, name := range d.without {
		delete(all, name)
	}
	writeJSON(w, http.StatusOK, all)
}

// verify is the gateway's: it wants just the two members that the guide documents,
// and answers as it says, 200 with the claims or 403. The status of a body that it
// does not understand is documented nowhere; 422 is FastAPI's.
func (d *Dataspace) verify(w http.ResponseWriter, r *http.Request) {
	var body map[string]string
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10)).Decode(&body)
	if r.Header.Get("Content-Type") != "application/json" || err != nil || len(body) != 2 || body["aud"] == "" || body["apiToken"] == "" {
		writeJSON(w, http.StatusUnprocessableEntity, map[string]string{"detail": "aud and apiToken are needed"})
		return
	}
	claims, ok := d.accepts(body["apiToken"], body["aud"])
	if !ok {
		writeJSON(w, http.StatusForbidden, map[string]any{"success": false, "message": "API token is not valid for this source or it has expired"})
		return
	}
	answer := map[string]any{"valid": true}
	for _, name := range []string{"aud", "exp", "iat", "iss", "sub"} {
		answer[name] = claims[name]
	}
	writeJSON(w, http.StatusOK, answer)
}

func (d *Dataspace) accepts(text, aud string) (part, bool) {
	header, claims, err := unverified(text)
	if err != nil {
		return nil, false
	}
	exp, ok := claims.number("exp")
	public, id := d.PublicKey("RS256")
	return claims, ok && time.Now().Before(exp) && header.text("kid") == id && claims.text("iss") == d.url && claims.text("aud") == aud &&
		signedBy(text, "RS256", public)
}

// routes serves the metadata at one of the two places that there are for it.
func (o *OpenID) routes(mux *http.ServeMux, metadata, path string) {
	mux.HandleFunc("GET "+metadata, o.metadata(map[string]any{"issuer": o.url, "jwks_uri": o.url + "/jwks"}))
	mux.HandleFunc("GET "+path+"/jwks", o.answering(o.jwks))
}
