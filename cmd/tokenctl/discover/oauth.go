package discover

import (
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
	tokenURL := m.text("token_endpoint")
	if tokenURL == "" {
		tokenURL = o.TokenURL
	}
	switch {
	case m.text("refresh_token") != "":
		f.Why = "it stands for a person, by a refresh token; tokend obtains tokens for clients of their own"
	case m.text("client_secret") == "":
		f.Why = "its client has no secret, so it is no machine's own"
	case tokenURL == "":
		f.Why = "it does not name the token endpoint; say it with --token-url (it is token_endpoint in " +
			issuer + "/.well-known/openid-configuration)"
	default:
		name := Name(m.text("name"))
		if name == "" {
			name = nameOf(path, Name(hostOf(issuer)))
		}
		c := client{tokenURL: tokenURL, id: m.text("client_id"), secret: m.text("client_secret"),
			scopes: m.texts("scope"), audience: m.text("audience")}
		return c.find(*f, name, o)
	}
	return f
}

// plainClient is any object with what the client credentials grant takes.
func plainClient(path string, m members, o Options) *Find {
	if m.text("client_id") == "" || m.text("client_secret") == "" {
		return nil
	}
	c := client{tokenURL: m.text("token_url", "token_uri", "token_endpoint", "access_token_url"), id: m.text("client_id"),
		secret: m.text("client_secret"), scopes: m.texts("scope"), audience: m.text("audience")}
	return c.find(Find{Form: "OAuth client"}, nameOf(path, ""), o)
}

// A client is one of the client credentials grant (RFC 6749 §4.4).
type client struct {
	tokenURL, id, secret, audience string
	scopes                         []string
}

// find makes a Find of a client. An empty name stands for the issuer's.
func (c client) find(f Find, name string, o Options) *Find {
	if c.tokenURL == "" {
		c.tokenURL = o.TokenURL
	}
	if c.tokenURL == "" {
		f.Why, f.Variables = "it is not said who issues the tokens; say it with --token-url URL", nil
		return &f
	}
	if o.Scope != "" {
		c.scopes = strings.Fields(o.Scope)
	}
	f.Provider, f.Client, f.Name = "oauth2", c.id, name
	if name == "" {
		f.Name = Name(hostOf(c.tokenURL))
	}
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
