package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tokend/cmd/tokenctl/ui"
	"tokend/providers/token"
)

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
	for _, want := range []string{"alice ", "clms-2 ", "Cannot be imported", "user.json (Google login): it is a person", "--yes"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("lacks %q:\n%s", want, r.out)
		}
	}
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
	for _, want := range []string{
		"alice    ready; a token came in 412 ms\n", "bob      nothing was saved\n    the issuer refused the key\n    invalid_grant: ",
		"Use it: tokenctl get aspose\n", "tokend no longer needs these variables\n  ASPOSE_CLIENT_SECRET in .env\n", "can delete:\n  alice.json\n",
	} {
		if !strings.Contains(r.out, want) {
			t.Errorf("lacks %q:\n%s", want, r.out)
		}
	}
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
	if r := call(t, socket, nil, "import", writeSecret(t, "x.txt", "x")); r.status != ui.ExitUsage || !strings.Contains(r.out, "it is not a key file") || r.err != "" {
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
		"FILE: it is not a key file that tokend knows;":  {"add", "x", other},
		"FILE: it is cut off: its last brace is missing": {"add", "x", half},
		"tokenctl import " + many:                        {"add", "x", many},
		"FILE: it is a person's login":                   {"add", "x", person},
		"is for the provider clms (CLMS service key)":    {"add", "x", key, "--provider", "azure"},
		"one is enough": {"add", "x", key, "--service-key", key},
		"FILE takes the name of a file, not its content":        {"add", "x", clmsKey("y")},
		"FILE: there is no such file":                           {"add", "k.json"},
		"there is no such file":                                 {"add", "x", "/nowhere/k.json"},
		"--service-key: it is not a key file that tokend knows": {"add", "x", "--service-key", other},
		"got 3 words": {"add", "x", key, key},
	} {
		b := newBackend()
		r := call(t, serve(t, b), nil, args...)
		r.wants(t, ui.ExitUsage, "", want)
		if len(b.calls) > 0 || strings.Contains(r.err, canary) {
			t.Errorf("%q: asked %q, said %s", args, b.calls, r.err)
		}
	}
}
