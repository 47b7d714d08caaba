package providertest

import (
	"encoding/json"
	"net/http"
	"time"
)

// Dataspace is an IOXIO dataspace: it signs API tokens for data sources,
// publishes its keys, and has a gateway that verifies tokens. Its tokens are
// signed by RS256, the one algorithm of dataspaces.
type Dataspace struct{ *publisher }

// OpenID is an issuer with keys of all kinds, and metadata as OpenID Connect
// Discovery 1.0 or, at another path, RFC 8414 has it.
type OpenID struct{ *publisher }

// NewToken signs an API token for a data source, as the gateway sends it.
func (d *Dataspace) NewToken(dsi string) (string, error) {
	return d.Sign("RS256", nil, map[string]any{"aud": dsi})
}

// Gateway is the base URL of the product gateway.
func (d *Dataspace) Gateway() string { return d.url + "/gateway" }

// NewToken signs a token for an audience by RS256.
func (o *OpenID) NewToken(audience string) (string, error) {
	return o.Sign("RS256", nil, map[string]any{"aud": audience})
}

func (d *Dataspace) routes(mux *http.ServeMux) {
	mux.HandleFunc("GET /.well-known/dataspace/dataspace-configuration.json", d.metadata(map[string]any{
		"authentication_providers": map[string]any{},
		"dataspace_base_domain":    "127.0.0.1",
		"jwks_url":                 d.url + "/.well-known/jwks.json",
		"product_gateway_url":      d.Gateway(),
	}))
	mux.HandleFunc("GET /.well-known/jwks.json", d.answering(d.jwks))
	mux.HandleFunc("POST /gateway/api/v1/api-token/verify", d.answering(d.verify))
}

// verify is the gateway's: it wants just the two members that it documents.
func (d *Dataspace) verify(w http.ResponseWriter, r *http.Request) {
	var body map[string]string
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10)).Decode(&body)
	switch {
	case r.Header.Get("Content-Type") != "application/json" || err != nil || len(body) != 2 || body["aud"] == "" || body["apiToken"] == "":
		writeJSON(w, http.StatusUnprocessableEntity, map[string]string{"detail": "aud and apiToken are needed"})
	case !d.accepts(body["apiToken"], body["aud"]):
		writeJSON(w, http.StatusUnauthorized, map[string]string{"detail": "invalid token"})
	default:
		writeJSON(w, http.StatusOK, map[string]bool{"valid": true})
	}
}

func (d *Dataspace) accepts(text, aud string) bool {
	header, claims, err := unverified(text)
	if err != nil {
		return false
	}
	exp, ok := claims.number("exp")
	public, id := d.PublicKey("RS256")
	return ok && time.Now().Before(exp) && header.text("kid") == id && claims.text("iss") == d.url && claims.text("aud") == aud &&
		signedBy(text, "RS256", public)
}

// routes serves the metadata at one of the two places that there are for it.
func (o *OpenID) routes(mux *http.ServeMux, metadata, path string) {
	mux.HandleFunc("GET "+metadata, o.metadata(map[string]any{"issuer": o.url, "jwks_uri": o.url + "/jwks"}))
	mux.HandleFunc("GET "+path+"/jwks", o.answering(o.jwks))
}
