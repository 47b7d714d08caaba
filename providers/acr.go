package providers

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

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
	if tenant != "" {
		form.Set("tenant", tenant)
	}
	req, err := formRequest(ctx, u.Scheme+"://"+u.Host+"/oauth2/exchange", "tokend", form)
	if err != nil {
		return token.Secret{}, err
	}
	a, err := roundTrip(env.HTTP, req)
	if err != nil {
		return token.Secret{}, &token.Error{Code: token.ErrUnavailable, Topic: whyUnreachable(err).topic, Cause: err,
			Message: fmt.Sprintf("the registry %s cannot be reached", u.Host)}
	}
	if a.status != http.StatusOK {
		code := token.ErrUnavailable
		if a.status == http.StatusBadRequest || a.status == http.StatusUnauthorized || a.status == http.StatusForbidden {
			code = token.ErrRejected
		}
		return token.Secret{}, &token.Error{Code: code, Topic: "registry", Message: fmt.Sprintf(
			"the registry %s answered %s to the exchange; the profile's scope must be for https://management.azure.com or https://containerregistry.azure.net, and its identity needs a role on the registry", u.Host, statusText(a.status))}
	}
	m, fault := a.object()
	refresh := m.Text("refresh_token")
	if fault == nil && (refresh == "" || len(refresh) > maxToken || strings.ContainsFunc(refresh, func(r rune) bool { return r <= ' ' || r > '~' })) {
		fault = fmt.Errorf("no usable refresh_token")
	}
	if fault != nil {
		return token.Secret{}, &token.Error{Code: token.ErrUnavailable, Topic: nonsenseTopic(fault), Message: fmt.Sprintf(
			"the registry %s answered %s with %v", u.Host, statusText(a.status), fault)}
	}
	return token.NewSecret(refresh), nil
}
