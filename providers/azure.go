package providers

import (
	"cmp"
	"context"
	"crypto"
	"crypto/sha1" // x5t is SHA-1 by definition (RFC 7515 §4.1.7)
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"tokend/providers/jose"
	"tokend/providers/token"
	"tokend/providers/token/input"
)

type azureSettings struct {
	Tenant      string      `toml:"tenant" need:"yes" sends:"yes" doc:"directory (tenant) ID, one of its domains, or the whole endpoint URL (https://.../token)"`
	ClientID    string      `toml:"client_id" need:"yes" doc:"application (client) ID"`
	Secret      secretField `toml:"client_secret" doc:"value of a client secret (not its ID)"`
	Certificate string      `toml:"certificate" secret:"yes" doc:"certificate in PEM, instead of a client secret; its private key may be in the same file"`
	Key         secretField `toml:"private_key" doc:"private key of the certificate, in PEM or DER, if it is in a file of its own"`
	Passphrase  secretField `toml:"passphrase" doc:"passphrase of the private key, if it is encrypted"`
	PFX         secretField `toml:"pfx" doc:"certificate and private key in one PFX (PKCS #12) file, instead of the above"`
	PFXPassword secretField `toml:"pfx_password" doc:"password of the PFX file, if it has one"`
	Scope       string      `toml:"scope" need:"yes" per:"resource" doc:"the resource, followed by /.default"`
	Authority   string      `toml:"authority" default:"login.microsoftonline.com" sends:"yes" doc:"host of the sign-in service; national clouds have their own"`
	Algorithm   string      `toml:"algorithm" default:"PS256" doc:"signature with a certificate: PS256, or RS256 for AD FS and old setups"`
	SendChain   bool        `toml:"x5c" doc:"send the certificate along (subject name and issuer authentication)"`
	endpointSettings
}

var (
	tenantForm = regexp.MustCompile(`^[0-9A-Za-z.-]+$`)
	// guid is the form of a secret's ID.
	guid       = regexp.MustCompile(`^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$`)
	aadstsCode = regexp.MustCompile(`^AADSTS[0-9]{1,10}\b`)
)

func (s *azureSettings) open(env Env) (any, error) {
	s.Tenant, s.Authority = tenantAndHost(s.Tenant, s.Authority)
	if err := s.check(); err != nil {
		return nil, err
	}
	tokenURL := "https://" + s.Authority + "/" + s.Tenant + "/oauth2/v2.0/token"
	m := minter{grantType: grantClientCredentials, aim: s.aim, prove: clientSecret(s.ClientID, authPost, env), explain: explainAADSTS}
	if s.Certificate != "" {
		chain, err := jose.ParseCertificates(s.Certificate)
		if err != nil {
			return nil, invalid("certificate", "certificate cannot be used: %v", err)
		}
		m.expires = chain[0].NotAfter
		m.prove = clientAssertion(s.ClientID, env, s.assertion(tokenURL, jose.Ordered(chain)))
	}
	return s.newMinter("authority", tokenURL, env, m)
}

func (s *azureSettings) check() error {
	if slices.Contains([]string{"common", "organizations", "consumers"}, strings.ToLower(s.Tenant)) {
		return invalid("tenant", "tenant %q is not a directory: use its ID or one of its domains", s.Tenant)
	}
	if !tenantForm.MatchString(s.Tenant) {
		return invalid("tenant", "tenant %q is neither an ID nor a domain", s.Tenant)
	}
	if u, err := url.Parse("https://" + s.Authority); err != nil || u.Host != s.Authority || u.Hostname() == "" {
		return invalid("authority", "authority must be a bare host such as login.microsoftonline.us")
	}
	if s.Algorithm != "PS256" && s.Algorithm != "RS256" {
		return invalid("algorithm", "algorithm %q is neither PS256 nor RS256", s.Algorithm)
	}
	if strings.Contains(s.Certificate, "PRIVATE KEY") {
		return invalid("certificate", "certificate contains a private key, which must not be in a file")
	}
	return checkAzureScope(s.Scope)
}

// checkAzureScope checks a scope of the client credentials flow, in which a token
// is for one resource, with all that was granted there.
func checkAzureScope(scope string) error {
	switch {
	case len(strings.Fields(scope)) != 1:
		return invalid("scope", "scope %q is not one resource, and a token is for exactly one", scope)
	case !strings.HasSuffix(scope, "/.default"):
		return invalid("scope", "scope %q must end in /.default: %q", scope, scope+"/.default")
	}
	return checkScope("scope", scope)
}

func (s *azureSettings) aim(form url.Values, t token.Target) error {
	scope := cmp.Or(t.Scope, s.Scope)
	form.Set("scope", scope)
	return cmp.Or(noTarget("azure", "audience", t.Audience), checkAzureScope(scope))
}

// assertion returns the client assertion that Entra ID wants.
func (s *azureSettings) assertion(tokenURL string, chain []*x509.Certificate) jose.Assertion {
	header := map[string]any{}
	if weak, strong := sha1.Sum(chain[0].Raw), sha256.Sum256(chain[0].Raw); s.Algorithm == "RS256" {
		header["x5t"] = base64.RawURLEncoding.EncodeToString(weak[:])
	} else {
		header["x5t#S256"] = base64.RawURLEncoding.EncodeToString(strong[:])
	}
	if s.SendChain {
		var x5c []string // standard base64, unlike everything else (RFC 7515 §4.1.6)
		for _, c := range chain {
			x5c = append(x5c, base64.StdEncoding.EncodeToString(c.Raw))
		}
		header["x5c"] = x5c
	}
	return jose.Assertion{
		Algorithm: s.Algorithm, Header: header,
		Claims: map[string]any{"iss": s.ClientID, "sub": s.ClientID, "aud": tokenURL},
		Start:  "nbf", Lifetime: 10 * time.Minute, Unique: true,
	}
}

func (s *azureSettings) prepare(a *token.CreateProfile) error {
	// A certificate comes as a secret, because of a key in it, or, public as it is,
	// as a setting.
	setting := token.Settings(a.Settings).Text("certificate")
	switch _, ok := a.Secrets["certificate"]; {
	case strings.Contains(setting, "PRIVATE KEY"):
		return invalid("certificate", "certificate contains a private key and cannot be a setting")
	case ok && setting != "":
		return invalid("certificate", "certificate is given twice, as a setting and as a file")
	case setting != "":
		a.Secrets["certificate"] = token.NewSecret(setting)
	}
	switch handedIn(a, "client_secret", "certificate", "private_key", "pfx", "pfx_password") {
	case "client_secret":
		if guid.MatchString(strings.TrimSpace(a.Secrets["client_secret"].Reveal())) {
			return invalid("client_secret", "client_secret looks like the secret's ID; use its value, which the portal shows only once, when you create the secret")
		}
		return prepareClientSecret(a)
	case "certificate", "certificate private_key":
		return preparePEM(a)
	case "pfx", "pfx pfx_password":
		return preparePFX(a)
	}
	return invalid("client_secret", "give a client_secret, or a certificate and its private_key, or a pfx and its pfx_password")
}

// entraHost is the sign-in service of Entra ID outside of the national clouds.
const entraHost = "login.microsoftonline.com"

// tenantAndHost returns the tenant and the host of its sign-in service. The tenant
// may be given as the URL of its token endpoint, as people have it from the one who
// runs the API, or as a domain that only a national cloud has.
func tenantAndHost(tenant, authority string) (string, string) {
	if u, err := url.Parse(tenant); err == nil && u.Scheme == "https" && u.User == nil && (authority == entraHost || authority == u.Host) {
		authority = u.Host
		tenant, _, _ = strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	}
	switch {
	case authority != entraHost:
	case strings.HasSuffix(tenant, ".onmicrosoft.us"):
		authority = "login.microsoftonline.us"
	case strings.HasSuffix(tenant, ".partner.onmschina.cn"):
		authority = "login.partner.microsoftonline.cn"
	}
	return tenant, authority
}

func preparePFX(a *token.CreateProfile) error {
	password := strings.TrimRight(a.Secrets["pfx_password"].Reveal(), "\r\n")
	key, chain, err := jose.ParsePFX(a.Secrets["pfx"].Reveal(), password)
	switch {
	case errors.Is(err, jose.ErrPassword):
		return invalid("pfx_password", "pfx_password is missing, or not the password of the pfx")
	case err != nil:
		return invalid("pfx", "the pfx %v", err)
	}
	return keepCertificate(a, "pfx", "pfx", key, chain)
}

func preparePEM(a *token.CreateProfile) error {
	certificate := input.Key(a.Secrets["certificate"].Reveal())
	chain, err := jose.ParseCertificates(certificate)
	if err != nil {
		return invalid("certificate", "certificate cannot be used: %v", err)
	}
	within := strings.Contains(certificate, "PRIVATE KEY")
	if _, apart := a.Secrets["private_key"]; within == apart {
		return invalid("private_key", "give one private_key: in the certificate's file, or in a file of its own")
	}
	key, err := jose.ParseKey(cmp.Or(a.Secrets["private_key"].Reveal(), certificate))
	if err != nil {
		return invalid("private_key", "private_key is %v", err)
	}
	return keepCertificate(a, "certificate", "private_key", key, chain)
}

// keepCertificate puts the certificate, its own first and then the rest of the
// chain, among the settings and the key among the secrets. They come from the fields
// ofCertificate and ofKey.
func keepCertificate(a *token.CreateProfile, ofCertificate, ofKey string, key crypto.Signer, chain []*x509.Certificate) error {
	i := slices.IndexFunc(chain, func(c *x509.Certificate) bool { return jose.Belongs(c, key) })
	if i < 0 {
		return invalid(ofKey, "the key in %s is not that of the certificate", ofKey)
	}
	leaf := chain[i]
	if time.Now().After(leaf.NotAfter) {
		return invalid(ofCertificate, "the certificate expired on %s", leaf.NotAfter.Format(time.DateOnly))
	}
	if err := jose.CheckKey("RS256", key); err != nil {
		return invalid(ofKey, "the key in %s is %v", ofKey, err)
	}
	chain = append([]*x509.Certificate{leaf}, slices.Delete(chain, i, i+1)...)
	a.Settings["certificate"] = jose.EncodeCertificates(chain)
	kept, err := jose.MarshalKey(key)
	a.Secrets = map[string]token.Secret{"private_key": kept}
	return err
}

// explainAADSTS classifies the codes of Entra ID, with which its descriptions begin.
// These are what a client credentials request can meet; docs/errors.md says what they
// mean.
func explainAADSTS(r *refusal) {
	r.detail = aadstsCode.FindString(r.description)
	switch strings.TrimPrefix(r.detail, "AADSTS") {
	case "700024", "90033", "90006", "50196":
		r.topic, r.passing = r.detail, true
	case "7000215", "7000222", "700016", "90002", "70011", "1002012", "500011", "700027", "50012", "7000112", "53003",
		"7000218", "900144", "70003":
		r.topic = r.detail
	}
}

// ExchangeACR hands an Entra access token to the Azure Container Registry with
// the URL registry, one of the profile's hosts. It returns the registry's refresh
// token, with which its clients can log in for some hours. tenant may be empty. The
// exchange is POST /oauth2/exchange of the registry's own API. Errors are
// ErrRejected or ErrUnavailable.
func ExchangeACR(ctx context.Context, env Env, registry, tenant string, t token.Secret) (token.Secret, error) {
	u, _ := url.Parse(registry)
	form := url.Values{
		"grant_type":   {"access_token"},
		"service":      {u.Hostname()},
		"access_token": {t.Reveal()},
	}
	tenant, _ = tenantAndHost(tenant, entraHost)
	setUnlessEmpty(form, "tenant", tenant)
	who := "the registry " + u.Host
	out := outgoing{to: u.Scheme + "://" + u.Host + "/oauth2/exchange", who: who, userAgent: "tokend", media: formMedia, body: form.Encode()}
	a, err := out.send(ctx, env.HTTP)
	if err != nil {
		return token.Secret{}, err
	}
	if a.status == http.StatusBadRequest || a.status == http.StatusUnauthorized || a.status == http.StatusForbidden {
		return token.Secret{}, &token.Error{Code: token.ErrRejected, Topic: "registry", Message: fmt.Sprintf(
			"%s answered %s to the exchange; the profile's scope must be for https://management.azure.com or https://containerregistry.azure.net, and its identity needs a role on the registry", who, statusText(a.status))}
	}
	m, err := objectIn(a, who, "registry")
	if err != nil {
		return token.Secret{}, err
	}
	refresh, err := tokenIn(m, "refresh_token")
	if err != nil {
		return token.Secret{}, a.unavailable(who, a.nonsense(err))
	}
	return refresh, nil
}
