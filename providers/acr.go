package providers

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"tokend/providers/token"
)

// ExchangeACR hands an Entra access token to an Azure Container Registry, of
// which registry is the URL, and returns the registry's refresh token, good
// for some hours: the form that its clients can log in with. tenant may be
// empty. The exchange is POST /oauth2/exchange of the registry's own API.
// Errors are ErrRejected or ErrUnavailable.
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
	exchange := u.Scheme + "://" + u.Host + "/oauth2/exchange"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, exchange, strings.NewReader(form.Encode()))
	if err != nil {
		return token.Secret{}, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Accept-Encoding", "identity")
	req.Header.Set("User-Agent", "tokend")
	a, err := roundTrip(withoutRedirects(env.HTTP), req)
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
	m, fault := a.members()
	refresh := m.text("refresh_token")
	if fault == nil && (refresh == "" || len(refresh) > maxToken || strings.ContainsFunc(refresh, func(r rune) bool { return r <= ' ' || r > '~' })) {
		fault = fmt.Errorf("no usable refresh_token")
	}
	if fault != nil {
		return token.Secret{}, &token.Error{Code: token.ErrUnavailable, Topic: nonsenseTopic(fault), Message: fmt.Sprintf(
			"the registry %s answered %s with %v", u.Host, statusText(a.status), fault)}
	}
	return token.NewSecret(refresh), nil
}
