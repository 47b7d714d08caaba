package providertest

import (
	"net/http"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Aspose issues tokens as Aspose Cloud does, by an IdentityServer. It checks in the
// order of IdentityServer4, src/Endpoints/TokenEndpoint.cs, ClientSecretValidator.cs
// and TokenRequestValidator.cs (src/Validation/Default), and refuses as
// TokenErrorResult.cs does: 400, whatever it is, without a description. How long
// tokens live is Aspose's own setting, a day.
type Aspose struct {
	*issuer
	url     string
	sign    tokenSigner
	clients map[string]string // secrets by client ID; guarded by issuer.mu
}

// BaseURL is the API's base.
func (a *Aspose) BaseURL() string { return a.url }

// APIURL is below what the tokens open.
func (a *Aspose) APIURL() string { return a.url + "/api/aspose/" }

// NewClient registers an application.
func (a *Aspose) NewClient() (id, secret string) {
	id, secret = newGUID(), randomHex(16) // in the form of the portal's
	a.AddClient(id, secret)
	return id, secret
}

// AddClient registers an application whose secret is known.
func (a *Aspose) AddClient(id, secret string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.clients[id] = secret
}

func (a *Aspose) token(w http.ResponseWriter, r *http.Request) {
	form, _ := formOf(r) // the first of several values counts
	a.mu.Lock()
	secret, known := a.clients[form.Get("client_id")]
	a.mu.Unlock()
	fault := ""
	switch {
	case r.Method != http.MethodPost || !isForm(r):
		fault = "invalid_request"
	case !known || form.Get("client_secret") != secret: // the client first
		fault = "invalid_client"
	case form.Get("grant_type") != "client_credentials": // a missing one too
		fault = "unsupported_grant_type"
	}
	// HttpResponseExtensions.cs
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.Header().Set("Cache-Control", "no-store, no-cache, max-age=0")
	if fault != "" {
		writeJSON(w, http.StatusBadRequest, oauthError{Code: fault})
		return
	}
	a.issue(w, func(life time.Duration) (string, error) {
		return a.sign(jwt.MapClaims{"client_id": form.Get("client_id")}, life)
	}, nil)
}
