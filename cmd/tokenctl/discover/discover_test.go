package discover

import (
	"fmt"
	"io/fs"
	"reflect"
	"strings"
	"testing"
)

// shown is what can be compared of finds, with their secrets in the open.
func shown(finds []Find) (lines []string) {
	for _, f := range finds {
		secrets := map[string]string{}
		for name, s := range f.Secrets {
			secrets[name] = s.Reveal()
		}
		if f.Why != "" {
			lines = append(lines, fmt.Sprintf("%s (%s): %s", f.From, f.Form, f.Why))
			if f.Provider != "" || f.Secrets != nil || f.Files != nil || f.Variables != nil {
				lines = append(lines, fmt.Sprintf("and yet %+v", f))
			}
			continue
		}
		lines = append(lines, fmt.Sprintf("%s: %s = %s %v, %v, files %q, variables %q, client %s", f.From, f.Name, f.Provider, f.Settings, secrets, f.Files, f.Variables, f.Client))
	}
	return lines
}

const pemKey = "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n"

// files are what Read finds.
func files(all map[string]string) Options {
	return Options{Read: func(path string) ([]byte, error) {
		if text, ok := all[path]; ok {
			return []byte(text), nil
		}
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}}
}

func TestEachFormIsRecognised(t *testing.T) {
	const serviceKey = `{"title": "x", "client_id": "c1", "user_id": "u", "token_uri": "https://land/@@oauth2-token", "private_key": "k"}`
	o := files(map[string]string{
		"/c.pem": "-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----\n" + pemKey, "/only.pem": "-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----\n",
		"/c.pfx": "\x30\x82", "/k.json": serviceKey,
	})
	for name, c := range map[string]struct {
		file, content string
		want          []string
	}{
		"CLMS": {"/in/service-key.json", serviceKey, []string{
			`/in/service-key.json: clms = clms map[], map[service_key:` + serviceKey + `], files ["/in/service-key.json"], variables [], client c1`}},
		"CLMS by its name, with a byte order mark": {"/in/alice's.json", "\ufeff" + serviceKey + "\n", []string{
			`/in/alice's.json: alice-s = clms map[], map[service_key:` + serviceKey + `], files ["/in/alice's.json"], variables [], client c1`}},
		"Google": {"p-1.json", `{"type":"service_account","private_key_id":"kid","private_key":"k","client_email":"reader@p.iam.gserviceaccount.com","token_uri":"https://oauth2.googleapis.com/token"}`, []string{
			`p-1.json: reader = jwt-bearer map[issuer:reader@p.iam.gserviceaccount.com key_id:kid scopes:[https://www.googleapis.com/auth/cloud-platform] token_url:https://oauth2.googleapis.com/token], map[private_key:k], files ["p-1.json"], variables [], client reader@p.iam.gserviceaccount.com`}},
		"Google user": {"adc.json", `{"type":"authorized_user","refresh_token":"r"}`, []string{
			`adc.json (Google login): it is a person's login, or needs another login first. tokend obtains tokens for machines: create a service account`}},
		"Google client": {"client_secret.json", `{"installed":{"client_id":"c","client_secret":"s"}}`, []string{
			`client_secret.json (Google login): it is a person's login, or needs another login first. tokend obtains tokens for machines: create a service account`}},
		"az ad sp create-for-rbac": {"sp.json", `{"appId":"a","displayName":"my app","password":"pw","tenant":"t"}`, []string{
			`sp.json: my-app = azure map[client_id:a scope:https://management.azure.com/.default tenant:t], map[client_secret:pw], files ["sp.json"], variables [], client a`}},
		"the same with a certificate": {"sp.json", `{"appId":"a","displayName":"","fileWithCertAndPrivateKey":"/c.pem","tenant":"t"}`, []string{
			`sp.json: sp = azure map[client_id:a scope:https://management.azure.com/.default tenant:t], map[certificate:-----BEGIN CERTIFICATE-----` + "\nAA\n-----END CERTIFICATE-----\n" + pemKey + `], files ["sp.json" "/c.pem"], variables [], client a`}},
		"the same with a certificate without key": {"sp.json", `{"appId":"a","fileWithCertAndPrivateKey":"/only.pem","tenant":"t"}`, []string{
			`sp.json (Azure service principal): only.pem has the certificate without its private key; give both to tokenctl add`}},
		"--sdk-auth": {"azureauth.json", `{"clientId":"c","clientSecret":"s","tenantId":"t","activeDirectoryEndpointUrl":"https://login.microsoftonline.us","resourceManagerEndpointUrl":"https://management.usgovcloudapi.net/"}`, []string{
			`azureauth.json: azureauth = azure map[authority:login.microsoftonline.us client_id:c scope:https://management.usgovcloudapi.net//.default tenant:t], map[client_secret:s], files ["azureauth.json"], variables [], client c`}},
		"Azure CLI": {"service_principal_entries.json", `[{"tenant":"t","client_id":"c","client_secret":"s"},{"tenant":"t","client_id":"d","certificate":"/c.pfx","use_cert_sn_issuer":true},{"tenant":"t","client_id":"e","client_assertion":"x"}]`, []string{
			`service_principal_entries.json: azure = azure map[client_id:c scope:https://management.azure.com/.default tenant:t], map[client_secret:s], files [], variables [], client c`,
			`service_principal_entries.json: azure = azure map[client_id:d scope:https://management.azure.com/.default tenant:t x5c:true], map[pfx:` + "\x30\x82" + `], files ["/c.pfx"], variables [], client d`,
			`service_principal_entries.json (Azure CLI login): it has no secret (the login is federated, or the secret is elsewhere)`}},
		"MSAL": {"parameters.json", `{"authority":"https://login.microsoftonline.com/t","client_id":"c","scope":["api://x/.default"],"secret":"s","endpoint":"https://x"}`, []string{
			`parameters.json: azure = azure map[client_id:c scope:api://x/.default tenant:t], map[client_secret:s], files ["parameters.json"], variables [], client c`}},
		"MSAL for many tenants": {"parameters.json", `{"authority":"https://login.microsoftonline.com/organizations","client_id":"c","secret":"s"}`, []string{
			`parameters.json (MSAL parameters): an application cannot get tokens from "organizations"; the tenant must be the directory's own ID`}},
		"MSAL with a thumbprint": {"parameters.json", `{"authority":"https://login.microsoftonline.com/t","client_id":"c","thumbprint":"AA","private_key_file":"x"}`, []string{
			`parameters.json (MSAL parameters): it has no secret (the login is federated, or the secret is elsewhere)`}},
		"oidc-agent": {"iam.clientconfig", `{"issuer_url":"https://iam.example/","client_id":"c","client_secret":"s","scope":"openid read"}`, []string{
			`iam.clientconfig (oidc-agent configuration): it does not say who issues the tokens. Use --token-url URL, or tokenctl add with --provider`}},
		"oidc-agent of a person": {"iam", `{"name":"iam","issuer_url":"https://iam.example/","client_id":"c","client_secret":"s","refresh_token":"r"}`, []string{
			`iam (oidc-agent configuration): it is a person's login (a refresh token). tokend obtains tokens for machines`}},
		"oidc-agent without secret": {"iam", `{"issuer_url":"https://iam.example/","client_id":"c"}`, []string{
			`iam (oidc-agent configuration): it has no secret (the login is federated, or the secret is elsewhere)`}},
		"oidc-agent, encrypted": {"/home/me/.oidc-agent/iam", "123\n24:16:32:16:1:2:3\nYWJj\nGenerated using version: 4.2.6\n", []string{
			`/home/me/.oidc-agent/iam (oidc-agent account, encrypted): it is encrypted. Import it with: oidc-gen -p iam | tokenctl import -`}},
		"any client": {"client.json", `{"client_id":"c","client_secret":"s","token_uri":"https://id.example/token","scope":"a b","audience":"x"}`, []string{
			`client.json: client = oauth2 map[audience:x client_id:c scopes:[a b] token_url:https://id.example/token], map[client_secret:s], files ["client.json"], variables [], client c`}},
		"a client without an issuer": {"client.json", `{"client_id":"c","client_secret":"s"}`, []string{
			`client.json (OAuth client): it does not say who issues the tokens. Use --token-url URL, or tokenctl add with --provider`}},
		"a private key": {"rock.pem", pemKey, []string{
			`rock.pem (private key): it does not name the key's client. Copy the whole JSON file; for a key alone use --private-key FILE`}},
		".env": {".env", "# samples\nexport ASPOSE_CLIENT_ID=\"id\"\nASPOSE_CLIENT_SECRET='s#1' # comment\nAZURE_CLIENT_ID=c # x\nAZURE_TENANT_ID=t\nAZURE_CLIENT_SECRET=z\nAZURE_SCOPE=api://k/.default\nnot a line\n", []string{
			`.env: aspose = aspose map[client_id:id], map[client_secret:s#1], files [".env"], variables ["ASPOSE_CLIENT_SECRET"], client id`,
			`.env: azure = azure map[client_id:c scope:api://k/.default tenant:t], map[client_secret:z], files [".env"], variables ["AZURE_CLIENT_SECRET"], client c`}},
		".env that names a file": {".env", "CLMS_SERVICE_KEY=/k.json\nGOOGLE_APPLICATION_CREDENTIALS=/none.json\n", []string{
			`/k.json: k = clms map[], map[service_key:` + serviceKey + `], files ["/k.json"], variables [], client c1`,
			`.env (the file that GOOGLE_APPLICATION_CREDENTIALS names): file does not exist`}},
		"other JSON": {"package.json", `{"name":"x","client_id":"c"}`, nil},
		"a list":     {"x.json", `[1,"x",{}]`, nil},
		"half JSON":  {"x.json", `{"client_id":`, nil},
		"text":       {"notes.txt", "hello = world\nCLIENT_ID=\n", nil},
		// The environment.
		"Aspose": {"", "ASPOSE_CLIENT_ID=id\nASPOSE_CLIENT_SECRET=s\nPATH=/bin", []string{
			`the environment: aspose = aspose map[client_id:id], map[client_secret:s], files [], variables ["ASPOSE_CLIENT_SECRET"], client id`}},
		"GroupDocs": {"", "GROUPDOCS_CLIENT_ID=id\nGROUPDOCS_CLIENT_SECRET=s", []string{
			`the environment: groupdocs = aspose map[base_url:https://api.groupdocs.cloud client_id:id], map[client_secret:s], files [], variables ["GROUPDOCS_CLIENT_SECRET"], client id`}},
		"Azure's SDKs": {"", "AZURE_CLIENT_ID=c\nAZURE_TENANT_ID=t\nAZURE_CLIENT_CERTIFICATE_PATH=/c.pfx\nAZURE_CLIENT_CERTIFICATE_PASSWORD=pw\nAZURE_AUTHORITY_HOST=https://login.microsoftonline.us/", []string{
			`the environment: azure = azure map[authority:login.microsoftonline.us client_id:c scope:https://management.azure.com/.default tenant:t], map[pfx:` + "\x30\x82" + ` pfx_password:pw], files ["/c.pfx"], variables ["AZURE_CLIENT_CERTIFICATE_PASSWORD"], client c`}},
		"Azure's SDKs, federated": {"", "AZURE_CLIENT_ID=c\nAZURE_TENANT_ID=t\nAZURE_FEDERATED_TOKEN_FILE=/x", []string{
			`the environment (variables AZURE_CLIENT_ID ...): it has no secret (the login is federated, or the secret is elsewhere)`}},
		"Terraform": {"", "ARM_CLIENT_ID=c\nARM_TENANT_ID=t\nARM_CLIENT_SECRET=s", []string{
			`the environment: arm = azure map[client_id:c scope:https://management.azure.com/.default tenant:t], map[client_secret:s], files [], variables ["ARM_CLIENT_SECRET"], client c`}},
		"GitHub's workflows": {"", `AZURE_CREDENTIALS={"clientId":"c","clientSecret":"s","tenantId":"t"}`, []string{
			`the environment: azure = azure map[client_id:c scope:https://management.azure.com/.default tenant:t], map[client_secret:s], files [], variables ["AZURE_CREDENTIALS"], client c`}},
		"any issuer": {"", "SHOP_CLIENT_ID=c\nSHOP_CLIENT_SECRET=s\nSHOP_TOKEN_URL=https://id.example/token\nSHOP_SCOPE=a b", []string{
			`the environment: shop = oauth2 map[client_id:c scopes:[a b] token_url:https://id.example/token], map[client_secret:s], files [], variables ["SHOP_CLIENT_SECRET"], client c`}},
		"an issuer that is not named": {"", "CLIENT_ID=c\nCLIENT_SECRET=s", []string{
			`the environment (variables CLIENT_ID ...): it does not say who issues the tokens. Use --token-url URL, or tokenctl add with --provider`}},
		"an ID alone": {"", "CLIENT_ID=c\nOTHER_CLIENT_ID=", nil},
	} {
		got := File(c.file, []byte(c.content), o)
		if c.file == "" {
			got = Env(strings.Split(c.content, "\n"), o)
		}
		if got := shown(got); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s:\n%s\nwant\n%s", name, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
	}
}

// What the forms leave open, options say.
func TestOptionsSayWhatIsLeftOpen(t *testing.T) {
	o := Options{Scope: "api://x/.default", TokenURL: "https://id.example/token"}
	for content, want := range map[string]string{
		`{"appId":"a","password":"pw","tenant":"t"}`:                                                "scope:api://x/.default",
		`{"issuer_url":"https://id.example","client_id":"c","client_secret":"s","scope":"openid"}`:  "token_url:https://id.example/token",
		`{"client_id":"c","client_secret":"s"}`:                                                     "token_url:https://id.example/token",
		`{"type":"service_account","private_key":"k","client_email":"a@b","token_uri":"https://x"}`: "scopes:[api://x/.default]",
		"API_CLIENT_ID=c\nAPI_CLIENT_SECRET=s\n":                                                    "token_url:https://id.example/token",
	} {
		finds := File("x", []byte(content), o)
		if len(finds) != 1 || finds[0].Note != "" || !strings.Contains(fmt.Sprint(finds[0].Settings), want) {
			t.Errorf("%s: %+v, want %s", content, finds, want)
		}
	}
}

func TestNamesAreMadeOfAnything(t *testing.T) {
	for text, want := range map[string]string{
		"my app": "my-app", "../../etc/passwd": "etc-passwd", "-x-": "x", "ünïcode": "n-code", "$(rm)": "rm", "": "", "...": "",
		strings.Repeat("x", 63) + "..y": strings.Repeat("x", 63),
	} {
		if got := Name(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestVariablesOfEnvFiles(t *testing.T) {
	const pem = "-----BEGIN PRIVATE KEY-----\nQUJD\nREVG==\n-----END PRIVATE KEY-----"
	for text, want := range map[string]map[string]string{
		"A=1\nKEY=\"" + pem + "\"\nB=2\n":                            {"A": "1", "KEY": pem, "B": "2"},
		"KEY='" + strings.ReplaceAll(pem, "\n", "\r\n") + "'\r\nB=2": {"KEY": pem, "B": "2"},
		"A='forgotten\nB='x'\nC=\"y\n":                               {"A": "'forgotten", "B": "x", "C": "\"y"},
		"A=a$b${c}\nexport B=\"x$y\"\n":                              {"A": "a$b${c}", "B": "x$y"},
		"N=\"see\nB=3\n\" # why\nB=`2\nC=4`\nC=5\n":                  {"N": "see\nB=3\n", "B": "2\nC=4", "C": "5"},
		"A={\"b\":\n\"c\"}\nB='\n1'\n":                               {"A": "{\"b\":\n\"c\"}", "B": "\n1"},
		`A="a\"b\\c\$d\n"`:                                           {"A": `a"b\c$d\n`},
		"junk\nA=a#b'c # d\nmore junk\nB = {\"c\":\"d\"}\nC=\n":      {"A": "a#b'c", "B": `{"c":"d"}`},
	} {
		if got := parseEnv(text); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	// A secret that is taken for a file's name is in no message.
	if finds := File(".env", []byte("A_SERVICE_KEY=s3cret\n"), files(nil)); len(finds) != 1 || strings.Contains(finds[0].Why, "s3cret") {
		t.Errorf("%+v", finds)
	}
	// A key in one value hides no other credential.
	text := "X_PRIVATE_KEY=\"" + pem + "\"\nSHOP_CLIENT_ID=c\nSHOP_CLIENT_SECRET=s\nSHOP_TOKEN_URL=https://id.example/t\n"
	if finds := File(".env", []byte(text), files(nil)); len(finds) != 1 || finds[0].Provider != "oauth2" {
		t.Errorf("%+v", finds)
	}
}

// Whatever a file holds, a find says where it is from, what it is, and either
// what can be made of it or why nothing can; and no secret is a setting as well,
// which would end in a file.
func FuzzFile(f *testing.F) {
	for _, text := range []string{
		`{"client_id":"a","user_id":"b","token_uri":"https://x/y","private_key":"-----BEGIN RSA PRIVATE KEY-----"}`,
		`{"type":"service_account","client_email":"a@b","private_key":"-----BEGIN PRIVATE KEY-----","token_uri":"https://oauth2.googleapis.com/token"}`,
		`{"appId":"a","displayName":"b","password":"c","tenant":"d"}`, `[{"clientId":"a","clientSecret":"b","tenantId":"c","subscriptionId":"d"}]`,
		`{"installed":{"client_id":"a","client_secret":"b","token_uri":"https://x"}}`, `{"client_id":1,"client_secret":["x"]}`,
		"AZURE_CLIENT_ID=a\nexport AZURE_CLIENT_SECRET='b'\nAZURE_TENANT_ID=\"c\"\n", "A=$(x)\nCLIENT_ID=\x00\n", "-----BEGIN PRIVATE KEY-----\n", "x\nGenerated using version: 4\n", "{", "[[", "\ufeff{}",
	} {
		f.Add([]byte(text))
	}
	read := func(string) ([]byte, error) { return nil, fs.ErrNotExist }
	f.Fuzz(func(t *testing.T, content []byte) {
		for _, find := range File("a.json", content, Options{Scope: "s", TokenURL: "https://x/token", Read: read}) {
			if find.From != "a.json" || find.Form == "" || find.Provider == "" && find.Why == "" {
				t.Fatalf("%+v", find)
			}
			if Name(find.Name) != find.Name {
				t.Fatalf("%q is no name", find.Name)
			}
			for field := range find.Secrets {
				if _, twice := find.Settings[field]; twice {
					t.Fatalf("%s is a secret and a setting", field)
				}
			}
		}
	})
}
