package discover

import (
	"bytes"
	"cmp"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"tokend/providers/token"
)

// armScope is Azure's own management, which principals made by "az ad sp
// create-for-rbac" are for.
const armScope = "https://management.azure.com/.default"

// publicAuthority is the usual sign-in service.
const publicAuthority = "login.microsoftonline.com"

// A principal is an Entra ID application with its credential.
type principal struct {
	tenant, client, secret, certificate, password string
	// authority and scope may be empty.
	authority, scope string
}

// find is the Find of a principal. Its Why is what is missing.
func (p principal) find(f Find, o Options) *Find {
	scope := cmp.Or(o.Scope, p.scope)
	if scope == "" {
		scope, f.Note = armScope, scopeNote(armScope)
	}
	settings := map[string]any{"tenant": p.tenant, "client_id": p.client, "scope": scope}
	if p.authority != "" && p.authority != publicAuthority {
		settings["authority"] = p.authority
	}
	switch {
	case p.tenant == "" || p.client == "":
		f.Why = "it does not name both a tenant and a client (application) ID"
	case p.tenant == "common" || p.tenant == "organizations" || p.tenant == "consumers":
		f.Why = fmt.Sprintf("an application cannot get tokens from %q; the tenant must be the directory's own ID", p.tenant)
	case p.secret != "":
		f.Secrets = map[string]token.Secret{"client_secret": token.NewSecret(p.secret)}
	case p.certificate != "":
		f.Secrets, f.Why = p.readCertificate(o)
		f.Files = append(f.Files, p.certificate)
	default:
		f.Why = "it has no secret (the login is federated, or the secret is elsewhere)"
	}
	if f.Why == "" {
		f.Provider, f.Client, f.Settings = "azure", p.client, settings
	} else {
		f.Note, f.Files, f.Variables = "", nil, nil
	}
	return &f
}

// readCertificate reads the PEM or PFX file with certificate and key.
func (p principal) readCertificate(o Options) (secrets map[string]token.Secret, why string) {
	content, err := o.Read(p.certificate)
	switch {
	case err != nil:
		return nil, err.Error()
	case !bytes.Contains(content, []byte("-----BEGIN")):
		secrets = map[string]token.Secret{"pfx": token.NewSecret(string(content))}
		if p.password != "" {
			secrets["pfx_password"] = token.NewSecret(p.password)
		}
		return secrets, ""
	case !bytes.Contains(content, []byte("PRIVATE KEY-----")):
		return nil, filepath.Base(p.certificate) + " has the certificate without its private key; give both to tokenctl add"
	}
	return map[string]token.Secret{"certificate": token.NewSecret(string(content))}, ""
}

// createdForRBAC is what "az ad sp create-for-rbac" prints.
func createdForRBAC(path string, m members, o Options) *Find {
	if !m.have("appId", "tenant") {
		return nil
	}
	return principal{
		tenant: m.text("tenant"), client: m.text("appId"), secret: m.text("password"), certificate: m.text("fileWithCertAndPrivateKey"),
	}.find(Find{Form: "Azure service principal", Name: cmp.Or(Name(m.text("displayName")), nameOf(path, "azure"))}, o)
}

// sdkAuth is what "az ad sp create-for-rbac --sdk-auth" prints, which is also
// the secret AZURE_CREDENTIALS of GitHub's workflows.
func sdkAuth(path string, m members, o Options) *Find {
	if !m.have("clientId", "tenantId") {
		return nil
	}
	p := principal{
		tenant: m.text("tenantId"), client: m.text("clientId"), secret: m.text("clientSecret"), certificate: m.text("clientCertificate"),
		authority: hostOf(m.text("activeDirectoryEndpointUrl")),
	}
	if resource := m.text("resourceManagerEndpointUrl"); resource != "" {
		p.scope = strings.TrimRight(resource, "/") + "/.default"
	}
	return p.find(Find{Form: "Azure service principal (--sdk-auth)", Name: nameOf(path, "azure")}, o)
}

// storedPrincipal is an entry of ~/.azure/service_principal_entries.json.
func storedPrincipal(_ string, m members, o Options) *Find {
	if !m.have("client_id", "tenant") {
		return nil
	}
	if m.text("client_assertion") != "" {
		return &Find{Form: "Azure CLI login", Why: "it is a federated login: its assertion comes from another issuer"}
	}
	f := principal{
		tenant: m.text("tenant"), client: m.text("client_id"), secret: m.text("client_secret"), certificate: m.text("certificate"),
	}.find(Find{Form: "Azure CLI login", Name: "azure", shared: true}, o)
	if f.Provider != "" && m.all["use_cert_sn_issuer"] != nil {
		f.Settings["x5c"] = true
	}
	return f
}

// msalParameters is the configuration file of MSAL's samples for daemons.
func msalParameters(path string, m members, o Options) *Find {
	authority := m.text("authority")
	if authority == "" || m.text("client_id") == "" {
		return nil
	}
	f := Find{Form: "MSAL parameters", Name: nameOf(path, "azure")}
	if m.text("thumbprint") != "" && m.text("secret", "client_secret") == "" {
		f.Why = "it has only the thumbprint of a certificate. Use the certificate: tokenctl add NAME --provider azure --certificate FILE"
		return &f
	}
	u, err := url.Parse(authority)
	if err != nil {
		f.Why = "its authority is not a URL"
		return &f
	}
	tenant, _, _ := strings.Cut(strings.Trim(u.Path, "/"), "/")
	return principal{
		tenant: tenant, client: m.text("client_id"), secret: m.text("secret", "client_secret"), authority: u.Host,
		scope: strings.Join(m.texts("scope"), " "),
	}.find(f, o)
}

// hostOf is the host of a URL, or a text that is a host already.
func hostOf(text string) string {
	if u, err := url.Parse(text); err == nil && u.Host != "" {
		return u.Host
	}
	return strings.Trim(text, "/")
}
