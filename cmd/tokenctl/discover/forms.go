package discover

import (
	"cmp"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"tokend/providers/token"
	"tokend/providers/token/input"
)

// serviceKey is the download of the Copernicus Land Monitoring Service. Its
// token_uri names the issuer.
func serviceKey(path string, m members) *Find {
	for _, name := range []string{"client_id", "user_id", "token_uri", "private_key"} {
		if m.text(name) == "" {
			return nil
		}
	}
	return &Find{
		Form: "CLMS service key", Provider: "clms", Name: nameOf(path, "clms"), Client: m.text("client_id"), Endpoint: m.text("token_uri"),
		Secrets: map[string]token.Secret{"service_key": token.NewSecret(string(m.raw))},
	}
}

// googleKey is the key of a Google service account (RFC 7523 §2.1 as Google
// has it).
func googleKey(m members, o Options) *Find {
	const usualScope = "https://www.googleapis.com/auth/cloud-platform" // all that the account may do
	if m.text("type") != "service_account" {
		return nil
	}
	f := &Find{Form: "Google service account key"}
	email, key, tokenURL := m.text("client_email"), m.text("private_key"), m.text("token_uri")
	if email == "" || key == "" || tokenURL == "" {
		f.Why = "it lacks client_email, private_key or token_uri"
		return f
	}
	scope := o.Scope
	if scope == "" {
		scope, f.Note = usualScope, scopeNote(usualScope)
	}
	account, _, _ := strings.Cut(email, "@")
	f.Provider, f.Client, f.Endpoint, f.Name = "jwt-bearer", email, tokenURL, cmp.Or(Name(account), "google")
	f.Settings = map[string]any{"token_url": tokenURL, "issuer": email, "scopes": strings.Fields(scope)}
	f.set("key_id", m.text("private_key_id"))
	f.Secrets = map[string]token.Secret{"private_key": token.NewSecret(key)}
	return f
}

// scopeNote is the Note about a scope that was assumed.
func scopeNote(scope string) string { return "for the scope " + scope + "; use --scope for another" }

// googleLogin is one of Google's other credential files, which oauth2l and
// gcloud read. None is for a machine.
func googleLogin(m members) *Find {
	switch kind := m.text("type"); {
	case kind == "authorized_user", kind == "impersonated_service_account", strings.HasPrefix(kind, "external_account"),
		m.all["installed"] != nil, m.all["web"] != nil:
		return &Find{Form: "Google login", Why: "it is a person's login, or needs another login first. tokend obtains tokens for machines: create a service account"}
	}
	return nil
}

// asposeIDs are the names of a client ID in the files of Aspose's and GroupDocs' SDKs.
var asposeIDs = []string{"CellsCloudClientId", "AppSid", "AppSID", "appSid", "app_sid"}

// anyClient is a client ID with what belongs to it, in the words of any tool.
func anyClient(path string, m members, o Options) *Find {
	c := m.client()
	c.id = cmp.Or(c.id, m.text(asposeIDs...))
	c.secret = cmp.Or(c.secret, m.text("CellsCloudClientSecret", "AppKey", "appKey", "app_key"))
	var f Find
	switch {
	case c.id == "":
		return nil
	case m.all["appId"] != nil && m.all["tenant"] != nil: // as "az ad sp create-for-rbac" prints it
		f.Form, c.system, c.secret = "Azure service principal", "azure", m.text("password")
	case m.all["clientId"] != nil && m.all["tenantId"] != nil: // the same with --sdk-auth, and in the secret AZURE_CREDENTIALS of GitHub's workflows
		f.Form = "Azure service principal (--sdk-auth)"
		if c.authority != "" || m.all["subscriptionId"] != nil || o.Provider == "azure" { // other systems have tenants as well
			c.system = "azure"
		}
		if resource := m.text("resourceManagerEndpointUrl"); resource != "" {
			c.scope = resource + "/.default" // an identifier: a slash at its end belongs to it
		}
	case filepath.Base(path) == "service_principal_entries.json" && m.all["tenant"] != nil: // in ~/.azure
		f.Form, f.shared, c.system, c.certificate, c.x5c = "Azure CLI login", true, "azure", m.text("certificate"), m.all["use_cert_sn_issuer"] != nil
	case m.text("authority") != "": // the configuration file of MSAL's samples for daemons
		f.Form, c.system, c.authority, c.secret = "MSAL parameters", "azure", hostOf(m.text("authority")), m.text("secret", "client_secret")
		_, path, _ := strings.Cut(m.text("authority"), c.authority+"/")
		c.tenant, _, _ = strings.Cut(path, "/")
	case m.text("issuer_url", "issuer") != "":
		f.Form = "oidc-agent configuration"
		if m.text("refresh_token") != "" {
			f.Why = "it is a person's login (a refresh token). tokend obtains tokens for machines"
		}
	case c.secret == "":
		return nil
	case m.text(append(asposeIDs, "product_url")...) != "": // servercreds.json and others
		f.Form = "Aspose SDK's credentials"
		if c.baseURL != "" || m.all["CellsCloudClientId"] != nil { // GroupDocs' SDKs have AppSid and AppKey too
			c.system = "aspose"
		}
	default:
		f.Form = "OAuth client"
	}
	return c.find(f, cmp.Or(Name(m.text("displayName", "name")), nameOf(path, "")), o)
}

// client is the client that the members describe.
func (m members) client() client {
	return client{
		id: m.text("client_id", "clientId", "appId"), secret: m.text("client_secret", "clientSecret"),
		certificate: m.text("client_certificate_path", "clientCertificate", "fileWithCertAndPrivateKey"), password: m.text("client_certificate_password"),
		scope: cmp.Or(m.words("scopes"), m.words("scope")), audience: m.text("audience"),
		tokenURL: m.text("token_url", "token_uri", "token_endpoint", "access_token_url"), tenant: m.text("tenant_id", "tenantId", "tenant"),
		authority: hostOf(m.text("authority_host", "activeDirectoryEndpointUrl")),
		baseURL:   m.text("product_url", "CellsCloudApiBaseUrl", "BaseUrl", "baseUrl", "base_url", "BasePath"),
	}
}

// hostOf is the host of a URL, or a text that is a host already.
func hostOf(text string) string {
	if u, err := url.Parse(text); err == nil && u.Host != "" {
		return u.Host
	}
	return strings.Trim(text, "/")
}

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
