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
	scope, audience       string
	// system is the provider that the form belongs to, empty if several systems
	// have such a form.
	system string
	// tokenURL names any issuer, the others an issuer of azure and of aspose.
	tokenURL, tenant, authority, baseURL string
}

// issuer is the provider for the issuer that the form or the person names, empty
// if neither does. Nothing else may decide where a secret goes.
func (c client) issuer(o Options) string {
	switch {
	case c.isEntra() && o.Provider != "oauth2":
		return "azure"
	case c.tokenURL != "":
		return "oauth2"
	case c.system != "":
		return c.system
	case o.Provider == "azure" || o.Provider == "aspose":
		return o.Provider
	case o.Provider == "oauth2":
		return "oauth2"
	}
	return ""
}

// isEntra reports whether the token URL is that of a tenant of Entra ID
// (https://learn.microsoft.com/entra/identity-platform/authentication-national-cloud).
func (c client) isEntra() bool {
	host := hostOf(c.tokenURL)
	return strings.HasSuffix(c.tokenURL, "/oauth2/v2.0/token") && (host == "login.microsoftonline.com" || host == "login.microsoftonline.us" || host == "login.partner.microsoftonline.cn")
}

// guess is the provider that the client looks made for, empty if it looks like
// none. It is for proposals only.
func (c client) guess() string {
	const asposeSecret = 32 // hexadecimal digits
	switch {
	case strings.Contains(c.scope, "/.default") || strings.Contains(c.scope, "api://"):
		return "azure"
	case len(c.secret) == asposeSecret && strings.Trim(c.secret, "0123456789abcdef") == "":
		return "aspose"
	}
	return ""
}

// find is the Find of a client. An empty name stands for the issuer's.
func (c client) find(f Find, name string, o Options) *Find {
	c.scope = cmp.Or(o.Scope, c.scope)
	if c.system == "" && (o.Provider == "" || o.Provider == "oauth2") {
		c.tokenURL = cmp.Or(c.tokenURL, o.TokenURL)
	}
	if c.isEntra() && o.Provider != "oauth2" {
		c.tenant, c.authority = c.tokenURL, "" // tokend takes the URL apart
	}
	f.Provider, f.Client = c.issuer(o), c.id
	f.Settings = map[string]any{"client_id": c.id}
	f.Secrets = map[string]token.Secret{"client_secret": token.NewSecret(c.secret)}
	switch f.Provider {
	case "azure":
		c.azure(&f, o)
	case "aspose":
		if c.system != "" { // else it is the base URL of any system
			f.set("base_url", c.baseURL)
		}
		f.Endpoint = cmp.Or(token.Settings(f.Settings).Text("base_url"), "https://api.aspose.cloud") + "/connect/token"
	case "oauth2":
		f.Endpoint = c.tokenURL
		f.set("token_url", c.tokenURL)
		f.set("audience", c.audience)
		if c.scope != "" {
			f.Settings["scopes"] = strings.Fields(c.scope)
		}
		name = cmp.Or(name, Name(hostOf(c.tokenURL)))
	default:
		f.Open, f.Guess = true, c.guess()
		f.Why = "it does not say who issues the tokens. Use --token-url URL, or tokenctl add with --provider"
	}
	if c.secret == "" && c.certificate == "" {
		f.Why, f.Open = "it has no secret (the login is federated, or the secret is elsewhere)", false
	}
	if f.Why != "" {
		return &Find{Form: f.Form, Why: f.Why, Open: f.Open, Guess: f.Guess}
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
	if c.scope == "" {
		c.scope, f.Note = armScope, scopeNote(armScope)
	}
	f.Settings["scope"] = c.scope
	f.set("tenant", c.tenant)
	f.Endpoint = c.tokenURL
	if !c.isEntra() {
		f.Endpoint = "https://" + cmp.Or(c.authority, "login.microsoftonline.com") + "/" + c.tenant + "/oauth2/v2.0/token"
	}
	if c.authority != "login.microsoftonline.com" { // the provider's own
		f.set("authority", c.authority)
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
