package providertest

import (
	"net/http"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Aspose issues tokens as Aspose Cloud does, by an IdentityServer.
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
	id, secret = newGUID(), opaque(24)
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
	form, _ := formOf(r)
	a.mu.Lock()
	secret, known := a.clients[form.Get("client_id")]
	a.mu.Unlock()
	switch {
	case r.Method != http.MethodPost:
		w.WriteHeader(http.StatusMethodNotAllowed)
	case len(form) == 0:
		writeJSON(w, http.StatusBadRequest, oauthError{Code: "invalid_request"})
	case !known || form.Get("client_secret") != secret:
		writeJSON(w, http.StatusBadRequest, oauthError{Code: "invalid_client"})
	case form.Get("grant_type") != "client_credentials":
		writeJSON(w, http.StatusBadRequest, oauthError{Code: "unsupported_grant_type"})
	default:
		a.issue(w, func(life time.Duration) (string, error) {
			return a.sign(jwt.MapClaims{"client_id": form.Get("client_id")}, life)
		}, nil)
	}
}
