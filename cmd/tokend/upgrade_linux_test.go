package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tokend/daemon/profile"
	"tokend/providers/token"
	"tokend/store"
)

var upgradeFrom = flag.String("upgrade-from", "", "make testdata/upgrade with this older `tokend`")

const (
	upgradeDir = "testdata/upgrade"
	// upgradeHome stands for the home directory in the files of testdata.
	upgradeHome = "@HOME@"
	// upgradeLife is how long the tokens there are valid.
	upgradeLife = 50 * 365 * 24 * time.Hour
)

// An upgradeWant is what an upgraded tokend has to serve.
type upgradeWant struct {
	Tokens  map[string]string // by profile
	Secrets map[string]string // SHA-256, by account
}

// The configuration, state and cache that the first release left behind are
// served as they are. Nothing in them is rewritten.
func TestUpgradeFromTheFirstRelease(t *testing.T) {
	t.Parallel()
	if *upgradeFrom != "" {
		makeUpgrade(t, *upgradeFrom)
	}
	text, err := os.ReadFile(filepath.Join(upgradeDir, "want.json"))
	if err != nil {
		t.Fatal(err)
	}
	var want upgradeWant
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	h := newHome(t)
	copyHome(t, upgradeDir, upgradeHome, h.dir, h.dir)
	before := stateOf(t, h.dir)
	if got := upgradeSecrets(t, h); !maps.Equal(got, want.Secrets) {
		t.Errorf("the secrets are %v, want %v", got, want.Secrets)
	}
	h.start()
	st, err := h.client.Status(t.Context())
	if err != nil || len(st.Profiles) != len(want.Tokens)+2 || len(st.ConfigErrors) > 0 || st.Cache != "ok" {
		t.Errorf("status %+v, %v", st, err)
	}
	for name, text := range want.Tokens {
		if got := h.get(name, token.Query{}); got != text {
			t.Errorf("%s: not the token of the cache", name)
		}
	}
	if _, err := h.client.Sign(t.Context(), "rock", token.Request{URL: "https://mine.datarock.com.au/x"}); err != nil {
		t.Error(err)
	}
	h.interrupt()
	after := stateOf(t, h.dir)
	for name := range after {
		if after[name] != before[name] {
			t.Errorf("%s was %s and is %s", name, before[name], after[name])
		}
	}
	if len(after) != len(before) {
		t.Errorf("%d files became %d", len(before), len(after))
	}
}

// makeUpgrade makes testdata/upgrade: a profile of each kind, with tokens of the
// strict issuers.
func makeUpgrade(t *testing.T, program string) {
	h := newHome(t)
	setup := h.tokend("setup", "--keystore", "sealed", "--key-file", filepath.Join(h.dir, "key"))
	setup.Path = program
	if out, err := setup.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	run := h.tokend("run")
	run.Path = program
	h.startAs(run)
	want := upgradeWant{Tokens: map[string]string{}}
	for _, p := range upgradeProfiles(t, h) {
		h.add(p)
		if p.Provider != "datarock" && p.Provider != "ioxio" {
			want.Tokens[p.Name] = h.get(p.Name, token.Query{})
		}
	}
	h.cacheSays("ok")
	h.interrupt()
	want.Secrets = upgradeSecrets(t, h)
	text, err := json.MarshalIndent(want, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(upgradeDir); err != nil {
		t.Fatal(err)
	}
	copyHome(t, h.dir, h.dir, upgradeDir, upgradeHome)
	readme := "A tokend of the first release made these files, of keys and issuers that exist in tests alone:\n" +
		"go test ./cmd/tokend -run TestUpgradeFromTheFirstRelease -upgrade-from /path/to/its/tokend\n"
	if err := errors.Join(os.WriteFile(filepath.Join(upgradeDir, "want.json"), append(text, '\n'), 0o600),
		os.WriteFile(filepath.Join(upgradeDir, "README"), []byte(readme), 0o600)); err != nil {
		t.Fatal(err)
	}
}

func upgradeProfiles(t *testing.T, h *home) []token.CreateProfile {
	t.Helper()
	clms, azure, aspose, oauth2 := h.issuers.CLMS(), h.issuers.Azure(), h.issuers.Aspose(), h.issuers.OAuth2()
	for _, i := range []interface{ SetLifetime(time.Duration) }{clms, azure, aspose, oauth2} {
		i.SetLifetime(upgradeLife)
	}
	secretID, secret := azure.NewSecret()
	certID, cert, key, err := azure.NewCertificate(2048)
	asposeID, asposeSecret := aspose.NewClient()
	oauthID, oauthSecret := oauth2.NewClient()
	iss, grantKey, err2 := oauth2.NewGrantKey("ES256")
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	tenant := map[string]any{"tenant": azure.Tenant(), "scope": azure.Scope(), "authority": azure.Authority()}
	with := func(id string) map[string]any {
		settings := maps.Clone(tenant)
		settings["client_id"] = id
		return settings
	}
	profiles := []token.CreateProfile{
		h.clms("clms", 2048),
		{Name: "azure-secret", Provider: "azure", Settings: with(secretID), Secrets: secrets("client_secret", secret), CredentialExpires: time.Date(2099, 1, 2, 0, 0, 0, 0, time.UTC)},
		{Name: "azure-cert", Provider: "azure", Settings: with(certID), Secrets: secrets("certificate", string(cert)+string(key))},
		{Name: "aspose", Provider: "aspose", Settings: map[string]any{"base_url": aspose.BaseURL(), "client_id": asposeID}, Secrets: secrets("client_secret", asposeSecret)},
		{Name: "oauth2", Provider: "oauth2", Settings: map[string]any{"token_url": oauth2.TokenURL(), "client_id": oauthID}, Secrets: secrets("client_secret", oauthSecret)},
		{Name: "bearer", Provider: "jwt-bearer", Settings: map[string]any{"token_url": oauth2.TokenURL(), "issuer": iss, "algorithm": "ES256"}, Secrets: secrets("private_key", string(grantKey))},
	}
	for i := range profiles {
		if profiles[i].Settings == nil {
			profiles[i].Settings = map[string]any{}
		}
		profiles[i].Settings["max_lifetime"] = upgradeLife.String()
	}
	return append(profiles,
		token.CreateProfile{Name: "rock", Provider: "datarock", Settings: map[string]any{"email": "me@example.com"}},
		token.CreateProfile{Name: "ioxio", Provider: "ioxio", Settings: map[string]any{"dataspace": h.issuers.URL(), "dsi": []string{"dpp://group:variant@127.0.0.1/Weather/Current_v1.0"}}})
}

// upgradeSecrets returns the SHA-256 of all secrets of h's profiles.
func upgradeSecrets(t *testing.T, h *home) map[string]string {
	t.Helper()
	dirs := profile.Dirs{Config: filepath.Join(h.dir, "config"), State: filepath.Join(h.dir, "state")}
	config, err := store.ReadKeystoreConfig(dirs.State)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := store.OpenVault(dirs.State, config)
	if err != nil {
		t.Fatal(err)
	}
	credentials := store.NewCredentials(credentialsDir(dirs), keys)
	sums := map[string]string{}
	files, _ := filepath.Glob(filepath.Join(dirs.ProfilesDir(), "*.toml"))
	for _, file := range files {
		current, err := credentials.Current(strings.TrimSuffix(filepath.Base(file), ".toml"))
		if errors.Is(err, token.ErrNotFound) {
			continue // it has none
		}
		for _, field := range current.Fields {
			secret, getErr := credentials.Secret(t.Context(), current, field)
			err = errors.Join(err, getErr)
			sums[current.Account(field)] = fmt.Sprintf("%x", sha256.Sum256([]byte(secret.Reveal())))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return sums
}

// copyHome copies what a tokend keeps from one home directory to another, and
// writes the new name of the home in place of the old one.
func copyHome(t *testing.T, from, oldName, to, newName string) {
	t.Helper()
	err := eachFile(from, func(rel string, _ fs.FileInfo, text []byte) error {
		if filepath.Ext(rel) == ".toml" {
			text = bytes.ReplaceAll(text, []byte(oldName), []byte(newName))
		}
		path := filepath.Join(to, rel)
		return errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, text, 0o600))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// stateOf returns the time and content of each file that a tokend keeps.
func stateOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := eachFile(dir, func(rel string, info fs.FileInfo, text []byte) error {
		files[rel] = fmt.Sprintf("%v %x", info.ModTime(), sha256.Sum256(text))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// eachFile calls do for each file of a home directory that a tokend keeps, except
// the audit log, which grows.
func eachFile(home string, do func(rel string, info fs.FileInfo, text []byte) error) error {
	return filepath.WalkDir(home, func(path string, e fs.DirEntry, err error) error {
		rel, relErr := filepath.Rel(home, path)
		top, _, _ := strings.Cut(rel, string(filepath.Separator))
		if err != nil || relErr != nil || e.IsDir() || e.Name() == "audit.log" || !slices.Contains([]string{"config", "state", "key"}, top) {
			return errors.Join(err, relErr)
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return do(rel, info, text)
	})
}
