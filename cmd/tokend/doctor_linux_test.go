package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tokend/cmd/tokenctl/ui"
	"tokend/ipc"
	"tokend/providers/token"
)

// The text of a check cannot control the terminal. Case 71 of the threat model.
func TestDoctorDoesNotControlTheTerminal(t *testing.T) {
	out := ui.Screen{}.Checks([]token.Check{
		failed("files", "/var/lib/tokend/\x1b]0;pwned\a\r\nok    files has mode 0644", "chmod \x1b[2J"),
	})
	if strings.ContainsAny(out, "\x1b\a\r") || strings.Contains(out, "\nok ") {
		t.Errorf("%q", out)
	}
}

// To start another tokend is no way out of one that hangs.
func TestDoctorKnowsATokendThatHangs(t *testing.T) {
	c := places{}.checkSocket("/s", token.Report{}, ipc.Holder{PID: 7, Socket: "/s"}, context.DeadlineExceeded)
	if c.Result != token.CheckFail || !strings.Contains(c.Text, "process 7") || !strings.Contains(c.Advice, "kill -KILL 7") {
		t.Errorf("%+v", c)
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
