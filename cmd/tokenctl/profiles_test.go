package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"tokend/cmd/tokenctl/ui"
	"tokend/providers/token"
)

const canary = "CANARY-secret-7f3a"

// nextYear is a day on which no secret has expired yet.
func nextYear() string { return time.Now().UTC().AddDate(1, 0, 0).Format(time.DateOnly) }

func writeSecret(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestAddSendsWhatItIsGiven(t *testing.T) {
	key := writeSecret(t, "key.json", `{"private_key":"`+canary+`"}`+"\n")
	pfx := string([]byte{0x30, 0x82, 0xff, 0xfe, 0x00, '\n'})
	expires := nextYear()
	for _, c := range []struct {
		args     []string
		settings map[string]any
		secrets  map[string]string
		expires  string
	}{
		{args: []string{"--provider", "clms", "--service-key", key}, secrets: map[string]string{"service_key": `{"private_key":"` + canary + `"}` + "\n"}},
		{ // settings in their types
			args: []string{"--provider", "oauth2", "--token-url", "https://id.example/t", "--client-id", "123", "--scope", "read", "--scope", "write", "--form", "a=b=c",
				"--claim", "n=1", "--set", "form=d=e", "--renew", "used", "--client-secret-file", writeSecret(t, "s", canary+"\r\n"), "--secret-expires", expires, "--no-check"},
			settings: map[string]any{"token_url": "https://id.example/t", "client_id": "123", "renew": "used", "scopes": []any{"read", "write"},
				"form": map[string]any{"a": "b=c", "d": "e"}, "claims": map[string]any{"n": "1"}},
			secrets: map[string]string{"client_secret": canary}, expires: expires + "T00:00:00Z",
		},
		{
			args:     []string{"--provider", "azure", "--tenant", "t", "--client-id", "c", "--scope", "s/.default", "--x5c", "true", "--client-secret-file", "-"},
			settings: map[string]any{"tenant": "t", "client_id": "c", "scope": "s/.default", "x5c": true}, secrets: map[string]string{"client_secret": canary},
		},
		{
			args: []string{"--provider", "azure", "--tenant", "t", "--client-id", "c", "--scope", "s", "--set", "x5c=false", "--pfx", writeSecret(t, "a.pfx", pfx),
				"--pfx-password-file", writeSecret(t, "p", " pass word \n")},
			settings: map[string]any{"tenant": "t", "client_id": "c", "scope": "s", "x5c": false}, secrets: map[string]string{"pfx": pfx, "pfx_password": " pass word "},
		},
	} {
		b := newBackend()
		r := call(t, serve(t, b), strings.NewReader(canary+"\n"), append([]string{"add", "x"}, c.args...)...)
		r.wants(t, ui.ExitOK, "tokenctl get clms\n", "")
		secrets := map[string]string{}
		for name, s := range b.addition.Secrets {
			secrets[name] = s.Reveal()
		}
		a := b.addition
		if a.Name != "x" || a.Provider != c.args[1] || len(a.Settings)+len(c.settings) > 0 && !reflect.DeepEqual(a.Settings, c.settings) || !reflect.DeepEqual(secrets, c.secrets) {
			t.Errorf("%q: sent %+v, %q", c.args, a, secrets)
		}
		if a.NoCheck != (c.expires != "") || c.expires != "" && a.CredentialExpires.Format(time.RFC3339) != c.expires {
			t.Errorf("%q: sent %+v", c.args, a)
		}
		if strings.Contains(r.out+r.err, canary) {
			t.Error("the secret is shown")
		}
	}
	r := call(t, serve(t, newBackend()), nil, "add", "clms", "--provider", "clms", "--service-key", key)
	r.has(t, "in 412 ms", "expires in 42 min", "account clms/private_key/1", "can delete:\n  "+key)
}

func TestAddRefusesBeforeAnythingIsSent(t *testing.T) {
	secret := writeSecret(t, "s", canary)
	empty := writeSecret(t, "empty", "\n")
	serviceKey := writeSecret(t, "key.json", `{"client_id":"c","private_key":"`+canary+`"}`)
	azure := []string{"add", "x", "--provider", "azure", "--tenant", "t", "--client-id", "c", "--scope", "s"}
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"nothing at all":              {[]string{"add"}, "missing: --provider (clms, azure, oauth2)"},
		"no provider":                 {[]string{"add", "x"}, "missing: --provider"},
		"everything else":             {[]string{"add", "--provider", "azure"}, "missing: NAME, --tenant, --client-id, --scope, --client-secret-file FILE or --certificate FILE or --pfx FILE"},
		"the only secret":             {[]string{"add", "x", "--provider", "clms"}, "missing: --service-key FILE"},
		"provider mistyped":           {[]string{"add", "x", "--provider", "azur"}, "did you mean azure?"},
		"provider unknown":            {[]string{"add", "x", "--provider", "frobnicate"}, "there are clms, azure, oauth2"},
		"flag mistyped":               {[]string{"add", "x", "--tennant", "t"}, "did you mean --tenant?"},
		"setting twice":               {append(azure, "--tenant", "u"), "tenant is given twice"},
		"setting empty":               {append(azure, "--user-agent", ""), "--user-agent: the value is empty"},
		"set without value":           {append(azure, "--set", "x5c"), "NAME=VALUE"},
		"table without value":         {[]string{"add", "x", "--provider", "oauth2", "--form", "a"}, "NAME=VALUE"},
		"table entry twice":           {[]string{"add", "x", "--provider", "oauth2", "--form", "a=1", "--form", "a=2"}, "a is given twice"},
		"secret as a flag":            {append(azure, "--client-secret", canary), "use --client-secret-file FILE"},
		"secret as a flag, with =":    {append(azure, "--client-secret="+canary), "use --client-secret-file FILE"},
		"password as a flag":          {append(azure, "--pfx-password", canary), "use --pfx-password-file FILE"},
		"secret as a file's name":     {append(azure, "--client-secret-file", canary), "no such file or directory"},
		"key as a file's name":        {append(azure, "--private-key", "-----BEGIN PRIVATE KEY-----\n"+canary), "takes the name of a file"},
		"JSON as a file's name":       {[]string{"add", "x", "--provider", "clms", "--service-key", `{"private_key":"` + canary + `"}`}, "takes the name of a file"},
		"a directory":                 {append(azure, "--private-key", t.TempDir()), "is a directory"},
		"an empty file":               {append(azure, "--client-secret-file", empty), "--client-secret-file: the file is empty"},
		"a file that is not there":    {[]string{"add", "x", "--provider", "clms", "--service-key", "nofile.json"}, "--service-key: no such file or directory"},
		"a secret's file, not there":  {append(azure, "--client-secret-file", "./nofile"), "no such file or directory"},
		"a long key as a file's name": {append(azure, "--private-key", strings.Repeat(canary, 20)), "--private-key: "},
		"a slash in a secret":         {append(azure, "--client-secret-file", "/"+canary+"/x+y=="), "no such file or directory"},
		"a dot in a secret":           {append(azure, "--client-secret-file", canary+".Q8~x_1"), "no such file or directory"},
		"a date in the past":          {append(azure, "--secret-expires", "2020-01-31"), "--secret-expires: 2020-01-31 is in the past"},
		"a time in the past":          {append(azure, "--secret-expires", time.Now().Add(-time.Hour).Format(time.RFC3339)), "is in the past"},
		"a service key as a key":      {append(azure, "--private-key", serviceKey), "--private-key: that is a service key (JSON)"},
		"a service key, other flag":   {[]string{"add", "x", "--provider", "clms", "--private-key", serviceKey}, "that is a service key (JSON): use --service-key FILE"},
		"a service key as a secret":   {append(azure, "--client-secret-file", serviceKey), "that is a service key (JSON)"},
		"stdin twice":                 {append(azure, "--certificate", "-", "--private-key", "-"), "--private-key: stdin is empty"},
		"a flag twice":                {append(azure, "--client-secret-file", secret, "--client-secret-file", secret), "given twice"},
		"no date":                     {append(azure, "--secret-expires", "31.1.2027"), "not a date such as"},
		"no name":                     {[]string{"add", "my api", "--provider", "azure"}, "is not a valid profile name"},
		"two names":                   {[]string{"add", "x", "y"}, "no such file or directory"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBackend()
			r := call(t, serve(t, b), strings.NewReader(canary), c.args...)
			r.wants(t, ui.ExitUsage, "", c.want)
			b.asked(t)
			if strings.Contains(r.out+r.err, canary) {
				t.Errorf("the secret is shown: %s", r.err)
			}
			if strings.Count(r.err, "tokenctl: ") != 1 {
				t.Errorf("not one error: %s", r.err)
			}
		})
	}
}

func TestAddThatFailsSaysThatNothingWasKept(t *testing.T) {
	for code, status := range map[token.Code]int{token.ErrRejected: ui.ExitRejected, token.ErrUnavailable: ui.ExitUnavailable, token.ErrLocked: ui.ExitLocked} {
		b := newBackend()
		b.err = &token.Error{Code: code, Message: "no", OAuth: "invalid_client"}
		r := call(t, serve(t, b), strings.NewReader(canary), "add", "x", "--provider", "clms", "--service-key", "-")
		r.wants(t, status, "", "Nothing was saved.")
		if strings.Contains(r.err, "tokenctl rotate") {
			t.Errorf("%s: there is nothing to rotate yet: %s", code, r.err)
		}
	}
}

func TestAddNamesTheFlagOfAWrongField(t *testing.T) {
	for field, want := range map[string]string{
		"client_secret": "--client-secret-file", "pfx_password": "--pfx-password-file", "tenant": "--tenant", "scopes": "--scope",
		"claims": "--claim", "settings.tenant": "--tenant", "backdate": "--backdate", "new_one": "--set new_one=",
	} {
		b := newBackend()
		b.err = &token.Error{Code: token.ErrInvalid, Message: "no", Field: field}
		call(t, serve(t, b), strings.NewReader(canary), "add", "x", "--provider", "clms", "--service-key", "-").
			wants(t, ui.ExitUsage, "", "Its flag: "+want)
	}
}

func TestAddJSON(t *testing.T) {
	b := newBackend()
	r := call(t, serve(t, b), strings.NewReader(canary), "add", "x", "--provider", "clms", "--service-key", "-", "--json")
	var added token.Created
	if err := json.Unmarshal([]byte(r.out), &added); err != nil || !added.Checked || len(added.Kept) != 2 {
		t.Errorf("%v: %s", err, r.out)
	}
}

func TestRotateSendsSecretsAlone(t *testing.T) {
	b, socket := served(t, newBackend())
	call(t, socket, strings.NewReader(canary), "rotate", "azure", "--client-secret-file", "-", "--secret-expires", nextYear()+"T10:00:00+02:00").
		wants(t, ui.ExitOK, "works", "")
	if b.addition.Name != "azure" || b.addition.Settings != nil || b.addition.Secrets["client_secret"].Reveal() != canary {
		t.Errorf("sent %+v", b.addition)
	}
	if b.addition.CredentialExpires.Format(time.RFC3339) != nextYear()+"T08:00:00Z" {
		t.Errorf("expires %v", b.addition.CredentialExpires)
	}
	file := writeSecret(t, "sp.json", `{"appId":"a","password":"`+canary+`","tenant":"t"}`)
	b.status.Profiles[0].Settings = map[string]any{"client_id": "A"} // as some portals write GUIDs
	call(t, socket, nil, "rotate", "azure", file).wants(t, ui.ExitOK, "can delete:\n  "+file, "")
	if b.addition.Settings != nil || b.addition.Secrets["client_secret"].Reveal() != canary {
		t.Errorf("from a file: sent %+v", b.addition)
	}
	b.calls = nil
	b.status.Profiles[0].Settings = map[string]any{"client_id": "another"}
	call(t, socket, nil, "rotate", "azure", file).wants(t, ui.ExitUsage, "", "but the profile is for another")
	call(t, socket, nil, "rotate", "azure").wants(t, ui.ExitUsage, "", "missing: --client-secret-file FILE or")
	call(t, socket, strings.NewReader(canary), "rotate", "clsm", "--private-key", "-").wants(t, ui.ExitNotFound, "", `"clms"`)
	b.asked(t)
	b.err = &token.Error{Code: token.ErrInvalid, Message: "no", Field: "client_id"}
	if r := call(t, socket, strings.NewReader(canary), "rotate", "clms", "--private-key", "-"); strings.Contains(r.err, "--client-id") {
		t.Errorf("it names a flag that rotate does not have: %s", r.err)
	}
	b.err = &token.Error{Code: token.ErrRejected, Message: "no", OAuth: "invalid_grant"}
	call(t, socket, strings.NewReader(canary), "rotate", "clms", "--private-key", "-").wants(t, ui.ExitRejected, "", "The old secret or key is still in use.")
}

// A collector keeps all additions, and refuses those for the names in refuse.
type collector struct {
	*backend
	refuse    map[string]error
	additions []token.CreateProfile
}

func (k *collector) Add(_ context.Context, a token.CreateProfile) (token.Created, error) {
	k.additions = append(k.additions, a)
	if err := k.refuse[a.Name]; err != nil {
		return token.Created{}, err
	}
	added := k.added
	added.Profile.Name, added.Checked = a.Name, !a.NoCheck
	return added, nil
}

func (k *collector) names() (names []string) {
	for _, a := range k.additions {
		names = append(names, a.Name)
	}
	return names
}

// folder is a folder of files.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func clmsKey(client string) string {
	return fmt.Sprintf(`{"client_id":%q,"user_id":"u","token_uri":"https://land/@@oauth2-token","private_key":"%s"}`, client, canary)
}

// emptyHome clears what this machine's own environment would add to an import.
func emptyHome(t *testing.T) {
	t.Helper()
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); strings.Contains(name, "CLIENT_ID") || strings.HasSuffix(name, "CREDENTIALS") {
			t.Setenv(name, "")
		}
	}
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Chdir(home)
}

func TestImportShowsWhatItWouldDoAndDoesNothing(t *testing.T) {
	dir := folder(t, map[string]string{"alice.json": clmsKey("a1"), "service-key.json": clmsKey("a2"), "notes.txt": "x", "user.json": `{"type":"authorized_user"}`})
	t.Chdir(dir)
	k := &collector{backend: newBackend()}
	r := call(t, serve(t, k), nil, "import", ".")
	r.wants(t, ui.ExitOK, "Nothing is imported yet", "")
	r.has(t, "alice ", "clms-2 ", "Cannot be imported", "user.json (Google login): it is a person", "--yes")
	if len(k.additions) > 0 || strings.Contains(r.out, "notes.txt") || strings.Contains(r.out, canary) {
		t.Errorf("added %q; said\n%s", k.names(), r.out)
	}
}

func TestImportMakesProfilesAndListsWhatCanBeDeleted(t *testing.T) {
	dir := folder(t, map[string]string{
		"alice.json": clmsKey("a1"), "bob.json": clmsKey("a2"),
		".env": "ASPOSE_CLIENT_ID=id\nASPOSE_CLIENT_SECRET=" + canary + "\n",
	})
	k := &collector{backend: newBackend(), refuse: map[string]error{
		"bob": &token.Error{Code: token.ErrRejected, OAuth: "invalid_grant", Message: "the issuer refused the key"},
	}}
	t.Chdir(dir)
	r := call(t, serve(t, k), nil, "import", ".", "--yes")
	if r.status != ui.ExitRejected || r.err != "" {
		t.Errorf("status %d, stderr %q", r.status, r.err)
	}
	r.has(t,
		"alice    ready; a token came in 412 ms\n", "bob      nothing was saved\n    the issuer refused the key\n    invalid_grant: ",
		"Use it: tokenctl get aspose\n", "tokend no longer needs these variables\n  ASPOSE_CLIENT_SECRET in .env\n", "can delete:\n  alice.json\n")
	if _, may, _ := strings.Cut(r.out, "can delete:"); strings.Contains(may, "bob") || strings.Contains(may, ".env") {
		t.Errorf("what is still needed may be deleted:\n%s", r.out)
	}
	slices.SortFunc(k.additions, func(a, b token.CreateProfile) int { return strings.Compare(a.Name, b.Name) })
	if got := k.names(); !slices.Equal(got, []string{"alice", "aspose", "bob"}) {
		t.Fatalf("added %q", got)
	}
	if a := k.additions[0]; a.Provider != "clms" || len(a.Settings) > 0 || a.Secrets["service_key"].Reveal() != clmsKey("a1") || a.NoCheck {
		t.Errorf("%+v", a)
	}
	if a := k.additions[1]; a.Provider != "aspose" || a.Settings["client_id"] != "id" || a.Secrets["client_secret"].Reveal() != canary {
		t.Errorf("%+v", a)
	}
	if strings.Contains(r.out, canary) {
		t.Error("a secret is shown")
	}
}

func TestImportOfTheEnvironment(t *testing.T) {
	emptyHome(t)
	t.Setenv("AZURE_CLIENT_ID", "app")
	t.Setenv("AZURE_TENANT_ID", "contoso.com")
	t.Setenv("AZURE_CLIENT_SECRET", canary)
	if err := os.WriteFile(".env", []byte("SHOP_CLIENT_ID=c\nSHOP_CLIENT_SECRET=s\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	k := &collector{backend: newBackend()}
	r := call(t, serve(t, k), nil, "import", "--yes", "--scope", "api://x/.default", "--token-url", "https://id.example/t", "--no-check")
	r.wants(t, ui.ExitOK, "AZURE_CLIENT_SECRET in the environment\n", "")
	if !strings.Contains(r.out, "saved, untested") {
		t.Error(r.out)
	}
	if got := k.names(); !slices.Equal(got, []string{"azure-2", "shop"}) {
		t.Fatalf("added %q", got)
	}
	want := map[string]any{"tenant": "contoso.com", "client_id": "app", "scope": "api://x/.default"}
	if a := k.additions[0]; !a.NoCheck || fmt.Sprint(a.Settings) != fmt.Sprint(want) || a.Secrets["client_secret"].Reveal() != canary {
		t.Errorf("%+v", a)
	}
}

func TestImportFindsNothing(t *testing.T) {
	emptyHome(t)
	socket := serve(t, newBackend())
	call(t, socket, nil, "import").wants(t, ui.ExitUsage, "", "there is no key or secret that tokend knows in the environment and the usual places")
	call(t, socket, nil, "import", folder(t, map[string]string{"x.txt": "x"})).wants(t, ui.ExitUsage, "", "no key or secret that tokend knows in /")
	call(t, socket, nil, "import", "nowhere").wants(t, ui.ExitUsage, "", "nowhere: no such file or directory")
	call(t, socket, nil, "import", clmsKey("x")).wants(t, ui.ExitUsage, "", "not its content")
	if r := call(t, socket, nil, "import", writeSecret(t, "x.txt", "x")); r.status != ui.ExitUsage || !strings.Contains(r.out, "tokend does not know") || r.err != "" {
		t.Errorf("%+v", r)
	}
}

func TestImportOfFiles(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		stdin string // in place of files: an encrypted file is decrypted by its own tool
		mode  os.FileMode
		says  string
		names []string
	}{
		"known already":  {files: map[string]string{"service-key.json": strings.Replace(clmsKey("abc"), "//land/", "//land.copernicus.eu/", 1)}, says: "Already there\n  service-key.json (CLMS service key): the profile clms has it"},
		"another issuer": {files: map[string]string{"service-key.json": clmsKey("abc")}, says: "clms-2   ready", names: []string{"clms-2"}},
		"twins":          {files: map[string]string{"a.json": clmsKey("x"), "b.json": clmsKey("x"), "c.json": clmsKey("y")}, says: "b.json (CLMS service key): the profile a has it", names: []string{"a", "c"}},
		"stdin":          {stdin: `{"name":"iam","issuer_url":"https://iam.example","client_id":"c","client_secret":"` + canary + `","token_endpoint":"https://iam.example/token"}`, says: "ready", names: []string{"iam"}},
		"exposed":        {files: map[string]string{"key.json": clmsKey("x")}, mode: 0o044, says: "(mode 0644)", names: []string{"clms-2"}},
	} {
		t.Run(name, func(t *testing.T) {
			k, path := &collector{backend: newBackend()}, "."
			t.Chdir(folder(t, c.files))
			for file := range c.files {
				if err := os.Chmod(file, 0o600|c.mode); err != nil {
					t.Fatal(err)
				}
			}
			if c.stdin != "" {
				path = "-"
			}
			r := call(t, serve(t, k), strings.NewReader(c.stdin), "import", path, "--yes")
			r.wants(t, ui.ExitOK, c.says, "")
			if !slices.Equal(k.names(), c.names) || c.stdin != "" && strings.Contains(r.out, "delete") {
				t.Errorf("added %q:\n%s", k.names(), r.out)
			}
		})
	}
}

func TestImportAsJSON(t *testing.T) {
	k := &collector{backend: newBackend(), refuse: map[string]error{"b": token.ErrLocked}}
	dir := folder(t, map[string]string{"a.json": clmsKey("1"), "b.json": clmsKey("2"), "c.pem": "-----BEGIN PRIVATE KEY-----\n"})
	socket := serve(t, k)
	var plan, done struct {
		Found []struct {
			Done, Checked bool
			Problem       string
			Error         *token.Error
		}
	}
	r := call(t, socket, nil, "import", dir, "--json")
	if err := json.Unmarshal([]byte(r.out), &plan); err != nil || r.status != ui.ExitOK || len(plan.Found) != 3 || plan.Found[0].Done || plan.Found[2].Problem == "" {
		t.Errorf("status %d, %v: %s", r.status, err, r.out)
	}
	r = call(t, socket, nil, "import", dir, "--json", "--yes")
	err := json.Unmarshal([]byte(r.out), &done)
	if err != nil || r.status != ui.ExitLocked || !done.Found[0].Done || !done.Found[0].Checked || done.Found[1].Done || done.Found[1].Error.Code != token.ErrLocked {
		t.Errorf("status %d, %v: %s", r.status, err, r.out)
	}
	if strings.Contains(r.out, canary) {
		t.Error("a secret is shown")
	}
}

func TestAddTakesAFileThatSaysWhatItIs(t *testing.T) {
	key := writeSecret(t, "service-key.json", clmsKey("x"))
	for name, args := range map[string][]string{
		"a flag":            {"add", "clms", "--service-key", key},
		"a name and a file": {"add", "clms", key},
		"a file":            {"add", key},
		"and a provider":    {"add", "clms", key, "--provider", "clms"},
	} {
		b := newBackend()
		r := call(t, serve(t, b), nil, args...)
		r.wants(t, ui.ExitOK, "can delete:\n  "+key, "")
		if a := b.addition; a.Name != "clms" || a.Provider != "clms" || a.Secrets["service_key"].Reveal() != clmsKey("x") || len(a.Settings) > 0 {
			t.Errorf("%s: sent %+v", name, a)
		}
	}
	b := newBackend()
	call(t, serve(t, b), strings.NewReader(clmsKey("x")), "add", "clms", "--service-key", "-").wants(t, ui.ExitOK, "", "")
	if b.addition.Provider != "clms" {
		t.Errorf("from stdin: sent %+v", b.addition)
	}
}

// What is said counts more than what a file says.
func TestAddCompletesWhatAFileSays(t *testing.T) {
	sp := writeSecret(t, "sp.json", `{"appId":"a","password":"`+canary+`","tenant":"t","displayName":"my app"}`)
	b := newBackend()
	call(t, serve(t, b), nil, "add", sp, "--scope", "api://x/.default").wants(t, ui.ExitOK, "", "")
	want := map[string]any{"tenant": "t", "client_id": "a", "scope": "api://x/.default"}
	if a := b.addition; a.Name != "my-app" || a.Provider != "azure" || fmt.Sprint(a.Settings) != fmt.Sprint(want) || a.Secrets["client_secret"].Reveal() != canary {
		t.Errorf("sent %+v", a)
	}
}

func TestAddSaysWhyAFileCannotBeTaken(t *testing.T) {
	key, other := writeSecret(t, "k.json", clmsKey("x")), writeSecret(t, "o.json", "{}")
	half := writeSecret(t, "half.json", clmsKey("x")[:40])
	many := writeSecret(t, "many.env", "API_CLIENT_ID=a\nAPI_CLIENT_SECRET=b\nARM_CLIENT_ID=a\nARM_TENANT_ID=t\nARM_CLIENT_SECRET=b\n")
	person := writeSecret(t, "adc.json", `{"type":"authorized_user"}`)
	for want, args := range map[string][]string{
		other + ": tokend does not know this kind of file;":     {"add", "x", other},
		half + ": it is cut off: its last brace is missing":     {"add", "x", half},
		"tokenctl import " + many:                               {"add", "x", many},
		person + ": it is a person's login":                     {"add", "x", person},
		"is for the provider clms (CLMS service key)":           {"add", "x", key, "--provider", "azure"},
		"as an argument or with its flag":                       {"add", "x", key, "--service-key", key},
		"FILE takes the name of a file, not its content":        {"add", "x", clmsKey("y")},
		"FILE: no such file or directory":                       {"add", "k.json"},
		"no such file or directory":                             {"add", "x", "/nowhere/k.json"},
		"--service-key: tokend does not know this kind of file": {"add", "x", "--service-key", other},
		"not 3 arguments":                                       {"add", "x", key, key},
		key + " is for the provider clms (CLMS service key)":    {"rotate", "azure", key},
		"rotate takes one profile name, not 3":                  {"rotate", "azure", key, key},
	} {
		b := newBackend()
		r := call(t, serve(t, b), nil, args...)
		r.wants(t, ui.ExitUsage, "", want)
		if len(b.calls) > 0 || strings.Contains(r.err, canary) {
			t.Errorf("%q: asked %q, said %s", args, b.calls, r.err)
		}
	}
}
