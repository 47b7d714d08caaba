package providers

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"tokend/providers/token"
)

// ExchangeACR hands an Entra access token to the Azure Container Registry with
// the URL registry and returns the registry's refresh token, with which its
// clients can log in for some hours. tenant may be empty. The exchange is POST
// /oauth2/exchange of the registry's own API. Errors are ErrRejected or
// ErrUnavailable.
func ExchangeACR(ctx context.Context, env Env, registry, tenant string, t token.Secret) (token.Secret, error) {
	u, err := url.Parse(registry)
	if err != nil || u.Host == "" {
		return token.Secret{}, invalid("registry", "the registry must be a URL")
	}
	form := url.Values{
		"grant_type":   {"access_token"},
		"service":      {u.Hostname()},
		"access_token": {t.Reveal()},
	}
	if tenant, _ := tenantAndHost(tenant, entraHost); tenant != "" {
		form.Set("tenant", tenant)
	}
	who := "the registry " + u.Host
	out := outgoing{to: u.Scheme + "://" + u.Host + "/oauth2/exchange", who: who, userAgent: "tokend", media: formMedia, body: form.Encode()}
	a, err := out.send(ctx, env.HTTP)
	if err != nil {
		return token.Secret{}, err
	}
	switch a.status {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden:
		return token.Secret{}, &token.Error{Code: token.ErrRejected, Topic: "registry", Message: fmt.Sprintf(
			"%s answered %s to the exchange; the profile's scope must be for https://management.azure.com or https://containerregistry.azure.net, and its identity needs a role on the registry", who, statusText(a.status))}
	}
	m, err := objectIn(a, who, "registry")
	if err != nil {
		return token.Secret{}, err
	}
	refresh, err := tokenIn(m, "refresh_token")
	if err != nil {
		return token.Secret{}, a.unavailable(who, a.nonsense(err))
	}
	return refresh, nil
}
