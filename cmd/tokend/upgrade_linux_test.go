package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tokend/daemon/profile"
	"tokend/providers/token"
	"tokend/store"
)

const (
	upgradeDir = "testdata/upgrade"
	// upgradeHome stands for the home directory in the files of testdata.
	upgradeHome = "@HOME@"
)

// An upgradeWant is what an upgraded tokend has to serve.
type upgradeWant struct {
	Tokens  map[string]string // by profile
	Secrets map[string]string // SHA-256, by account
}

// The configuration, state and cache that the first release left behind are
// served as they are. The first start binds the credentials to their records and
// moves their secrets; the second one rewrites nothing.
func TestUpgradeFromTheFirstRelease(t *testing.T) {
	t.Parallel()
	var want upgradeWant
	check(t, json.Unmarshal([]byte(read(t, upgradeDir, "want.json")), &want))
	h := newHome(t)
	err := eachFile(upgradeDir, func(rel string, _ fs.FileInfo, text []byte) error {
		if filepath.Ext(rel) == ".toml" {
			text = bytes.ReplaceAll(text, []byte(upgradeHome), []byte(h.dir))
		}
		h.write(rel, string(text))
		return nil
	})
	check(t, err)
	first := stateOf(t, h.dir)
	if got := upgradeSecrets(t, h); !maps.Equal(got, want.Secrets) {
		t.Errorf("the secrets are %v, want %v", got, want.Secrets)
	}
	h.start()
	h.interrupt()
	before := stateOf(t, h.dir)
	for name := range first {
		if before[name] != first[name] && !strings.HasPrefix(name, "state/credentials/") && !strings.HasPrefix(name, "state/sealed/") {
			t.Errorf("%s was %s and is %s", name, first[name], before[name])
		}
	}
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
	if _, err := h.client.Sign(t.Context(), "rock", token.Request{URL: "https://api.prod.datarock.com.au/x"}); err != nil {
		t.Error(err)
	}
	h.interrupt()
	after := stateOf(t, h.dir)
	for name := range after {
		if after[name] != before[name] {
			t.Errorf("%s was %s and is %s", name, before[name], after[name])
		}
	}
	if n := strings.Count(h.log.String(), "credentials of an older tokend are bound"); n != 1 {
		t.Errorf("the log says %d times that credentials were bound:\n%s", n, h.log.String())
	}
	if len(after) != len(first)+1 || len(after) != len(before) {
		t.Errorf("%d files became %d, then %d", len(first), len(before), len(after))
	}
}

// upgradeSecrets returns the SHA-256 of all secrets of h's profiles.
func upgradeSecrets(t *testing.T, h *home) map[string]string {
	t.Helper()
	dirs := profile.Dirs{Config: filepath.Join(h.dir, "config"), State: filepath.Join(h.dir, "state")}
	config, err := store.ReadKeystoreConfig(dirs.State)
	check(t, err)
	keys, err := store.OpenVault(dirs.State, config)
	check(t, err)
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
			then := token.Credential{Profile: current.Profile, ID: current.ID[:len("20261128-b016e7a5")]} // without what binds it
			sums[then.Account(field)] = fmt.Sprintf("%x", sha256.Sum256([]byte(secret.Reveal())))
		}
		check(t, err)
	}
	return sums
}

// stateOf returns the time and content of each file that a tokend keeps.
func stateOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := eachFile(dir, func(rel string, info fs.FileInfo, text []byte) error {
		files[rel] = fmt.Sprintf("%v %x", info.ModTime(), sha256.Sum256(text))
		return nil
	})
	check(t, err)
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
