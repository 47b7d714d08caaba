package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"tokend/providers/token"
)

func tokenOf(text string) token.Token {
	return token.Token{Secret: token.NewSecret(text), Type: "Bearer", Expiry: time.Date(2027, 1, 31, 10, 0, 0, 0, time.UTC)}
}

func TestFormats(t *testing.T) {
	now := time.Date(2027, 1, 31, 9, 0, 0, 0, time.UTC)
	for name, want := range map[string]string{
		"token":  "a.b-c=\n",
		"header": "Authorization: Bearer a.b-c=\n",
		"env":    "ACCESS_TOKEN='a.b-c='\nACCESS_TOKEN_EXPIRES_AT='2027-01-31T10:00:00Z'\n",
		"curl":   "header = \"Authorization: Bearer a.b-c=\"\n",
		"json":   `{"access_token":"a.b-c=","token_type":"Bearer","expires_in":3600,"expires_at":"2027-01-31T10:00:00Z","profile":"x"}` + "\n",
	} {
		write, err := formatNamed(name)
		if err != nil {
			t.Fatal(err)
		}
		got, err := write("x", tokenOf("a.b-c="), now)
		if err != nil || string(got) != want {
			t.Errorf("%s: %q (%v), want %q", name, got, err, want)
		}
	}
}

// What cannot be written safely is refused, with no part of it in the error.
func TestFormatsRefuseWhatBreaksOutOfThem(t *testing.T) {
	odd := map[string]string{ // token → the formats that can write it
		"CANARY b":      "token env json",
		`CANARY"b`:      "token env json",
		`CANARY\b`:      "token env json",
		"CANARY'b":      "token env json",
		"CANARY=b":      "token env json",
		"CANARY\nb":     "json",
		"CANARY\r":      "json",
		"CANARY\x1b[2J": "json",
		"CANARY\u202e":  "json",
		"CANARYé":       "json",
		"===":           "token env json",
		"CANARY":        "token env json header curl",
	}
	for text, can := range odd {
		for _, name := range formatNames {
			write, _ := formatNamed(name)
			out, err := write("x", tokenOf(text), time.Now())
			if want := strings.Contains(can, name); (err == nil) != want {
				t.Errorf("%s of %q: %q, %v", name, text, out, err)
			}
			if err != nil && (strings.Contains(err.Error(), "CANARY") || out != nil) {
				t.Errorf("%s of %q shows it: %v", name, text, err)
			}
		}
	}
}

func TestOnlyBearerTokensMakeHeaders(t *testing.T) {
	for kind, ok := range map[string]bool{"Bearer": true, "bearer": true, "": true, "mac": false, "DPoP": false} {
		tok := tokenOf("abc")
		tok.Type = kind
		for _, write := range []format{formatHeader, formatCurl} {
			if _, err := write("x", tok, time.Now()); (err == nil) != ok {
				t.Errorf("type %q: %v", kind, err)
			}
		}
	}
}

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

func TestShellReadsEnv(t *testing.T) {
	sh := need(t, "sh")
	for _, text := range []string{`a'b"c`, `$(touch x) ` + "`id`" + ` \ $HOME !! ;&|`, "'", `'"'"'`, "plain"} {
		out, err := formatEnv("x", tokenOf(text), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		got, err := exec.Command(sh, "-c", string(out)+`printf %s "$ACCESS_TOKEN"`).Output()
		if err != nil || string(got) != text {
			t.Errorf("sh read %q (%v), want %q", got, err, text)
		}
	}
}

func TestCurlReadsItsConfigAndHeaderFile(t *testing.T) {
	curl := need(t, "curl")
	var seen string
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = r.Header.Get("Authorization") }))
	defer srv.Close()
	const text = "abc.DEF-ghi_~+/=="
	for name, args := range map[string][]string{"curl": {"-K", "-"}, "header": {"-H", "@-"}} {
		write, _ := formatNamed(name)
		out, err := write("x", tokenOf(text), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		seen = ""
		c := exec.Command(curl, append([]string{"-sS", "--noproxy", "*", srv.URL}, args...)...)
		c.Stdin = bytes.NewReader(out)
		if msg, err := c.CombinedOutput(); err != nil || len(msg) > 0 {
			t.Errorf("%s: %v: %s", name, err, msg)
		}
		if seen != "Bearer "+text {
			t.Errorf("%s: the server got %q", name, seen)
		}
	}
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
