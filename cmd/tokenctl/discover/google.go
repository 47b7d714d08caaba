package discover

import (
	"cmp"
	"strings"

	"tokend/providers/token"
)

// googleScope is the usual scope: all that the service account may do.
const googleScope = "https://www.googleapis.com/auth/cloud-platform"

// googleKey is the key of a Google service account (RFC 7523 §2.1 as Google
// has it).
func googleKey(path string, m members, o Options) *Find {
	if m.text("type") != "service_account" {
		return nil
	}
	f := &Find{Form: "Google service account key"}
	email, key := m.text("client_email"), m.text("private_key")
	if email == "" || key == "" {
		f.Why = "it has no client_email or no private_key"
		return f
	}
	scope := o.Scope
	if scope == "" {
		scope, f.Note = googleScope, scopeNote(googleScope)
	}
	account, _, _ := strings.Cut(email, "@")
	f.Provider, f.Client, f.Name = "jwt-bearer", email, cmp.Or(Name(account), "google")
	f.Settings = map[string]any{
		"token_url": cmp.Or(m.text("token_uri"), "https://oauth2.googleapis.com/token"), "issuer": email, "scopes": strings.Fields(scope),
	}
	if id := m.text("private_key_id"); id != "" {
		f.Settings["key_id"] = id
	}
	f.Secrets = map[string]token.Secret{"private_key": token.NewSecret(key)}
	return f
}

// googleClient is one of Google's other credential files, which oauth2l and
// gcloud read. None is for a machine.
func googleClient(_ string, m members, _ Options) *Find {
	switch m.text("type") {
	case "authorized_user":
		return &Find{Form: "Google user login", Why: "it is a person's login (a refresh token). tokend obtains tokens for machines: create a service account"}
	case "external_account", "external_account_authorized_user":
		return &Find{Form: "Google workload identity", Why: "it has no secret: it exchanges another issuer's token, which tokend cannot do"}
	case "impersonated_service_account":
		return &Find{Form: "Google impersonated account", Why: "it needs another login first. Create a key for that service account"}
	}
	if m.have("installed") || m.have("web") {
		return &Find{Form: "OAuth client for logins", Why: "it needs a person's consent in a browser (authorization code). tokend obtains tokens for machines: create a service account"}
	}
	return nil
}

// scopeNote is the Note about a scope that was assumed.
func scopeNote(scope string) string { return "for the scope " + scope + "; use --scope for another" }
