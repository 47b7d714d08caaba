package discover

import (
	"cmp"
	"strings"

	"tokend/providers/token"
)

// oidcAgent is a client or account file of oidc-agent, as plain JSON.
func oidcAgent(path string, m members, o Options) *Find {
	if m.text("issuer_url", "issuer") == "" || m.text("client_id") == "" {
		return nil
	}
	f := &Find{Form: "oidc-agent configuration"}
	issuer := strings.TrimRight(m.text("issuer_url", "issuer"), "/")
	tokenURL := cmp.Or(m.text("token_endpoint"), o.TokenURL)
	switch {
	case m.text("refresh_token") != "":
		f.Why = "it is a person's login (a refresh token). tokend obtains tokens for machines"
	case m.text("client_secret") == "":
		f.Why = "its client has no secret, so it is not for machines"
	case tokenURL == "":
		f.Why = "it does not name the token endpoint. Use --token-url URL (token_endpoint in " +
			issuer + "/.well-known/openid-configuration)"
	default:
		return m.client(tokenURL).find(*f, cmp.Or(Name(m.text("name")), nameOf(path, Name(hostOf(issuer)))), o)
	}
	return f
}

// plainClient is any object with a client ID and secret.
func plainClient(path string, m members, o Options) *Find {
	if m.text("client_id") == "" || m.text("client_secret") == "" {
		return nil
	}
	return m.client(m.text("token_url", "token_uri", "token_endpoint", "access_token_url")).find(Find{Form: "OAuth client"}, nameOf(path, ""), o)
}

// A client is one of the client credentials grant (RFC 6749 §4.4).
type client struct {
	tokenURL, id, secret, audience string
	scopes                         []string
}

// client is the client that the members describe.
func (m members) client(tokenURL string) client {
	return client{tokenURL, m.text("client_id"), m.text("client_secret"), m.text("audience"), m.texts("scope")}
}

// find is the Find of a client. An empty name stands for the issuer's.
func (c client) find(f Find, name string, o Options) *Find {
	if c.tokenURL = cmp.Or(c.tokenURL, o.TokenURL); c.tokenURL == "" {
		f.Why, f.Variables = "it does not say who issues the tokens. Use --token-url URL", nil
		return &f
	}
	if o.Scope != "" {
		c.scopes = strings.Fields(o.Scope)
	}
	f.Provider, f.Client, f.Name = "oauth2", c.id, cmp.Or(name, Name(hostOf(c.tokenURL)))
	f.Settings = map[string]any{"token_url": c.tokenURL, "client_id": c.id}
	if len(c.scopes) > 0 {
		f.Settings["scopes"] = c.scopes
	}
	if c.audience != "" {
		f.Settings["audience"] = c.audience
	}
	f.Secrets = map[string]token.Secret{"client_secret": token.NewSecret(c.secret)}
	return &f
}
