package form

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tokend/cmd/tokenctl/discover"
	"tokend/docs"
	"tokend/providers/token"
)

func TestProfilesAreDescribed(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	p := token.ProfileStatus{Name: "clms", Provider: "clms", Does: "mints"}
	ending := p
	ending.CredentialExpires, ending.Warnings = now.Add(30*24*time.Hour), []string{"the clock is off"}
	ready := p
	ready.Tokens = []token.TokenStatus{{Expiry: now.Add(time.Hour)}}
	for _, c := range []struct {
		text string
		want []string
	}{
		{renderProfile(token.Created{Profile: ending, Kept: []string{"settings: x"}}, []string{"/a", "/b"}, now), []string{
			"The profile clms is saved, untested: clms", "Saved:\n  settings: x\n", "No token was obtained", "expires on 2026-12-23, in 30 days", "Warning: the clock is off",
			"Once \"tokenctl get clms\" has worked, you can delete:\n  /a\n  /b\n"}},
		{renderProfile(token.Created{Profile: ready, Checked: true, Took: 412 * time.Millisecond}, []string{"/a"}, now), []string{
			"The profile clms is ready: clms", "in 412 ms, so it works; it expires in 1 h", "Now you can delete:\n  /a\n"}},
		{renderRotated(token.Created{Profile: p}, nil, now), []string{"The profile clms is saved, untested: clms"}},
	} {
		for _, want := range c.want {
			if !strings.Contains(c.text, want) {
				t.Errorf("lacks %q:\n%s", want, c.text)
			}
		}
	}
	const evil = "\x1b]52;c;eA==\x07\u202e"
	hostile := token.ProfileStatus{Name: evil, Provider: evil, Endpoint: evil, Warnings: []string{evil}}
	text := renderProfile(token.Created{Kept: []string{evil}, Profile: hostile}, []string{evil}, now)
	if strings.ContainsAny(text, "\x1b\x07\u202e") || strings.Count(text, `\u202e`) != 8 {
		t.Errorf("%q", text)
	}
}

func TestOnlyRegularFilesCanBeDeleted(t *testing.T) {
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := deletable(map[string]string{key: "private_key", os.DevNull: "pfx", "/nowhere": "pfx"}); !slices.Equal(got, []string{key}) {
		t.Errorf("got %q, want the key", got)
	}
}

func TestExpiryIsNotOver(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]string{
		"2026-11-23": "2026-11-23T00:00:00Z", "2026-11-23T14:00:01+02:00": "2026-11-23T12:00:01Z",
		"2026-11-22": "2026-11-22 is in the past", "2026-11-23T11:00:00Z": "2026-11-23T11:00:00Z is in the past", "23.11.2026": `"23.11.2026" is not a date such as 2027-01-31`,
	} {
		at, err := parseExpiry(text, now)
		if err != nil && err.Error() != want || err == nil && at.Format(time.RFC3339) != want {
			t.Errorf("%s: %v, %v", text, at, err)
		}
	}
}

func TestFreeNames(t *testing.T) {
	taken := map[string]bool{"a": true, "a-2": true, strings.Repeat("x", 64): true}
	for name, want := range map[string]string{"a": "a-3", "b": "b", strings.Repeat("x", 64): strings.Repeat("x", 59) + "-2"} {
		if got := freeName(name, taken); got != want || token.CheckName(got) != nil {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func TestWhichProvidersNeedASecret(t *testing.T) {
	providers := map[string]*token.Provider{}
	for _, s := range docs.Settings() {
		if providers[s.Provider] == nil {
			providers[s.Provider] = &token.Provider{Name: s.Provider}
		}
		p := providers[s.Provider]
		p.Fields = append(p.Fields, token.Field{Name: s.Name, Secret: strings.HasPrefix(s.Note, "secret"), Required: strings.Contains(s.Note, "needed")})
	}
	for name, want := range map[string]bool{
		"clms": true, "azure": true, "aspose": true, "oauth2": true, "jwt-bearer": true, "datarock": false, "ioxio": false, "jwt-verify": false,
	} {
		if got := needsSecret(*providers[name]); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// The flags follow from the providers' fields.
func TestFlagsOfFields(t *testing.T) {
	for field, want := range map[string]string{
		"client_secret": "--client-secret-file", "pfx_password": "--pfx-password-file", "service_key": "--service-key", "private_key": "--private-key",
		"tenant": "--tenant", "scope": "--scope", "scopes": "--scope", "claims": "--claim", "audiences": "--audience", "algorithms": "--algorithm",
		"dsi": "--dsi", "form": "--form", "hosts": "--host", "allow_users": "--allow-user", "backdate": "--backdate", "new_one": "--set new_one=...",
	} {
		if got := flagFor(field); got != want {
			t.Errorf("%s: %s, want %s", field, got, want)
		}
	}
	for name, want := range map[string]string{
		"client-secret": "client-secret-file", "pfx-password": "pfx-password-file", "service-key-json": "service-key",
		"private-key-file": "private-key", "private-key-pem": "private-key", "tenant": "", "secrets": "",
	} {
		if got := SecretFlag(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	for _, s := range knownFields() {
		if s.Name == "user_agent" && s.Doc != "clms, azure, aspose, oauth2, jwt-bearer: User-Agent of the requests to the issuer, and of tokenctl curl; ioxio, jwt-verify: User-Agent of the requests to the issuer" {
			t.Errorf("%q", s.Doc)
		}
	}
}

// The same client at another issuer is another one.
func TestIdentityIsProviderEndpointAndClient(t *testing.T) {
	for _, c := range []struct{ provider, endpoint, same, other string }{
		{"clms", "https://land.copernicus.eu/@@oauth2-token", `{"client_id":"c","user_id":"u","private_key":"k","token_uri":"https://land.copernicus.eu/@@oauth2-token"}`,
			`{"client_id":"c","user_id":"u","private_key":"k","token_uri":"https://land-test.copernicus.eu/@@oauth2-token"}`},
		{"azure", "https://login.microsoftonline.com/prod/oauth2/v2.0/token", `{"appId":"c","password":"p","tenant":"prod"}`, `{"appId":"c","password":"p","tenant":"test"}`},
		{"azure", "https://login.microsoftonline.us/prod/oauth2/v2.0/token", "X_CLIENT_ID=c\nX_CLIENT_SECRET=s\nX_TOKEN_URL=https://login.microsoftonline.us/prod/oauth2/v2.0/token\n",
			"AZURE_CLIENT_ID=c\nAZURE_CLIENT_SECRET=s\nAZURE_TENANT_ID=prod\n"},
		{"aspose", "https://api.aspose.cloud/connect/token", "ASPOSE_CLIENT_ID=c\nASPOSE_CLIENT_SECRET=s\n", "GROUPDOCS_CLIENT_ID=c\nGROUPDOCS_CLIENT_SECRET=s\n"},
		{"oauth2", "https://id.example/t", `{"client_id":"c","client_secret":"s","token_url":"https://id.example/t?v=2"}`, `{"client_id":"c","client_secret":"s","token_url":"https://test.example/t"}`},
		{"jwt-bearer", "https://g.example/t", `{"type":"service_account","client_email":"c","private_key":"k","token_uri":"https://g.example/t"}`,
			`{"type":"service_account","client_email":"c","private_key":"k","token_uri":"https://h.example/t"}`},
	} {
		profiles := []token.ProfileStatus{
			{Name: "another-client", Provider: c.provider, Endpoint: c.endpoint, Settings: token.Settings{"client_id": "d"}},
			{Name: "it", Provider: c.provider, Endpoint: c.endpoint, Settings: token.Settings{map[bool]string{true: "issuer", false: "client_id"}[c.provider == "jwt-bearer"]: "c"}},
		}
		for content, want := range map[string]string{c.same: "it", c.other: ""} {
			finds := discover.File("x", []byte(content), discover.Options{Read: readCandidate})
			if len(finds) != 1 || finds[0].Why != "" {
				t.Fatalf("%s: %+v", content, finds)
			}
			if got := existing(finds[0], profiles, nil); got != want {
				t.Errorf("%s: %q, want %q", content, got, want)
			}
		}
	}
}
