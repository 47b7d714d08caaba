package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tokend/cmd/tokenctl/ui"
	"tokend/providers/token"
)

// diagnose runs tokend doctor and returns its checks by name and result:
// "clock: fail".
func (h *home) diagnose(more ...string) (found token.Report, byResult map[string]token.Check) {
	h.t.Helper()
	out, err := h.tokend(append([]string{"doctor", "--json"}, more...)...).Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		h.t.Fatal(err)
	}
	if err := json.Unmarshal(out, &found); err != nil {
		h.t.Fatalf("%v: %s", err, out)
	}
	byResult = map[string]token.Check{}
	anyFailed := false
	for _, c := range found.Checks {
		byResult[c.Name+": "+c.Result] = c
		anyFailed = anyFailed || c.Result == token.CheckFail
		if c.Text == "" || c.Result != token.CheckOK && c.Advice == "" {
			h.t.Errorf("%+v does not say enough", c)
		}
	}
	if anyFailed != (err != nil) {
		h.t.Errorf("the exit status does not match: %v, %+v", err, found)
	}
	return found, byResult
}

// A healthy installation passes, running or not; and each thing that is broken
// is found, and nothing else.
func TestDoctor(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	if _, by := h.diagnose(); by["setup: fail"].Advice == "" {
		t.Error("it does not see that nothing is set up")
	}
	h.setupSealed()
	h.start()
	h.add(h.clms("clms", 2048))

	healthy := func(when string) {
		t.Helper()
		_, by := h.diagnose()
		for _, want := range []string{"keystore: ok", "cache: ok", "setup: ok", "config: ok", "files: ok", "proxy: ok", "issuer: ok"} {
			if _, there := by[want]; !there {
				t.Errorf("%s: no %q in %v", when, want, by)
			}
		}
		for name := range by {
			if strings.HasSuffix(name, "fail") {
				t.Errorf("%s: %q", when, name)
			}
		}
	}
	healthy("running")
	h.kill()
	healthy("not running")

	path := func(name string) string { return filepath.Join(h.dir, name) }
	must := func(err error) { check(t, err) }
	for _, broken := range []struct {
		what       string
		harm, fix  func()
		want, says string
	}{
		{"a state that others can read", func() { must(os.Chmod(path("state/install.toml"), 0o644)) }, func() { must(os.Chmod(path("state/install.toml"), 0o600)) },
			"files: fail", "install.toml has mode 0644"},
		{"a key that others can read", func() { must(os.Chmod(path("key"), 0o444)) }, func() { must(os.Chmod(path("key"), 0o400)) },
			"files: fail", "key has mode 0444"},
		{"a configuration that others can change", func() { must(os.Chmod(path("config/config.toml"), 0o606)) }, func() { must(os.Chmod(path("config/config.toml"), 0o600)) },
			"files: fail", "config.toml has mode 0606"},
		{"no key", func() { must(os.Rename(path("key"), path("away"))) }, func() { must(os.Rename(path("away"), path("key"))) },
			"keystore: fail", "no such file"},
		{"a bad profile", func() { h.write("config/profiles.d/bad.toml", "provider = \"none\"\n") }, func() { must(os.Remove(path("config/profiles.d/bad.toml"))) },
			"config: fail", "bad.toml:1"},
		{"a profile without a secret", func() {
			h.write("config/profiles.d/bare.toml", "provider = \"aspose\"\nclient_id = \"x\"\nbase_url = \""+h.issuers.Aspose().BaseURL()+"\"\n")
		}, func() { must(os.Remove(path("config/profiles.d/bare.toml"))) },
			"profile bare: warn", "missing"},
		{"an issuer that is down", func() { must(h.issuers.Stop()) }, func() { must(h.issuers.Resume()) },
			"issuer: fail", "refuses connections"},
	} {
		for _, running := range []bool{false, true} {
			if running && strings.Contains(broken.what, "key") {
				continue // tokend does not start
			}
			broken.harm()
			if running {
				h.start()
			}
			if _, by := h.diagnose(); !strings.Contains(by[broken.want].Text, broken.says) {
				t.Errorf("%s (running %t): %v", broken.what, running, by)
			}
			if running {
				h.kill()
			}
			broken.fix()
		}
	}
	healthy("fixed")
}

// The text of a check cannot control the terminal. Case 71 of the threat model.
func TestDoctorDoesNotControlTheTerminal(t *testing.T) {
	out := ui.Screen{}.Checks([]token.Check{
		failed("files", "/var/lib/tokend/\x1b]0;pwned\a\r\nok    files has mode 0644", "chmod \x1b[2J"),
	})
	if strings.ContainsAny(out, "\x1b\a\r") || strings.Contains(out, "\nok ") {
		t.Errorf("%q", out)
	}
}

// The issuer's clock shows that ours is off.
func TestDoctorSeesThatTheClockIsOff(t *testing.T) {
	issuer := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", time.Now().Add(5*time.Minute).UTC().Format(http.TimeFormat))
	}))
	defer issuer.Close()
	for _, c := range checkIssuers(t.Context(), issuer.Client(), []string{issuer.URL}) {
		if c.Name == "clock" && (c.Result != token.CheckFail || !strings.Contains(c.Text, "off that of 127.0.0.1")) || c.Name == "issuer" && c.Result != token.CheckOK {
			t.Errorf("%+v", c)
		}
	}
}

// The check of many issuers that hang has a timeout.
func TestDoctorDoesNotWaitForEver(t *testing.T) {
	hang := make(chan struct{})
	issuer := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }))
	defer issuer.Close()
	defer close(hang)
	issuers := make([]string, 24)
	for i := range issuers {
		issuers[i] = issuer.URL
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	checks := checkIssuers(ctx, issuer.Client(), issuers)
	if len(checks) != len(issuers) {
		t.Fatalf("%d checks", len(checks))
	}
	for _, c := range checks {
		if c.Result != token.CheckFail || c.Advice != "tokenctl explain timeout" {
			t.Errorf("%+v", c)
		}
	}
}

// Root looks at the system service with the service's own rights: it finds its
// key, and follows no link that the service could have made. Case 71 of the
// threat model.
func TestDoctorOfRootFollowsNoLinkOfTheService(t *testing.T) {
	s := newServer(t)
	key := filepath.Join(s.Config, "key")
	s.setup("--keystore", "sealed", "--key-file", key, "--key-file-group-read")
	if out, _ := s.tokend("doctor"); !strings.Contains(out, "ok    keystore: ") || !strings.Contains(out, "ok    files: ") {
		t.Errorf("of a healthy service: %s", out)
	}
	victim := filepath.Join(filepath.Dir(s.State), "victim")
	sealed := filepath.Join(s.State, "sealed")
	for _, err := range []error{os.Chown(key, 0, -1), os.Chmod(key, 0o440), // root can read it too
		os.Mkdir(victim, 0o755), os.Chmod(victim, 0o755), os.RemoveAll(sealed), os.Symlink(victim, sealed)} {
		check(t, err)
	}
	if out, _ := s.tokend("doctor"); !strings.Contains(out, "fail  keystore: ") {
		t.Errorf("with a link: %s", out)
	}
	info, err := os.Stat(victim)
	if err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("what the link leads to: %v, %v", info.Mode(), err)
	}
}
