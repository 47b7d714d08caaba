package main

import (
	"encoding/json"
	"testing"
)

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
