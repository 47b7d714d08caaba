package providertest

import (
	"fmt"
	"net/http"
)

// SubscriptionKey is the one of the API at /api/apim/.
const SubscriptionKey = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"

// APIManagement is Azure API Management in front of an API: it wants a subscription
// key beside what the API itself wants. Statuses, header and texts are those of
// https://learn.microsoft.com/troubleshoot/azure/api-mgmt/availability/unauthorized-errors-invoke-apis
// and https://learn.microsoft.com/azure/api-management/api-management-subscriptions.
func APIManagement(key string, api http.Handler) http.Handler {
	const name = "Ocp-Apim-Subscription-Key"
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given, fault := r.Header.Get(name), ""
		switch {
		case given == "" && r.URL.Query().Get("subscription-key") == "":
			fault = "Access denied due to missing subscription key. Make sure to include subscription key when making requests to an API."
		case given != key && r.URL.Query().Get("subscription-key") != key:
			fault = "Access denied due to invalid subscription key. Make sure to provide a valid key for an active subscription."
		default:
			r.Header.Del(name) // which the API does not see
			api.ServeHTTP(w, r)
			return
		}
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`AzureApiManagementKey realm="https://%s/",name=%q,type="header"`, r.Host, name))
		writeJSON(w, http.StatusUnauthorized, map[string]any{"statusCode": 401, "message": fault})
	})
}
