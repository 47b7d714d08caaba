package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"

	"tokend/cmd/tokend/service"
	"tokend/packaging/checktest"
	"tokend/providers/token"
)

// needLandlock skips a test where the kernel has no Landlock.
func needLandlock(t *testing.T) {
	t.Helper()
	if _, err := ll.LandlockGetABIVersion(); err != nil {
		checktest.Unable(t, "this kernel has no Landlock: %v", err)
	}
}

// The running daemon is confined, says so, and works.
func TestTokendIsConfined(t *testing.T) {
	t.Parallel()
	needLandlock(t)
	h := sealedHome(t)
	sandbox := func() string {
		st, err := h.client.Status(t.Context())
		check(t, err)
		return st.Sandbox
	}
	if got := sandbox(); got != "landlock: ok" {
		t.Errorf("sandbox %q", got)
	}

	// A sink that comes in a directory that it does not know.
	check(t, os.Mkdir(filepath.Join(h.dir, "sinks"), 0o700))
	profile := read(t, h.dir, "config", "profiles.d", "clms.toml")
	sink := filepath.Join(h.dir, "sinks", "token")
	h.write("config/profiles.d/clms.toml", profile+fmt.Sprintf("\n[[sink]]\npath = %q\n", sink))
	check(t, h.client.Reload(t.Context()))
	waitFor(t, "a warning about the sink", func() bool {
		p, err := h.client.Profile(t.Context(), "clms")
		return err == nil && strings.Contains(strings.Join(p.Warnings, "\n"), "confined to other directories when it started; restart it")
	})
	h.kill()
	h.start()
	h.get("clms", token.Query{})
	waitFor(t, "the sink", func() bool { return service.Exists(sink) })

	h.kill()
	h.write("config/config.toml", fmt.Sprintf("ca_file = %q\nproxy = \"none\"\nsandbox = false\n", filepath.Join(h.dir, "ca.pem")))
	h.start()
	if got := sandbox(); got != "off, as config.toml says" {
		t.Errorf("sandbox %q", got)
	}
}

// In the default configuration too an authority that the system gets while tokend runs
// is trusted after a reload.
func TestAnAuthorityComesWhileTokendRuns(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.env = append(h.env, "SSL_CERT_FILE="+filepath.Join(h.dir, "certs", "ca.pem"))
	h.write("config/config.toml", "proxy = \"none\"\n")
	h.write("certs/ca.pem", "")
	h.setupSealed()
	h.start()
	p := h.clms("clms", 2048)
	p.NoCheck = true
	h.add(p)
	if _, err := h.client.Get(t.Context(), "clms", token.Query{}); err == nil || !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("before: %v", err)
	}
	check(t, os.Rename(filepath.Join(h.dir, "ca.pem"), filepath.Join(h.dir, "certs", "ca.pem")))
	check(t, h.client.Reload(t.Context()))
	h.get("clms", token.Query{})
}
