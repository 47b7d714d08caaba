package discover

import (
	"strings"

	"tokend/providers/token"
)

// googleScope is what a service account's tokens are for, unless somebody says
// otherwise: all that the account may do.
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
	tokenURL := m.text("token_uri")
	if tokenURL == "" {
		tokenURL = "https://oauth2.googleapis.com/token"
	}
	scope := o.Scope
	if scope == "" {
		scope, f.Note = googleScope, "for the scope "+googleScope+"; --scope says another"
	}
	account, _, _ := strings.Cut(email, "@")
	f.Provider, f.Name = "jwt-bearer", Name(account)
	if f.Name == "" {
		f.Name = "google"
	}
	f.Client = email
	f.Settings = map[string]any{"token_url": tokenURL, "issuer": email, "scopes": strings.Fields(scope)}
	if id := m.text("private_key_id"); id != "" {
		f.Settings["key_id"] = id
	}
	f.Secrets = map[string]token.Secret{"private_key": token.NewSecret(key)}
	return f
}

// googleClient is what Google's other credential files hold, which oauth2l and
// gcloud take. None is a machine's own.
func googleClient(_ string, m members, _ Options) *Find {
	switch m.text("type") {
	case "authorized_user":
		return &Find{Form: "Google user login", Why: "it stands for a person, by a refresh token; tokend obtains tokens for machines: make a service account"}
	case "external_account", "external_account_authorized_user":
		return &Find{Form: "Google workload identity", Why: "it holds no secret: it trades another issuer's token, which tokend cannot"}
	case "impersonated_service_account":
		return &Find{Form: "Google impersonated account", Why: "it needs another login first; give that service account a key of its own"}
	}
	if m.have("installed") || m.have("web") {
		return &Find{Form: "OAuth client for logins", Why: "it needs a person's consent in a browser (authorization code), which tokend does not ask for; make a service account"}
	}
	return nil
}
