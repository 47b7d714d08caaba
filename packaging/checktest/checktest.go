// Package checktest decides what a test does that this machine cannot run, or
// that takes too long for everyday use. packaging/check.sh exports the one
// switch: TOKEND_CHECK=full runs every test, and what is missing fails. Any
// other value, and none, is quick: such a test is skipped.
package checktest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

const left = "left to packaging/check.sh full"

// Full reports whether every test must run.
func Full() bool { return os.Getenv("TOKEND_CHECK") == "full" }

// FullOnly skips a test unless every test must run.
func FullOnly(t testing.TB) {
	t.Helper()
	if !Full() {
		t.Skip(left)
	}
}

// Unable ends a test that this machine or user cannot run, because of what the
// arguments say.
func Unable(t testing.TB, format string, args ...any) {
	t.Helper()
	if Full() {
		t.Fatalf(format, args...)
	}
	t.Skipf(left+": "+format, args...)
}

// Need returns the path of a program, and ends the test that needs it if it is
// not installed.
func Need(t testing.TB, program string) string {
	t.Helper()
	for _, candidate := range []string{program, "/usr/sbin/" + program} {
		if path, err := exec.LookPath(candidate); err == nil {
			return path
		}
	}
	Unable(t, "%s is not installed", program)
	return ""
}

// NeedRoot ends a test that needs root, for the reason given, and does not have it.
func NeedRoot(t testing.TB, reason string) {
	t.Helper()
	if os.Geteuid() != 0 {
		Unable(t, "needs root, %s", reason)
	}
}

// NoError ends a test at an error.
func NoError(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Read returns the text of a file.
func Read(t testing.TB, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(path...))
	NoError(t, err)
	return string(text)
}

// WaitFor waits until something has come true.
func WaitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for began := time.Now(); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Since(began) > 20*time.Second {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}
