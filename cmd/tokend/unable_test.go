package main

import (
	"os"
	"testing"
)

// unable skips a test that cannot be run for what this machine or this user is;
// CI has to be able to.
func unable(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}
