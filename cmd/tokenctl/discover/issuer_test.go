package discover_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"

	"tokend/cmd/tokenctl/discover"
	"tokend/providers"
	"tokend/providers/fixturetest"
	"tokend/providers/token"
)

// A recorder is a transport that records where requests would go.
type recorder struct{ hosts []string }

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	r.hosts = append(r.hosts, req.URL.Host)
	return &http.Response{StatusCode: http.StatusTeapot, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("{}")), Request: req}, nil
}

// mint has the provider of a find ask for a token.
func (r *recorder) mint(t *testing.T, f discover.Find) {
	t.Helper()
	kind, ok := providers.Lookup(f.Provider)
	a := token.CreateProfile{Name: "x", Provider: f.Provider, Settings: f.Settings, Secrets: f.Secrets}
	if err := kind.Prepare(&a); !ok || err != nil {
		t.Fatalf("%s: %v", f.Form, err)
	}
	decode := func(into any) error {
		text, err := toml.Marshal(a.Settings)
		return errors.Join(err, toml.Unmarshal(text, into))
	}
	secret := func(_ context.Context, field string) (token.Secret, error) { return a.Secrets[field], nil }
	opened, err := kind.Open(decode, providers.Env{HTTP: &http.Client{Transport: r}, Secret: secret})
	if err != nil {
		t.Fatalf("%s: %v", f.Form, err)
	}
	_, _ = opened.(token.Minter).Mint(t.Context(), token.Target{})
}

// A secret goes to the issuer that its form, or a person, names, and nowhere
// else. Names that several systems use are no name of an issuer.
func TestSecretsGoToTheNamedIssuerAlone(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	der, failed := x509.MarshalPKCS8PrivateKey(key)
	if err := errors.Join(err, failed); err != nil {
		t.Fatal(err)
	}
	pemKey := fixturetest.PEM("PRIVATE KEY", der)
	object := func(members map[string]string) string {
		text, _ := json.Marshal(members)
		return string(text)
	}
	clms := object(map[string]string{"client_id": "c", "user_id": "u", "token_uri": "https://land.example/@@oauth2-token", "private_key": pemKey})
	quoted, _ := json.Marshal(clms)
	google := map[string]string{"type": "service_account", "client_email": "a@b.example", "private_key": pemKey}
	const tenant, entra, aspose = "11111111-2222-3333-4444-555555555555", "login.microsoftonline.com", "api.aspose.cloud"
	const kalibrate = "API_CLIENT_ID=c\nAPI_CLIENT_SECRET=s\nAPI_SCOPE=api://k/.default\n"
	read := func(string) ([]byte, error) { return []byte(pemKey), nil }
	person := func(provider, tokenURL string) discover.Options {
		return discover.Options{Provider: provider, TokenURL: tokenURL, Read: read}
	}
	unnamed := person("", "")
	for _, c := range []struct {
		file, content string
		o             discover.Options
		host          string // empty if nothing may be sent
	}{
		{"k.json", clms, unnamed, "land.example"},
		{"k.txt", "The key is:\n```json\n" + clms + "\n```\nbye", unnamed, "land.example"},
		{"k.txt", "'" + clms + "'", unnamed, "land.example"},
		{"k.json", string(quoted), unnamed, "land.example"},
		{"k.json", "[" + string(quoted) + "]", unnamed, "land.example"},
		{"k.json", "[" + clms + "]", unnamed, "land.example"},
		{".env", "CLMS_CREDENTIALS='" + clms + "'\n", unnamed, "land.example"},
		{".env", "CLMS_CREDENTIALS=" + base64.StdEncoding.EncodeToString([]byte(clms)), unnamed, "land.example"},
		{".env", "X_SERVICE_KEY_JSON=" + string(quoted) + " # the key\n", unnamed, "land.example"},
		{".env", "COPERNICUS_CLIENT_ID=c\nCOPERNICUS_USER_ID=u\nCOPERNICUS_PRIVATE_KEY_FILE=k.pem\nCOPERNICUS_TOKEN_URI=https://land.example/t\n", unnamed, "land.example"},
		{".env", "COPERNICUS_CLIENT_ID=c\nCOPERNICUS_USER_ID=u\nCOPERNICUS_PRIVATE_KEY_FILE=k.pem\n", unnamed, ""},
		{"k.json", object(google), unnamed, ""},
		{"k.json", strings.Replace(object(google), "{", `{"token_uri":"https://google.example/token",`, 1), unnamed, "google.example"},
		{"sp.json", `{"appId":"c","tenant":"` + tenant + `","password":"s"}`, unnamed, entra},
		{"sp.json", `{"clientId":"c","tenantId":"` + tenant + `","clientSecret":"s"}`, unnamed, ""},
		{"sp.json", `{"clientId":"c","tenantId":"` + tenant + `","clientSecret":"s"}`, person("azure", ""), entra},
		{"sp.json", `{"clientId":"c","tenantId":"` + tenant + `","clientSecret":"s","subscriptionId":"x"}`, unnamed, entra},
		{"sp.json", `{"clientId":"c","tenantId":"` + tenant + `","clientSecret":"s","activeDirectoryEndpointUrl":"https://login.us.example"}`, unnamed, "login.us.example"},
		{".env", `AZURE_CREDENTIALS={"clientId":"c","tenantId":"` + tenant + `","clientSecret":"s"}`, unnamed, entra},
		{"service_principal_entries.json", `[{"client_id":"c","tenant":"` + tenant + `","client_secret":"s"}]`, unnamed, entra},
		{"app.json", `{"client_id":"c","tenant":"` + tenant + `","client_secret":"s"}`, unnamed, ""},
		{"app.json", `{"client_id":"c","tenant":"` + tenant + `","client_secret":"s","token_url":"https://id.example/t"}`, unnamed, "id.example"},
		{"parameters.json", `{"authority":"https://login.example/` + tenant + `","client_id":"c","secret":"s"}`, unnamed, "login.example"},
		{"parameters.json", `{"authority":"` + tenant + `","client_id":"c","secret":"s"}`, unnamed, ""},
		{"iam", `{"issuer_url":"https://iam.example","client_id":"c","client_secret":"s"}`, unnamed, ""},
		{"iam", `{"issuer_url":"https://iam.example","client_id":"c","client_secret":"s","token_endpoint":"https://iam.example/t"}`, unnamed, "iam.example"},
		{"client.json", `{"client_id":"c","client_secret":"s"}`, unnamed, ""},
		{"client.json", `{"client_id":"c","client_secret":"s"}`, person("", "https://said.example/t"), "said.example"},
		{".env", kalibrate, unnamed, ""},
		{".env", kalibrate + "API_BASE_URL=https://api.k.example\n", unnamed, ""},
		{".env", kalibrate + "API_TOKEN_URL=https://" + entra + "/" + tenant + "/oauth2/v2.0/token\n", unnamed, entra},
		{".env", kalibrate + "API_TOKEN_URL=https://" + entra + ".example/" + tenant + "/oauth2/v2.0/token\n", unnamed, entra + ".example"},
		{".env", kalibrate, person("", "https://"+entra+"/"+tenant+"/oauth2/v2.0/token"), entra},
		{".env", kalibrate, person("", "https://login.microsoftonline.us/"+tenant+"/oauth2/v2.0/token"), "login.microsoftonline.us"},
		{".env", kalibrate, person("aspose", ""), aspose},
		{".env", kalibrate + "API_BASE_URL=https://api.k.example\n", person("aspose", ""), aspose},
		{".env", kalibrate + "API_TENANT_ID=" + tenant + "\n", unnamed, ""},
		{".env", kalibrate + "API_TENANT_ID=" + tenant + "\n", person("azure", ""), entra},
		{".env", kalibrate, person("", "https://said.example/t"), "said.example"},
		{".env", kalibrate, person("clms", ""), ""},
		{".env", "AUTH_CLIENT_ID=c\nAUTH_CLIENT_SECRET=s\nAUTH_TENANT=acme\n", unnamed, ""},
		{".env", "AZURE_CLIENT_ID=c\nAZURE_CLIENT_SECRET=s\nAZURE_TENANT_ID=" + tenant + "\n", unnamed, entra},
		{".env", "AZURE_CLIENT_ID=c\nAZURE_CLIENT_SECRET=s\nAZURE_TENANT_ID=" + tenant + "\nAZURE_TOKEN_URL=https://id.example/t\n", unnamed, "id.example"},
		{".env", "ARM_CLIENT_ID=c\nARM_CLIENT_SECRET=s\nARM_TENANT_ID=" + tenant + "\n", unnamed, entra},
		{".env", "X_CLIENT_ID=c\nX_CLIENT_SECRET=s\nX_TENANT=" + tenant + "\nX_AUTHORITY_HOST=https://login.us.example/\n", unnamed, "login.us.example"},
		{".env", "ASPOSE_CLIENT_ID=c\nASPOSE_CLIENT_SECRET=s\n", unnamed, aspose},
		{".env", "ASPOSE_CLIENT_ID=c\nASPOSE_CLIENT_SECRET=s\nASPOSE_BASE_URL=https://own.example\n", unnamed, "own.example"},
		{"servercreds.json", `{"AppSid":"c","AppKey":"s"}`, unnamed, ""},
		{"servercreds.json", `{"AppSid":"c","AppKey":"s"}`, person("aspose", ""), aspose},
		{"servercreds.json", `{"AppSid":"c","AppKey":"s","BaseUrl":"https://api.groupdocs.cloud/v2.0"}`, unnamed, "api.groupdocs.cloud"},
		{"config.json", `{"CellsCloudClientId":"c","CellsCloudClientSecret":"s"}`, unnamed, aspose},
		{"config.json", `{"client_id":"c","client_secret":"s","product_url":"https://own.example/v4.0"}`, unnamed, "own.example"},
		{"config.json", `{"client_id":"c","client_secret":"s","product_url":"http://localhost:8081"}`, unnamed, "localhost:8081"},
		{".env", "GROUPDOCS_CLIENT_ID=c\nGROUPDOCS_CLIENT_SECRET=s\n", unnamed, "api.groupdocs.cloud"},
		{".env", "SHOP_CLIENT_ID=c\nSHOP_CLIENT_SECRET=s\nSHOP_TOKEN_URL=https://id.example/t\n", unnamed, "id.example"},
	} {
		var r recorder
		finds := discover.File(c.file, []byte(c.content), c.o)
		for _, f := range finds {
			if f.Why == "" {
				r.mint(t, f)
			}
		}
		want := slices.DeleteFunc([]string{c.host}, func(host string) bool { return host == "" })
		if !slices.Equal(r.hosts, want) || len(finds) != 1 {
			t.Errorf("%s %s: asked %q, want %q: %+v", c.file, bytes.ReplaceAll([]byte(c.content), []byte(pemKey), []byte("KEY")), r.hosts, want, finds)
		}
	}
}
