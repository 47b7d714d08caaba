package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"testing"
)

func need(t *testing.T, tool string) string {
	t.Helper()
	path, err := exec.LookPath(tool)
	if err == nil {
		return path
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is missing", tool)
	}
	t.Skipf("%s is missing", tool)
	return ""
}

func TestPlainJSON(t *testing.T) {
	in := "{\"a\":\"x\u202e\u009b\U000e0041é\U0001f600\"}\n"
	out := plainJSON([]byte(in))
	var a, b map[string]string
	if json.Unmarshal([]byte(in), &a) != nil || json.Unmarshal(out, &b) != nil || a["a"] != b["a"] {
		t.Errorf("%q became %q", in, out)
	}
	if want := `{"a":"x\u202e\u009b\udb40\udc41é😀"}` + "\n"; string(out) != want {
		t.Errorf("%q, want %q", out, want)
	}
}
