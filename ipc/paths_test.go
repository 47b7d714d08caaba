//go:build unix && !darwin

package ipc

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"tokend/providers/token"
)

func TestUserSocket(t *testing.T) {
	// Only where this user has no /run/user directory do the later rules count.
	session := fmt.Sprintf("/run/user/%d", os.Getuid())
	hasSession := isOurs(session)
	fallback := func(path string) string {
		if hasSession {
			return session + "/tokend/tokend.sock"
		}
		return path
	}
	for _, c := range []struct{ name, runtime, state, home, want string }{
		{"runtime directory", "/r", "/s", "/h", "/r/tokend/tokend.sock"},
		{"relative runtime directory", "r", "/s", "/h", fallback("/s/tokend/tokend.sock")},
		{"state directory", "", "/s", "/h", fallback("/s/tokend/tokend.sock")},
		{"relative state directory", "", "s", "/h", fallback("/h/.local/state/tokend/tokend.sock")},
		{"home", "", "", "/h", fallback("/h/.local/state/tokend/tokend.sock")},
		{"no home", "", "", "", fallback("")},
		{"relative home", "", "", "h", fallback("")},
	} {
		t.Setenv("XDG_RUNTIME_DIR", c.runtime)
		t.Setenv("XDG_STATE_HOME", c.state)
		t.Setenv("HOME", c.home)
		got, err := UserSocket()
		if got != c.want || (err != nil) != (c.want == "") {
			t.Errorf("%s: got %q, %v, want %q", c.name, got, err, c.want)
		}
		if err != nil && !errors.Is(err, token.ErrInvalid) {
			t.Errorf("%s: %v is not ErrInvalid", c.name, err)
		}
	}
}

func TestFindSocket(t *testing.T) {
	if exists(SystemSocket()) {
		t.Fatalf("%s exists: a tokend of the system is running", SystemSocket())
	}
	runtime := t.TempDir()
	user := filepath.Join(runtime, "tokend", "tokend.sock")
	t.Setenv("XDG_RUNTIME_DIR", runtime)
	t.Setenv(SocketEnv, "")
	if got, err := FindSocket(); got != user || err != nil {
		t.Errorf("with none there: got %q, %v, want the user's", got, err)
	}
	t.Setenv(SocketEnv, "/elsewhere.sock")
	if got, err := FindSocket(); got != "/elsewhere.sock" || err != nil {
		t.Errorf("with %s: got %q, %v", SocketEnv, got, err)
	}
}
