package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"tokend/packaging/checktest"
)

// ends runs cmd to its end and returns its output and status.
func ends(t testing.TB, cmd *exec.Cmd) (string, int) {
	t.Helper()
	out, err := cmd.CombinedOutput()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

func (h *home) remove(name string) {
	h.t.Helper()
	check(h.t, os.RemoveAll(filepath.Join(h.dir, name)))
}

// A home that does not exist, or another user's, is refused by every command that would
// keep something there. Case 69 of the threat model.
func TestHomes(t *testing.T) {
	theirs := t.TempDir()
	if os.Geteuid() == 0 {
		check(t, os.Chown(theirs, 65533, 65533))
	} else if checktest.Full() {
		t.Fatal("this test needs root, for a second uid")
	} else {
		theirs = "/nonexistent" // and the rest of the test still counts
	}
	for want, env := range map[string]string{
		"$HOME are defined":     "X=",
		"path in $XDG":          "XDG_CONFIG_HOME=config",
		"belongs to uid 65533":  "HOME=" + theirs,
		theirs + " belongs to ": "XDG_CONFIG_HOME=" + theirs + "/config",
	} {
		if theirs == "/nonexistent" && strings.Contains(want, "belongs") {
			continue
		}
		for _, command := range []string{"run", "setup --keystore os", "check-config"} {
			cmd := exec.Command("tokend", strings.Fields(command)...)
			cmd.Env = []string{"PATH=" + os.Getenv("PATH"), env}
			if strings.HasPrefix(env, "XDG_CONFIG_HOME=/") {
				cmd.Env = append(cmd.Env, "HOME="+t.TempDir())
			}
			out, status := ends(t, cmd)
			if status != exitConfig || !strings.Contains(out, want) || strings.Count(out, "\n") != 1 {
				t.Errorf("%s with %s: status %d, want a line with %q:\n%s", command, env, status, want, out)
			}
		}
		if entries, err := os.ReadDir(theirs); err == nil && len(entries) > 0 {
			t.Errorf("%s: something was made there", env)
		}
	}
}
