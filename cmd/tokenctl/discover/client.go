package discover

import (
	"cmp"
	"fmt"
	"path/filepath"
	"strings"

	"tokend/providers/token"
	"tokend/providers/token/input"
)

// armScope is Azure's own management, which principals made by "az ad sp
// create-for-rbac" are for.
const armScope = "https://management.azure.com/.default"

// A client is an application with its credential at an issuer (RFC 6749 §4.4).
type client struct {
	id, secret            string
	certificate, password string // certificate is the name of a file
	x5c                   bool   // requests carry the certificate
	scope, audience       string
	// system is the provider that the form belongs to, empty if several systems
	// have such a form.
	system string
	// tokenURL names any issuer, the others an issuer of azure and of aspose.
	tokenURL, tenant, authority, baseURL string
}

// isEntra reports whether the token URL is that of a tenant of Entra ID
// (https://learn.microsoft.com/entra/identity-platform/authentication-national-cloud).
func (c client) isEntra() bool {
	host := hostOf(c.tokenURL)
	return strings.HasSuffix(c.tokenURL, "/oauth2/v2.0/token") && (host == "login.microsoftonline.com" || host == "login.microsoftonline.us" || host == "login.partner.microsoftonline.cn")
}

// find is the Find of a client. An empty name stands for the issuer's. Only the form
// or the person decides where a secret goes: with neither, the Find is open.
func (c client) find(f Find, name string, o Options) *Find {
	c.scope = cmp.Or(o.Scope, c.scope)
	if c.system == "" && (o.Provider == "" || o.Provider == "oauth2") {
		c.tokenURL = cmp.Or(c.tokenURL, o.TokenURL)
	}
	f.Client, f.Endpoint = c.id, c.tokenURL
	f.Settings = map[string]any{"client_id": c.id}
	f.Secrets = map[string]token.Secret{"client_secret": token.NewSecret(c.secret)}
	switch issuer := cmp.Or(c.system, o.Provider); {
	case f.Why != "":
	case c.secret == "" && c.certificate == "":
		f.Why = "it has no secret (the login is federated, or the secret is elsewhere)"
	case c.isEntra() && o.Provider != "oauth2":
		c.tenant, c.authority = c.tokenURL, "" // tokend takes the URL apart
		c.azure(&f, o)
	case c.tokenURL != "" || issuer == "oauth2":
		f.Provider = "oauth2"
		f.set("token_url", c.tokenURL)
		f.set("audience", c.audience)
		if c.scope != "" {
			f.Settings["scopes"] = strings.Fields(c.scope)
		}
		name = cmp.Or(name, Name(hostOf(c.tokenURL)))
	case issuer == "azure":
		c.azure(&f, o)
	case issuer == "aspose":
		f.Provider = "aspose"
		if c.system != "" { // else it is the base URL of any system
			f.set("base_url", c.baseURL)
		}
		f.Endpoint = cmp.Or(token.Settings(f.Settings).Text("base_url"), "https://api.aspose.cloud") + "/connect/token"
	default:
		f.Open = true
		f.Why = "it does not say who issues the tokens. Use --token-url URL, or tokenctl add with --provider"
	}
	if f.Why != "" {
		return &Find{Form: f.Form, Why: f.Why, Open: f.Open}
	}
	f.Name = cmp.Or(name, f.Provider)
	return &f
}

// set sets a setting, unless it is empty.
func (f *Find) set(name, value string) {
	if value != "" {
		f.Settings[name] = value
	}
}

// azure makes of f the Find of a principal of Entra ID.
func (c client) azure(f *Find, o Options) {
	const usualAuthority = "login.microsoftonline.com" // the provider's own
	if c.scope == "" {
		c.scope, f.Note = armScope, scopeNote(armScope)
	}
	f.Provider, f.Settings["scope"] = "azure", c.scope
	f.set("tenant", c.tenant)
	f.Endpoint = cmp.Or(c.tokenURL, "https://"+cmp.Or(c.authority, usualAuthority)+"/"+c.tenant+"/oauth2/v2.0/token")
	if c.authority != usualAuthority {
		f.set("authority", c.authority)
	}
	if c.x5c {
		f.Settings["x5c"] = true
	}
	switch {
	case c.id == "" || c.tenant == "" && c.system != "":
		f.Why = "it does not name both a tenant and a client (application) ID"
	case c.tenant == "common" || c.tenant == "organizations" || c.tenant == "consumers":
		f.Why = fmt.Sprintf("an application cannot get tokens from %q; the tenant must be the directory's own ID", c.tenant)
	case c.secret == "" && c.certificate != "":
		f.Secrets, f.Why = c.readCertificate(o)
		f.Files = append(f.Files, c.certificate)
	}
}

// readCertificate reads the PEM or PFX file with certificate and key.
func (c client) readCertificate(o Options) (secrets map[string]token.Secret, why string) {
	content, err := o.Read(c.certificate)
	text := input.Key(string(content))
	switch {
	case err != nil:
		return nil, err.Error()
	case !strings.Contains(text, "-----BEGIN"):
		secrets = map[string]token.Secret{"pfx": token.NewSecret(string(content))}
		if c.password != "" {
			secrets["pfx_password"] = token.NewSecret(c.password)
		}
		return secrets, ""
	case !strings.Contains(text, "PRIVATE KEY-----"):
		return nil, filepath.Base(c.certificate) + " has the certificate without its private key; give both to tokenctl add"
	}
	return map[string]token.Secret{"certificate": token.NewSecret(text)}, ""
}
