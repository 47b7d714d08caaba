package discover

import (
	"cmp"
	"net/url"
	"path/filepath"
	"strings"

	"tokend/providers/token"
)

// forms are functions that return the Find of a JSON object, nil of one that has
// another form. That of a client at any issuer is the last.
var forms = []func(path string, m members, o Options) *Find{serviceKey, googleKey, googleLogin, anyClient}

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

// googleLogin is one of Google's other credential files, which oauth2l and
// gcloud read. None is for a machine.
func googleLogin(_ string, m members, _ Options) *Find {
	switch kind := m.text("type"); {
	case kind == "authorized_user", kind == "impersonated_service_account", strings.HasPrefix(kind, "external_account"),
		m.have("installed"), m.have("web"):
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
	case m.have("appId", "tenant"): // as "az ad sp create-for-rbac" prints it
		f.Form, c.system, c.secret = "Azure service principal", "azure", m.text("password")
	case m.have("clientId", "tenantId"): // the same with --sdk-auth, and in the secret AZURE_CREDENTIALS of GitHub's workflows
		f.Form = "Azure service principal (--sdk-auth)"
		if c.authority != "" || m.have("subscriptionId") || o.Provider == "azure" { // other systems have tenants as well
			c.system = "azure"
		}
		if resource := m.text("resourceManagerEndpointUrl"); resource != "" {
			c.scope = resource + "/.default" // an identifier: a slash at its end belongs to it
		}
	case filepath.Base(path) == "service_principal_entries.json" && m.have("client_id", "tenant"): // in ~/.azure
		f.Form, f.shared, c.system, c.certificate, c.x5c = "Azure CLI login", true, "azure", m.text("certificate"), m.have("use_cert_sn_issuer")
	case m.text("authority") != "": // the configuration file of MSAL's samples for daemons
		u, err := url.Parse(m.text("authority"))
		if err != nil || u.Host == "" {
			return &Find{Form: "MSAL parameters", Why: "its authority is not a URL"}
		}
		f.Form, c.system, c.authority, c.secret = "MSAL parameters", "azure", u.Host, m.text("secret", "client_secret")
		c.tenant, _, _ = strings.Cut(strings.Trim(u.Path, "/"), "/")
	case m.text("issuer_url", "issuer") != "":
		f.Form = "oidc-agent configuration"
		if m.text("refresh_token") != "" {
			f.Why = "it is a person's login (a refresh token). tokend obtains tokens for machines"
		}
	case c.secret == "":
		return nil
	case m.text(append(asposeIDs, "product_url")...) != "": // servercreds.json and others
		f.Form = "Aspose SDK's credentials"
		if c.baseURL != "" || m.have("CellsCloudClientId") { // GroupDocs' SDKs have AppSid and AppKey too
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
