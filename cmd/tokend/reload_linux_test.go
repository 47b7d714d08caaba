package main

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"tokend/daemon/profile"
	"tokend/providers/token"
)

// A reload applies everything, or says for each setting that it takes a restart.
func TestReloadSaysWhatTakesARestart(t *testing.T) {
	t.Parallel()
	needLandlock(t)
	h := sealedHome(t)
	base := read(t, h.dir, "config", "config.toml")
	warned := func() string {
		t.Helper()
		st, err := h.client.Status(t.Context())
		check(t, err)
		return strings.Join(st.Warnings, "\n")
	}
	h.write("config/config.toml", base+"log_format = \"json\"\nmetrics = \"127.0.0.1:9464\"\naudit = \"none\"\nsocket = \"/run/x\"\nlog_level = \"debug\"\n")
	check(t, h.client.Reload(t.Context()))
	if want := "config.toml: socket, log_format, audit, metrics: as before until a restart: tokend stop"; !strings.Contains(warned(), want) {
		t.Errorf("warned of %q, want %q", warned(), want)
	}
	h.write("config/config.toml", base+"warn_ahead = \"5d\"\nmetrics = \"none\"\n")
	check(t, h.client.Reload(t.Context()))
	if w := warned(); w != "" {
		t.Errorf("warned of %q", w)
	}

	// A ca_file, and a profile, where the sandbox does not let tokend read.
	elsewhere := t.TempDir()
	for _, name := range []string{"ca.pem", "config/profiles.d/clms.toml"} {
		check(t, os.WriteFile(filepath.Join(elsewhere, filepath.Base(name)), []byte(read(t, h.dir, name)), 0o600))
	}
	const restart = ": permission denied; tokend confined itself to its files when it started, so one that came later takes a restart: tokend stop"
	h.write("config/config.toml", fmt.Sprintf("ca_file = %q\nproxy = \"none\"\n", filepath.Join(elsewhere, "ca.pem")))
	if err := h.client.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "config.toml:1: ca_file cannot be read: "+filepath.Join(elsewhere, "ca.pem")+restart) {
		t.Errorf("ca_file: %v", err)
	}
	h.write("config/config.toml", base)
	check(t, os.Symlink(filepath.Join(elsewhere, "clms.toml"), filepath.Join(h.dir, "config", "profiles.d", "linked.toml")))
	if err := h.client.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), restart) {
		t.Errorf("a link to a profile: %v", err)
	}
	h.get("clms", token.Query{})
}

// A new setting needs a decision: a reload applies it, or it is fixed.
func TestEverySettingIsAppliedOrFixed(t *testing.T) {
	applied := []string{"LogLevel", "Renew", "Idle", "WarnAhead", "Proxy", "AdminUsers", "AdminGroups", "CAFile"}
	for f := range reflect.TypeFor[profile.Config]().Fields() {
		var c profile.Config
		switch v := reflect.ValueOf(&c).Elem().FieldByIndex(f.Index); v.Kind() {
		case reflect.String:
			v.SetString("x")
		case reflect.Bool:
			v.SetBool(true)
		}
		if fixed := c.Fixed(profile.Config{}, "") != ""; fixed == slices.Contains(applied, f.Name) {
			t.Errorf("%s: fixed is %v", f.Name, fixed)
		}
	}
}
