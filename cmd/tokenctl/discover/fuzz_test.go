package discover

import (
	"io/fs"
	"testing"
)

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
