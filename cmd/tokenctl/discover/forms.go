package discover

import (
	"cmp"
	"net/url"
	"path/filepath"
	"strings"

	"tokend/providers/token"
)

// A form returns the Find of a JSON object that has the form, nil of others.
type form func(path string, m members, o Options) *Find

// forms are the known ones, that of a client at any issuer last.
var forms = []form{serviceKey, googleKey, googleClient, createdForRBAC, sdkAuth, storedPrincipal, msalParameters, oidcAgent, asposeFile, plainClient}

// serviceKey is the download of the Copernicus Land Monitoring Service. Its
// token_uri names the issuer.
func serviceKey(path string, m members, _ Options) *Find {
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
func googleKey(_ string, m members, o Options) *Find {
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

// googleClient is one of Google's other credential files, which oauth2l and
// gcloud read. None is for a machine.
func googleClient(_ string, m members, _ Options) *Find {
	switch kind := m.text("type"); {
	case kind == "authorized_user", kind == "impersonated_service_account", strings.HasPrefix(kind, "external_account"),
		m.have("installed"), m.have("web"):
		return &Find{Form: "Google login", Why: "it is a person's login, or needs another login first. tokend obtains tokens for machines: create a service account"}
	}
	return nil
}

// createdForRBAC is what "az ad sp create-for-rbac" prints.
func createdForRBAC(path string, m members, o Options) *Find {
	if !m.have("appId", "tenant") {
		return nil
	}
	return client{
		system: "azure", tenant: m.text("tenant"), id: m.text("appId"), secret: m.text("password"), certificate: m.text("fileWithCertAndPrivateKey"),
	}.find(Find{Form: "Azure service principal"}, cmp.Or(Name(m.text("displayName")), nameOf(path, "azure")), o)
}

// sdkAuth is what "az ad sp create-for-rbac --sdk-auth" prints, which is also
// the secret AZURE_CREDENTIALS of GitHub's workflows.
func sdkAuth(path string, m members, o Options) *Find {
	if !m.have("clientId", "tenantId") {
		return nil
	}
	c := client{
		tenant: m.text("tenantId"), id: m.text("clientId"), secret: m.text("clientSecret"), certificate: m.text("clientCertificate"),
		authority: hostOf(m.text("activeDirectoryEndpointUrl")),
	}
	if c.authority != "" || m.have("subscriptionId") || o.Provider == "azure" { // other systems have tenants as well
		c.system = "azure"
	}
	if resource := m.text("resourceManagerEndpointUrl"); resource != "" {
		c.scope = resource + "/.default" // an identifier: a slash at its end belongs to it
	}
	return c.find(Find{Form: "Azure service principal (--sdk-auth)"}, nameOf(path, "azure"), o)
}

// storedPrincipal is an entry of ~/.azure/service_principal_entries.json, which
// that file's name tells from others with a tenant.
func storedPrincipal(path string, m members, o Options) *Find {
	if filepath.Base(path) != "service_principal_entries.json" || !m.have("client_id", "tenant") {
		return nil
	}
	f := client{
		system: "azure", tenant: m.text("tenant"), id: m.text("client_id"), secret: m.text("client_secret"), certificate: m.text("certificate"),
	}.find(Find{Form: "Azure CLI login", shared: true}, "azure", o)
	if f.Provider != "" && m.all["use_cert_sn_issuer"] != nil {
		f.Settings["x5c"] = true
	}
	return f
}

// msalParameters is the configuration file of MSAL's samples for daemons.
func msalParameters(path string, m members, o Options) *Find {
	if m.text("authority") == "" || m.text("client_id") == "" {
		return nil
	}
	u, err := url.Parse(m.text("authority"))
	if err != nil || u.Host == "" {
		return &Find{Form: "MSAL parameters", Why: "its authority is not a URL"}
	}
	tenant, _, _ := strings.Cut(strings.Trim(u.Path, "/"), "/")
	return client{
		system: "azure", tenant: tenant, authority: u.Host, id: m.text("client_id"), secret: m.text("secret", "client_secret"), scope: m.words("scope"),
	}.find(Find{Form: "MSAL parameters"}, nameOf(path, "azure"), o)
}

// oidcAgent is a client or account file of oidc-agent, as plain JSON.
func oidcAgent(path string, m members, o Options) *Find {
	if m.text("issuer_url", "issuer") == "" || m.text("client_id") == "" {
		return nil
	}
	f := Find{Form: "oidc-agent configuration"}
	if m.text("refresh_token") != "" {
		f.Why = "it is a person's login (a refresh token). tokend obtains tokens for machines"
		return &f
	}
	return m.client().find(f, cmp.Or(Name(m.text("name")), nameOf(path, Name(hostOf(m.text("issuer_url", "issuer"))))), o)
}

// asposeFile is a file of Aspose's SDKs: servercreds.json and others. GroupDocs'
// SDKs have AppSid and AppKey too, so the file must name the server as well.
func asposeFile(path string, m members, o Options) *Find {
	c := client{
		id: m.text("CellsCloudClientId", "AppSid", "AppSID", "appSid", "app_sid"), secret: m.text("CellsCloudClientSecret", "AppKey", "appKey", "app_key"),
		baseURL: m.text("product_url", "CellsCloudApiBaseUrl", "BaseUrl", "baseUrl", "base_url", "BasePath"),
	}
	if m.text("product_url") != "" {
		c.id, c.secret = cmp.Or(c.id, m.text("client_id")), cmp.Or(c.secret, m.text("client_secret"))
	}
	if c.id == "" || c.secret == "" {
		return nil
	}
	if c.baseURL != "" || m.text("CellsCloudClientId") != "" {
		c.system = "aspose"
	}
	return c.find(Find{Form: "Aspose SDK's credentials"}, nameOf(path, "aspose"), o)
}

// plainClient is any object with a client ID and secret.
func plainClient(path string, m members, o Options) *Find {
	if m.text("client_id") == "" || m.text("client_secret") == "" {
		return nil
	}
	return m.client().find(Find{Form: "OAuth client"}, nameOf(path, ""), o)
}

// client is the client that the members describe.
func (m members) client() client {
	return client{
		tokenURL: m.text("token_url", "token_uri", "token_endpoint", "access_token_url"), id: m.text("client_id"), secret: m.text("client_secret"),
		tenant: m.text("tenant", "tenant_id"), audience: m.text("audience"), scope: m.words("scope"),
	}
}

// hostOf is the host of a URL, or a text that is a host already.
func hostOf(text string) string {
	if u, err := url.Parse(text); err == nil && u.Host != "" {
		return u.Host
	}
	return strings.Trim(text, "/")
}
