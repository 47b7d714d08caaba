package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
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
	for _, want := range []string{"in 412 ms", "expires in 42 min", "account clms/private_key/1", "can delete:\n  " + key} {
		if !strings.Contains(r.out, want) {
			t.Errorf("stdout lacks %q:\n%s", want, r.out)
		}
	}
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
		"nothing at all":              {[]string{"add"}, "missing: NAME, --provider (clms, azure, oauth2)"},
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
		"secret as a file's name":     {append(azure, "--client-secret-file", canary), "there is no such file"},
		"key as a file's name":        {append(azure, "--private-key", "-----BEGIN PRIVATE KEY-----\n"+canary), "takes the name of a file"},
		"JSON as a file's name":       {[]string{"add", "x", "--provider", "clms", "--service-key", `{"private_key":"` + canary + `"}`}, "takes the name of a file"},
		"a directory":                 {append(azure, "--private-key", t.TempDir()), "is a directory"},
		"an empty file":               {append(azure, "--client-secret-file", empty), "--client-secret-file: the file is empty"},
		"a file that is not there":    {[]string{"add", "x", "--provider", "clms", "--service-key", "nofile.json"}, "--service-key: there is no such file"},
		"a secret's file, not there":  {append(azure, "--client-secret-file", "./nofile"), "there is no such file"},
		"a long key as a file's name": {append(azure, "--private-key", strings.Repeat(canary, 20)), "--private-key: "},
		"a slash in a secret":         {append(azure, "--client-secret-file", "/"+canary+"/x+y=="), "there is no such file"},
		"a dot in a secret":           {append(azure, "--client-secret-file", canary+".Q8~x_1"), "there is no such file"},
		"a date in the past":          {append(azure, "--secret-expires", "2020-01-31"), "--secret-expires: 2020-01-31 is in the past"},
		"a time in the past":          {append(azure, "--secret-expires", time.Now().Add(-time.Hour).Format(time.RFC3339)), "is in the past"},
		"a service key as a key":      {append(azure, "--private-key", serviceKey), "--private-key: that is a service key (JSON)"},
		"a service key, other flag":   {[]string{"add", "x", "--provider", "clms", "--private-key", serviceKey}, "that is a service key (JSON): use --service-key FILE"},
		"a service key as a secret":   {append(azure, "--client-secret-file", serviceKey), "that is a service key (JSON)"},
		"stdin twice":                 {append(azure, "--certificate", "-", "--private-key", "-"), "cannot both be read from stdin"},
		"a flag twice":                {append(azure, "--client-secret-file", secret, "--client-secret-file", secret), "given twice"},
		"no date":                     {append(azure, "--secret-expires", "31.1.2027"), "not a date such as"},
		"two names":                   {[]string{"add", "x", "y"}, "there is no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBackend()
			r := call(t, serve(t, b), strings.NewReader(canary), c.args...)
			r.wants(t, ui.ExitUsage, "", c.want)
			if len(b.calls) > 0 {
				t.Errorf("tokend was asked: %q", b.calls)
			}
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
	b := newBackend()
	socket := serve(t, b)
	call(t, socket, strings.NewReader(canary), "rotate", "azure", "--client-secret-file", "-", "--secret-expires", nextYear()+"T10:00:00+02:00").
		wants(t, ui.ExitOK, "works", "")
	if b.addition.Name != "azure" || b.addition.Settings != nil || b.addition.Secrets["client_secret"].Reveal() != canary {
		t.Errorf("sent %+v", b.addition)
	}
	if b.addition.CredentialExpires.Format(time.RFC3339) != nextYear()+"T08:00:00Z" {
		t.Errorf("expires %v", b.addition.CredentialExpires)
	}
	b.calls = nil
	call(t, socket, nil, "rotate", "azure").wants(t, ui.ExitUsage, "", "missing: --client-secret-file FILE or")
	call(t, socket, strings.NewReader(canary), "rotate", "clsm", "--private-key", "-").wants(t, ui.ExitNotFound, "", `"clms"`)
	if len(b.calls) > 0 {
		t.Errorf("tokend was asked: %q", b.calls)
	}
	b.err = &token.Error{Code: token.ErrInvalid, Message: "no", Field: "client_id"}
	if r := call(t, socket, strings.NewReader(canary), "rotate", "clms", "--private-key", "-"); strings.Contains(r.err, "--client-id") {
		t.Errorf("it names a flag that rotate does not have: %s", r.err)
	}
	b.err = &token.Error{Code: token.ErrRejected, Message: "no", OAuth: "invalid_grant"}
	call(t, socket, strings.NewReader(canary), "rotate", "clms", "--private-key", "-").wants(t, ui.ExitRejected, "", "The old secret or key is still in use.")
}
