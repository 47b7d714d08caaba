package discover

import (
	"bytes"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"tokend/providers/token"
)

// armScope is what a principal made by "az ad sp create-for-rbac" is for:
// Azure's own management.
const armScope = "https://management.azure.com/.default"

// publicAuthority is the sign-in service unless something else is said.
const publicAuthority = "login.microsoftonline.com"

// A principal is what an Entra ID application is known by, in any of the forms.
type principal struct {
	tenant, client, secret, certificate, password string
	// authority and scope may be empty.
	authority, scope string
}

// find makes a Find of a principal: what is missing is why it cannot be taken.
func (p principal) find(f Find, o Options) *Find {
	scope := p.scope
	switch {
	case o.Scope != "":
		scope = o.Scope
	case scope == "":
		scope, f.Note = armScope, "for the scope "+armScope+"; --scope says another"
	}
	settings := map[string]any{"tenant": p.tenant, "client_id": p.client, "scope": scope}
	if p.authority != "" && p.authority != publicAuthority {
		settings["authority"] = p.authority
	}
	switch {
	case p.tenant == "" || p.client == "":
		f.Why = "it does not name both a tenant and a client (application) ID"
	case p.tenant == "common" || p.tenant == "organizations" || p.tenant == "consumers":
		f.Why = fmt.Sprintf("%q is no tenant that an application can get tokens from; it must be the directory's own ID", p.tenant)
	case p.secret != "":
		f.Secrets = map[string]token.Secret{"client_secret": token.NewSecret(p.secret)}
	case p.certificate != "":
		f.Secrets, f.Why = p.readCertificate(o)
		f.Files = append(f.Files, p.certificate)
	default:
		f.Why = "it holds no secret (federated, or kept elsewhere); nothing is to be taken over"
	}
	if f.Why == "" {
		f.Provider, f.Client, f.Settings = "azure", p.client, settings
	} else {
		f.Note, f.Files, f.Variables = "", nil, nil
	}
	return &f
}

// readCertificate reads the certificate with its key that p names: PEM, or PFX.
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
		return nil, "the certificate's file " + filepath.Base(p.certificate) + " has no private key in it; hand both in with tokenctl add"
	}
	return map[string]token.Secret{"certificate": token.NewSecret(string(content))}, ""
}

// createdForRBAC is what "az ad sp create-for-rbac" prints.
func createdForRBAC(path string, m members, o Options) *Find {
	if !m.have("appId", "tenant") {
		return nil
	}
	name := Name(m.text("displayName"))
	if name == "" {
		name = nameOf(path, "azure")
	}
	return principal{
		tenant: m.text("tenant"), client: m.text("appId"), secret: m.text("password"), certificate: m.text("fileWithCertAndPrivateKey"),
	}.find(Find{Form: "Azure service principal", Name: name}, o)
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
		return &Find{Form: "Azure CLI login", Why: "it is a federated login, whose assertion is another issuer's; nothing is to be taken over"}
	}
	f := principal{
		tenant: m.text("tenant"), client: m.text("client_id"), secret: m.text("client_secret"), certificate: m.text("certificate"),
	}.find(Find{Form: "Azure CLI login", Name: "azure", shared: true}, o)
	if f.Provider != "" && m.all["use_cert_sn_issuer"] != nil {
		f.Settings["x5c"] = true
	}
	return f
}

// msalParameters is the file that MSAL's samples for daemons are configured by.
func msalParameters(path string, m members, o Options) *Find {
	authority := m.text("authority")
	if authority == "" || m.text("client_id") == "" {
		return nil
	}
	f := Find{Form: "MSAL parameters", Name: nameOf(path, "azure")}
	if m.text("thumbprint") != "" && m.text("secret", "client_secret") == "" {
		f.Why = "it names a certificate by its thumbprint; hand in the certificate itself: tokenctl add NAME --provider azure --certificate FILE"
		return &f
	}
	u, err := url.Parse(authority)
	if err != nil {
		f.Why = "its authority is no URL"
		return &f
	}
	tenant, _, _ := strings.Cut(strings.Trim(u.Path, "/"), "/")
	return principal{
		tenant: tenant, client: m.text("client_id"), secret: m.text("secret", "client_secret"), authority: u.Host,
		scope: strings.Join(m.texts("scope"), " "),
	}.find(f, o)
}

// hostOf is the host of a URL, or what is no URL as it is.
func hostOf(text string) string {
	if u, err := url.Parse(text); err == nil && u.Host != "" {
		return u.Host
	}
	return strings.Trim(text, "/")
}
