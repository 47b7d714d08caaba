package format

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"

	"tokend/packaging/checktest"
	"tokend/providers/token"
)

func grantOf(text string) token.Grant {
	return token.Grant{Profile: "x", Token: token.Token{Secret: token.NewSecret(text), Type: "Bearer", Expiry: time.Date(2027, 1, 31, 10, 0, 0, 0, time.UTC)}}
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
		write := Named(name)
		got, err := write(grantOf("a.b-c="), now)
		if err != nil || string(got) != want {
			t.Errorf("%s: %q (%v), want %q", name, got, err, want)
		}
	}
}

// A second header goes where a format can hold it.
func TestSecondHeader(t *testing.T) {
	g := grantOf("a.b-c=")
	g.Second = token.Header{Name: "Ocp-Apim-Subscription-Key", Value: token.NewSecret("k'1")}
	g.Present, g.Host = "basic:u", "https://api.example"
	for name, want := range map[string]string{
		"header": "\nOcp-Apim-Subscription-Key: k'1\n",
		"env":    "\nSECOND_SECRET='k'\\''1'\n",
		"curl":   "\nheader = \"Ocp-Apim-Subscription-Key: k'1\"\n",
		"json":   `,"second_header":"Ocp-Apim-Subscription-Key","second_secret":"k'1",`,
		"token":  "", "netrc": "",
	} {
		got, err := Named(name)(g, time.Now())
		if (err != nil) != (want == "") || !strings.Contains(string(got), want) || err != nil && (got != nil || strings.Contains(err.Error(), "k'1")) {
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
		for _, name := range Names {
			write := Named(name)
			out, err := write(grantOf(text), time.Now())
			if want := strings.Contains(can, name); (err == nil) != want {
				t.Errorf("%s of %q: %q, %v", name, text, out, err)
			}
			if err != nil && (strings.Contains(err.Error(), "CANARY") || out != nil) {
				t.Errorf("%s of %q shows it: %v", name, text, err)
			}
		}
	}
}

func TestShellReadsEnv(t *testing.T) {
	sh := checktest.Need(t, "sh")
	for _, text := range []string{`a'b"c`, `$(touch x) ` + "`id`" + ` \ $HOME !! ;&|`, "'", `'"'"'`, "plain"} {
		out, fault := Env(grantOf(text), time.Now())
		got, err := exec.Command(sh, "-c", string(out)+`printf %s "$ACCESS_TOKEN"`).Output()
		if fault != nil || err != nil || string(got) != text {
			t.Errorf("sh read %q (%v, %v), want %q", got, fault, err, text)
		}
	}
}

func TestCurlReadsItsConfigAndHeaderFile(t *testing.T) {
	curl := checktest.Need(t, "curl")
	var seen string
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = r.Header.Get("Authorization") }))
	defer srv.Close()
	const text = "abc.DEF-ghi_~+/=="
	for name, args := range map[string][]string{"curl": {"-K", "-"}, "header": {"-H", "@-"}} {
		write := Named(name)
		out, err := write(grantOf(text), time.Now())
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

func TestAnswerText(t *testing.T) {
	noon := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	g := token.Grant{Profile: "clms", Token: token.Token{Secret: token.NewSecret("tok"), Type: "Bearer", Scope: "s",
		Issued: noon, Expiry: noon.Add(time.Hour + 999*time.Millisecond), RenewAt: noon.Add(45 * time.Minute)}}
	cet := time.FixedZone("CET", 3600)
	got := string(AppendJSON(nil, g, noon.Add(500*time.Millisecond).In(cet)))
	want := `{"access_token":"tok","token_type":"Bearer","scope":"s","expires_in":3600,"expires_at":"2026-11-23T13:00:00Z",` +
		`"issued_at":"2026-11-23T12:00:00Z","renew_at":"2026-11-23T12:45:00Z","profile":"clms"}`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	late := string(AppendJSON(nil, g, noon.Add(2*time.Hour)))
	if !strings.Contains(late, `"expires_in":0,`) {
		t.Errorf("a token past its expiry: %s", late)
	}
}

// The profile says how its token is presented, and the formats do so. Only bearer
// tokens make a header of themselves.
func TestPresentations(t *testing.T) {
	const bearer = "Authorization: Bearer abc"
	for c, want := range map[[2]string]string{
		{"", "Bearer"}: bearer, {"", "bearer"}: bearer, {"", ""}: bearer, {"", "mac"}: "", {"", "DPoP"}: "", {"bearer", "Bearer"}: bearer,
		{"basic:oauth2", "Bearer"}: "Authorization: Basic b2F1dGgyOmFiYw==", {"header:X-Api-Key", "Bearer"}: "X-Api-Key: abc",
	} {
		g := grantOf("abc")
		g.Present, g.Type = token.Presentation(c[0]), c[1]
		line, err := HeaderLine(g, time.Now())
		config, failed := Curl(g, time.Now())
		if (err == nil) != (want != "") || (failed == nil) != (want != "") || want != "" && (string(line) != want+"\n" || string(config) != `header = "`+want+"\"\n") {
			t.Errorf("%q: %q (%v), %q (%v)", c, line, err, config, failed)
		}
	}
}

func TestNetrc(t *testing.T) {
	g := grantOf("a.b-c")
	g.Present, g.Host = "basic:oauth2", "https://reg.example:443/"
	line, err := Netrc(g, time.Now())
	if want := "machine reg.example login oauth2 password a.b-c\n"; err != nil || string(line) != want {
		t.Errorf("%q, %v", line, err)
	}
	for _, change := range []func(*token.Grant){
		func(g *token.Grant) { g.Present = token.Bearer },
		func(g *token.Grant) { g.Host = "" },
		func(g *token.Grant) { g.Host = "https://reg.example:8443" }, // netrc could not say it
		func(g *token.Grant) { g.Host = "https://reg.example/x" },
		func(g *token.Grant) { g.Host = "http://127.0.0.1" },
		func(g *token.Grant) { g.Present = "basic:a b" },
		func(g *token.Grant) { g.Secret = token.NewSecret("a\nb") },
	} {
		bad := g
		change(&bad)
		if line, err := Netrc(bad, time.Now()); err == nil {
			t.Errorf("%+v: %q", bad, line)
		}
	}
}
