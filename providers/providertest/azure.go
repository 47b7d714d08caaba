package providertest

import (
	"cmp"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Azure issues tokens as Microsoft Entra ID does for one tenant. Its rules are those
// of learn.microsoft.com/entra/identity-platform: v2-oauth2-client-creds-grant-flow
// ("client credentials flow"), certificate-credentials, reference-error-codes; and
// of MSAL for Go, apps/internal/oauth/ops/accesstokens.
type Azure struct {
	*issuer
	host   string
	tenant string
	sign   tokenSigner
	apps   map[string]*application // by client ID; guarded by issuer.mu, as is seen
	seen   map[string]bool         // jti of assertions
}

type application struct {
	secret string
	cert   *x509.Certificate
	state  string // "", or the code of what is wrong with it
}

// Authority is the host of the sign-in service.
func (a *Azure) Authority() string { return a.host }

// Tenant is the directory's ID.
func (a *Azure) Tenant() string { return a.tenant }

// Scope is one that tokens can be had for; there are "api://other/.default"
// and all others below api:// too, and those of microsoftResources.
func (a *Azure) Scope() string { return "api://resource/.default" }

// APIURL is below what the tokens open.
func (a *Azure) APIURL() string { return "https://" + a.host + "/api/azure/" }

// TokenURL is the tenant's token endpoint.
func (a *Azure) TokenURL() string { return "https://" + a.host + "/" + a.tenant + "/oauth2/v2.0/token" }

// NewSecret registers an application with a client secret.
func (a *Azure) NewSecret() (clientID, secret string) {
	clientID, secret = newGUID(), opaque(12)[:7]+"8Q~"+opaque(24)[:30]
	a.AddSecret(clientID, secret)
	return clientID, secret
}

// AddSecret registers an application with a client secret that is known.
func (a *Azure) AddSecret(clientID, secret string) {
	a.register(clientID, &application{secret: secret})
}

// AddCertificate registers an application with a certificate in PEM.
func (a *Azure) AddCertificate(clientID string, certificate []byte) error {
	block, _ := pem.Decode(certificate)
	if block == nil || block.Type != "CERTIFICATE" {
		return errors.New("providertest: no certificate in PEM")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return err
	}
	a.register(clientID, &application{cert: cert})
	return nil
}

// NewCertificate registers an application with a self-signed certificate for a
// fresh RSA key, valid for a year, and returns both in PEM.
func (a *Azure) NewCertificate(bits int) (clientID string, certificate, privateKey []byte, err error) {
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		return "", nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "providertest application"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return "", nil, nil, err
	}
	clientID, certificate = newGUID(), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := a.AddCertificate(clientID, certificate); err != nil {
		return "", nil, nil, err
	}
	privateKey, err = keyPEM(key)
	return clientID, certificate, privateKey, err
}

// ExpireSecret makes an application's client secret an expired one.
func (a *Azure) ExpireSecret(clientID string) { a.spoil(clientID, "7000222") }

// Disable disables an application.
func (a *Azure) Disable(clientID string) { a.spoil(clientID, "7000112") }

func (a *Azure) register(clientID string, app *application) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.apps[clientID] = app
}

func (a *Azure) spoil(clientID, state string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if app := a.apps[clientID]; app != nil {
		app.state = state
	}
}

func (a *Azure) token(w http.ResponseWriter, r *http.Request) {
	form, repeated := formOf(r)
	a.mu.Lock()
	code := a.check(r, form, repeated)
	a.mu.Unlock()
	if code != "" {
		refuseEntra(w, r, code, form)
		return
	}
	scope := form.Get("scope")
	a.issue(w, func(life time.Duration) (string, error) {
		return a.sign(jwt.MapClaims{"appid": form.Get("client_id"), "tid": a.tenant, "aud": strings.TrimSuffix(scope, "/.default")}, life)
	}, a.more())
}

// more is what its answers have beside RFC 6749 §5.1, by the page "client
// credentials flow".
func (a *Azure) more() map[string]any {
	a.mu.Lock()
	defer a.mu.Unlock()
	return map[string]any{"ext_expires_in": int(a.lifetime / time.Second)}
}

// check returns the code of the first thing that is wrong with a request, ""
// for a good one: the parameters are those of "client credentials flow", the codes
// those of "error codes". No page says in which order they are judged. a.mu is held.
func (a *Azure) check(r *http.Request, form url.Values, repeated string) string {
	app := a.apps[form.Get("client_id")]
	switch {
	case r.Method != http.MethodPost:
		return "900561"
	case r.PathValue("tenant") != a.tenant:
		return "90002"
	case repeated != "", missing(form) != "":
		return "900144"
	case form.Get("grant_type") != "client_credentials":
		return "70003"
	case app == nil:
		return "700016"
	case app.state == "7000112":
		return "7000112"
	}
	if code := scopeFault(form.Get("scope")); code != "" {
		return code
	}
	switch {
	case form.Has("client_assertion"):
		return a.checkAssertion(app, form)
	case !form.Has("client_secret"):
		return "7000218"
	case app.state == "7000222" && form.Get("client_secret") == app.secret:
		return "7000222"
	case app.secret == "" || form.Get("client_secret") != app.secret:
		return "7000215"
	}
	return ""
}

// missing names the first parameter that every request needs and form lacks.
func missing(form url.Values) string {
	for _, name := range []string{"grant_type", "client_id", "scope"} {
		if form.Get(name) == "" {
			return name
		}
	}
	return ""
}

// scopeFault judges a scope: that of one resource, with /.default behind it
// ("client credentials flow").
func scopeFault(scope string) string {
	switch {
	case strings.ContainsAny(scope, " \t"):
		return "70011"
	case !strings.HasSuffix(scope, "/.default"):
		return "1002012"
	case !strings.HasPrefix(scope, "api://") && !slices.Contains(microsoftResources, strings.TrimSuffix(scope, "/.default")):
		return "500011"
	}
	return ""
}

// microsoftResources are some that every tenant has: Azure itself, Azure Repos
// and the API servers of AKS.
var microsoftResources = []string{
	"https://management.azure.com", "https://management.azure.com/", "499b84ac-1321-427f-aa17-267ca6975798", "6dae42f8-4368-4678-94ff-3960e28e3630",
}

// checkAssertion judges a client assertion. PS256 with x5t#S256, and the claims, are
// those of the page "certificate credentials"; RS256 with x5t is what that page said
// before 2024, and what ADFS takes still. Five minutes of leeway are those of
// Microsoft.IdentityModel (TokenValidationParameters.DefaultClockSkew). The page sets
// no bound to exp; a day is ours. It wants jti to be unique, and so is it here.
func (a *Azure) checkAssertion(app *application, form url.Values) string {
	text := form.Get("client_assertion")
	header, claims, err := unverified(text)
	if err != nil || app.cert == nil || form.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
		return "50012"
	}
	algorithm := header.text("alg")
	strong, weak := sha256.Sum256(app.cert.Raw), sha1.Sum(app.cert.Raw)
	switch {
	case algorithm == "PS256" && isThumbprint(header.text("x5t#S256"), strong[:]):
	case algorithm == "RS256" && isThumbprint(header.text("x5t"), weak[:]):
	default:
		return "700027"
	}
	if !signedBy(text, algorithm, app.cert.PublicKey) {
		return "700027"
	}
	exp, hasExp := claims.number("exp")
	nbf, hasNBF := claims.number("nbf")
	now, leeway := time.Now(), 5*time.Minute
	switch {
	case claims.text("aud") != a.TokenURL() || claims.text("iss") != form.Get("client_id") || claims.text("sub") != claims.text("iss"):
		return "50012"
	case !hasExp || exp.Add(leeway).Before(now) || hasNBF && nbf.Add(-leeway).After(now) || exp.After(now.Add(24*time.Hour)):
		return "700024"
	case claims.text("jti") == "" || a.seen[claims.text("jti")]:
		return "50012"
	}
	a.seen[claims.text("jti")] = true
	return ""
}

// isThumbprint takes base64url (RFC 7515 §4.1.8) and, because MSAL sends that,
// standard base64.
func isThumbprint(text string, sum []byte) bool {
	return text == base64.RawURLEncoding.EncodeToString(sum) || text == base64.StdEncoding.EncodeToString(sum)
}

// AADSTS answers as Entra ID does with one of its error codes, such as
// "7000215".
func AADSTS(code string) Fault {
	return func(w http.ResponseWriter, r *http.Request) {
		form, _ := formOf(r)
		refuseEntra(w, r, code, form)
	}
}

// refuseEntra answers with the members that the page "error codes" shows.
func refuseEntra(w http.ResponseWriter, r *http.Request, code string, form url.Values) {
	e, known := entraErrors[code]
	if !known {
		e = entraErrors["900144"]
	}
	text := strings.NewReplacer("{app}", form.Get("client_id"), "{tenant}", r.PathValue("tenant"), "{scope}", form.Get("scope"),
		"{resource}", strings.TrimSuffix(form.Get("scope"), "/.default"), "{grant}", form.Get("grant_type"), "{method}", r.Method,
		"{parameter}", cmp.Or(missing(form), "grant_type")).Replace(e.text)
	stamp, trace := time.Now().UTC().Format("2006-01-02 15:04:05Z"), newGUID()
	correlation := cmp.Or(r.Header.Get("client-request-id"), newGUID())
	writeJSON(w, e.status, map[string]any{
		"error":             e.oauth,
		"error_description": "AADSTS" + code + ": " + text + "\r\nTrace ID: " + trace + "\r\nCorrelation ID: " + correlation + "\r\nTimestamp: " + stamp,
		"error_codes":       []json.Number{json.Number(code)}, "timestamp": stamp, "trace_id": trace, "correlation_id": correlation,
		"error_uri": "https://login.microsoftonline.com/error?code=" + code,
	})
}

type entraError struct {
	status      int
	oauth, text string
}

// entraErrors has the codes of the page "error codes" that a client credentials
// request can meet. Their texts there are for people who look them up; these are
// what the service answers, as public bug reports quote it.
var entraErrors = map[string]entraError{
	"7000215": {401, "invalid_client", "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '{app}'."},
	"7000222": {401, "invalid_client", "The provided client secret keys for app '{app}' are expired. Visit the Azure portal to create new keys for your app: https://aka.ms/NewClientSecret, or consider using certificate credentials for added security: https://aka.ms/certCreds."},
	"7000218": {401, "invalid_client", "The request body must contain the following parameter: 'client_assertion' or 'client_secret'."},
	"700016":  {400, "unauthorized_client", "Application with identifier '{app}' was not found in the directory '{tenant}'. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You may have sent your authentication request to the wrong tenant."},
	"90002":   {400, "invalid_request", "Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud."},
	"70011":   {400, "invalid_scope", "The provided request must include a 'scope' input parameter. The provided value for the input parameter 'scope' is not valid. The scope {scope} is not valid."},
	"1002012": {400, "invalid_scope", "The provided value for scope {scope} is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier (application ID URI)."},
	"500011":  {400, "invalid_resource", "The resource principal named {resource} was not found in the tenant named {tenant}. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You might have sent your authentication request to the wrong tenant."},
	"700027":  {401, "invalid_client", "The certificate with identifier used to sign the client assertion is not registered on application. [Reason - The key was not found.]"},
	"700024":  {401, "invalid_client", "Client assertion is not within its valid time range."},
	"50012":   {401, "invalid_client", "Authentication failed."},
	"7000112": {400, "unauthorized_client", "Application '{app}' is disabled."},
	"53003":   {400, "invalid_grant", "Access has been blocked by Conditional Access policies. The access policy does not allow token issuance."},
	"70003":   {400, "unsupported_grant_type", "The app requested an unsupported grant type '{grant}'."},
	"90033":   {400, "temporarily_unavailable", "A transient error has occurred. Please try again."},
	"90006":   {400, "temporarily_unavailable", "A transient error has occurred. Please try again."},
	"50196":   {400, "invalid_grant", "The server terminated an operation because it encountered a client request loop. Please contact your app vendor."},
	"900144":  {400, "invalid_request", "The request body must contain the following parameter: '{parameter}'."},
	"900561":  {400, "invalid_request", "The endpoint only accepts POST requests. Received a {method} request."},
}
