package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"

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
		if err != nil {
			t.Fatal(err)
		}
		return st.Sandbox
	}
	if got := sandbox(); got != "landlock: ok" {
		t.Errorf("sandbox %q", got)
	}

	// A sink that comes in a directory that it does not know.
	if err := os.Mkdir(filepath.Join(h.dir, "sinks"), 0o700); err != nil {
		t.Fatal(err)
	}
	profile, err := os.ReadFile(filepath.Join(h.dir, "config", "profiles.d", "clms.toml"))
	if err != nil {
		t.Fatal(err)
	}
	sink := filepath.Join(h.dir, "sinks", "token")
	h.write("config/profiles.d/clms.toml", string(profile)+fmt.Sprintf("\n[[sink]]\npath = %q\n", sink))
	if err := h.client.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.profileWarns("clms", "confined to other directories when it started; restart it")
	h.kill()
	h.start()
	h.get("clms", token.Query{})
	for begin := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(sink); err == nil {
			break
		} else if time.Since(begin) > 20*time.Second {
			t.Fatal(err)
		}
	}

	h.kill()
	h.write("config/config.toml", fmt.Sprintf("ca_file = %q\nproxy = \"none\"\nsandbox = false\n", filepath.Join(h.dir, "ca.pem")))
	h.start()
	if got := sandbox(); got != "off, as config.toml says" {
		t.Errorf("sandbox %q", got)
	}
}

// profileWarns waits until status warns of this.
func (h *home) profileWarns(name, want string) {
	h.t.Helper()
	for begin := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		p, err := h.client.Profile(h.t.Context(), name)
		if err == nil && strings.Contains(strings.Join(p.Warnings, "\n"), want) {
			return
		}
		if time.Since(begin) > 20*time.Second {
			h.t.Fatalf("%s warns of %q, not %q (%v)", name, p.Warnings, want, err)
		}
	}
}
