package main

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tokend/cmd/tokenctl/ui"
	"tokend/packaging/checktest"
	"tokend/providers/token"
)

const (
	publicPEM = "-----BEGIN PUBLIC KEY-----\nMIIBold\n-----END PUBLIC KEY-----\n"
	newPEM    = "-----BEGIN PUBLIC KEY-----\nMIIBnew\n-----END PUBLIC KEY-----\n"
)

// rock is a profile that signs, weather one that verifies.
func rock() token.ProfileStatus {
	return token.ProfileStatus{Name: "rock", Provider: "datarock", Does: "signs", File: "/etc/tokend/profiles.d/rock.toml",
		Hosts: []string{"https://mine.example"}, Settings: map[string]any{"email": "me@example.com", "public_key": publicPEM}}
}

func rockWaiting() token.ProfileStatus {
	p := rock()
	p.Pending = &token.PendingCredential{ID: "20261123-1", Stored: time.Now().Add(-3 * time.Hour), Settings: map[string]any{"public_key": newPEM}}
	return p
}

func weather() token.ProfileStatus {
	return token.ProfileStatus{Name: "weather", Provider: "ioxio", Does: "verifies", Settings: map[string]any{"dsi": []any{"dpp://x"}}}
}

// kinds are those of providers that have no tokens.
func kinds() []token.Provider {
	return []token.Provider{
		{Name: "datarock", Fields: []token.Field{{Name: "email", Required: true}, {Name: "key_bits", Default: "2048"},
			{Name: "private_key", Secret: true}, {Name: "public_key"}}},
		{Name: "ioxio", Fields: []token.Field{{Name: "dataspace", Required: true}, {Name: "dsi", Required: true, List: true},
			{Name: "gateway"}, {Name: "leeway", Default: "60s"}}},
		{Name: "jwt-verify", Fields: []token.Field{{Name: "issuer", Required: true}, {Name: "audiences", Required: true, List: true}}},
	}
}

func newJudge(profiles ...token.ProfileStatus) *backend {
	b := newBackend()
	b.kinds, b.status.Profiles = kinds(), profiles
	b.signed = token.Signed{URL: "https://mine.example/x?a=1&b=2", Issued: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC),
		Headers: []token.Header{{Name: "Signature", Value: token.NewSecret("eyJ.x")}, {Name: "x-api-user", Value: token.NewSecret(`a"b\c@example.com`)}}}
	b.verdict = token.Verdict{Valid: true, Claims: map[string]any{"sub": "group:x", "aud": []any{"dpp://x"}, "exp": time.Now().Add(42*time.Minute + 30*time.Second).Unix()}}
	return b
}

func TestSignFormats(t *testing.T) {
	b, socket := served(t, newJudge(rock()))
	same := b.signed.URL
	for as, want := range map[string]string{
		"lines": "Signature: eyJ.x\nx-api-user: a\"b\\c@example.com\n",
		"json":  `{"url":"https://mine.example/x?a=1&b=2","headers":[{"name":"Signature","value":"eyJ.x"},{"name":"x-api-user","value":"a\"b\\c@example.com"}],"issued_at":"2026-11-23T12:00:00Z"}` + "\n",
		"curl":  "globoff\npath-as-is\nurl = \"https://mine.example/x?a=1&b=2\"\nheader = \"Signature: eyJ.x\"\nheader = \"x-api-user: a\\\"b\\\\c@example.com\"\n",
	} {
		r := call(t, socket, nil, "sign", "rock", same, "-o", as)
		r.wants(t, ui.ExitOK, "", "")
		if r.out != want {
			t.Errorf("%s: %q, want %q", as, r.out, want)
		}
	}
	if b.request.URL != same || !slices.Contains(b.calls, "sign rock") {
		t.Errorf("asked for %+v", b.request)
	}
	for _, args := range [][]string{{"sign"}, {"sign", "rock"}, {"sign", "rock", "a", "b"}, {"sign", "rock", ""}, {"sign", "rock", same, "-o", "xml"}, {"sign", "a/b", same}} {
		b.calls = nil
		call(t, socket, nil, args...).wants(t, ui.ExitUsage, "", "tokenctl: ")
		b.asked(t)
	}
}

func TestSignTellsWhatTheRequestMustKnow(t *testing.T) {
	b, socket := served(t, newJudge(rock()))
	b.signed.Warning = "the clock is off\x1b[2J"
	r := call(t, socket, nil, "sign", "rock", "https://mine.example/x?b=2&a=1#top")
	if r.status != ui.ExitOK || !strings.Contains(r.err, `Warning: the clock is off\x1b[2J`) || !strings.Contains(r.err, b.signed.URL) || strings.Contains(r.out, "clock") {
		t.Errorf("status %d, stdout %q, stderr %q", r.status, r.out, r.err)
	}
	b.signed.Warning = ""
	for _, as := range []string{"json", "curl"} { // they have the URL themselves
		call(t, socket, nil, "sign", "rock", "https://mine.example/x?b=2&a=1#top", "-o", as).wants(t, ui.ExitOK, "a=1&b=2", "")
	}
	b.signed.URL = "https://mine.example/\u202e"
	call(t, socket, nil, "sign", "rock", "u", "-o", "curl").wants(t, ui.ExitFailure, "", "do not belong")
}

// curl must send what was signed, and nothing that it makes of it.
func TestCurlSendsTheSignedURLAsItIs(t *testing.T) {
	curl := checktest.Need(t, "curl")
	var got []string
	api := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got = append(got, r.RequestURI+" "+r.Header.Get("Signature")+" "+r.Header.Get("x-api-user"))
	}))
	defer api.Close()
	b, socket := served(t, newJudge(rock()))
	for _, path := range []string{"/x?a=1&b=2", "/x?a={1,2}&b=[1-3]", "/a/../b/./c?d", "/x?a=%41&b=+%20", `/x?a=\n"\t`, "/x?a='1';$(id)`id`"} {
		b.signed.URL, got = api.URL+path, nil
		r := call(t, socket, nil, "sign", "rock", b.signed.URL, "-o", "curl")
		c := exec.Command(curl, "-sS", "--noproxy", "*", "-K", "-")
		c.Stdin = strings.NewReader(r.out)
		if out, err := c.CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s\n%s", path, err, out, r.out)
		}
		if want := path + ` eyJ.x a"b\c@example.com`; len(got) != 1 || got[0] != want {
			t.Errorf("requested %q, want %q", got, want)
		}
	}
}

func TestVerifyTellsTheVerdict(t *testing.T) {
	b, socket := served(t, newJudge(weather()))
	r := call(t, socket, strings.NewReader(secretToken+"\r\n"), "verify", "weather")
	r.wants(t, ui.ExitOK, "valid\n", "")
	r.has(t, "subject", "group:x", "audience", `["dpp://x"]`, "expires", "in 42 min (2")
	if b.judged.Reveal() != secretToken || b.remote {
		t.Errorf("sent %q, remote %v", b.judged.Reveal(), b.remote)
	}
	file := writeSecret(t, "token", "x y\n")
	r = call(t, socket, nil, "verify", "weather", "--token-file", file, "--remote", "--json")
	r.wants(t, ui.ExitOK, `"valid": true`, "")
	if b.judged.Reveal() != "x y" || !b.remote {
		t.Errorf("sent %q, remote %v", b.judged.Reveal(), b.remote)
	}
	var v token.Verdict
	if err := json.Unmarshal([]byte(r.out), &v); err != nil || v.Claims["sub"] != "group:x" {
		t.Errorf("%v: %s", err, r.out)
	}
}

func TestVerifyTakesAConsentToken(t *testing.T) {
	b, socket := served(t, newJudge(weather()))
	b.verdict.Consent = map[string]any{"sub": "person", "subiss": "https://login.example", "app": "a1\x1b[2J"}
	r := call(t, socket, strings.NewReader(secretToken), "verify", "weather", "--consent-file", writeSecret(t, "consent", "c.c.c\n"))
	r.wants(t, ui.ExitOK, "consent sub", "")
	if b.judged.Reveal() != secretToken || b.consent.Reveal() != "c.c.c" || !strings.Contains(r.out, `a1\x1b[2J`) {
		t.Errorf("sent %q and %q: %s", b.judged.Reveal(), b.consent.Reveal(), r.out)
	}
	call(t, socket, strings.NewReader("x"), "verify", "weather", "--consent-file", writeSecret(t, "empty", "\n")).wants(t, ui.ExitUsage, "", "--consent-file: the file is empty")
}

func TestVerifyOfABadTokenEndsWithOne(t *testing.T) {
	b, socket := served(t, newJudge(weather()))
	b.verdict = token.Verdict{Reason: "expired", Message: "the token expired 5 min ago\x1b[2J"}
	r := call(t, socket, strings.NewReader("x"), "verify", "weather")
	if r.status != 1 || r.out != "not valid: the token expired 5 min ago\\x1b[2J\n" || r.err != "  See: tokenctl explain expired\n" {
		t.Errorf("status %d, stdout %q, stderr %q", r.status, r.out, r.err)
	}
	r = call(t, socket, strings.NewReader("x"), "verify", "weather", "--json")
	var v token.Verdict
	if err := json.Unmarshal([]byte(r.out), &v); err != nil || r.status != 1 || v.Valid || v.Reason != "expired" || r.err != "" {
		t.Errorf("status %d, %v: %s %s", r.status, err, r.out, r.err)
	}
	b.verdict.Message = ""
	if r := call(t, socket, strings.NewReader("x"), "verify", "weather"); r.status != 1 || r.out != "not valid: expired\n" {
		t.Errorf("status %d, stdout %q", r.status, r.out)
	}
}

func TestVerifyWithoutAVerdict(t *testing.T) {
	b, socket := served(t, newJudge(weather()))
	for _, c := range map[string]struct{ stdin, want string }{
		"nothing":      {"", "is empty"},
		"an empty one": {"\r\n\n", "is empty"},
		"a large one":  {strings.Repeat("x", 1<<20), "has more than"},
	} {
		call(t, socket, strings.NewReader(c.stdin), "verify", "weather").wants(t, ui.ExitUsage, "", c.want)
		b.asked(t)
	}
	call(t, socket, nil, "verify", "weather", "--token-file", filepath.Join(t.TempDir(), "no")).wants(t, ui.ExitUsage, "", "no such file or directory")
	call(t, socket, nil, "verify", "weather", "--token-file", "").wants(t, ui.ExitUsage, "", "empty")
	call(t, socket, strings.NewReader(strings.Repeat("x", 64<<10)), "verify", "weather").wants(t, ui.ExitOK, "valid", "")
	for code, status := range map[token.Code]int{token.ErrUnavailable: ui.ExitUnavailable, token.ErrInvalid: ui.ExitUsage, token.ErrNotFound: ui.ExitNotFound, token.ErrDenied: ui.ExitDenied} {
		b.err = &token.Error{Code: code, Message: "no verdict"}
		r := call(t, socket, strings.NewReader("x"), "verify", "weather")
		r.wants(t, status, "", "no verdict")
		if r.out != "" {
			t.Errorf("%s: stdout %q", string(code), r.out)
		}
	}
}

func TestExpiryInWords(t *testing.T) {
	for claim, want := range map[any]string{
		json.Number("1795435200"): "2026-11-23T12:00:00Z", json.Number("1795435200.9"): "2026-11-23T12:00:00Z",
		json.Number("1e300"): "", json.Number("-1"): "", json.Number("NaN"): "", "1795435200": "", nil: "",
	} {
		got, ok := numericDate(claim)
		if ok != (want != "") || ok && got.UTC().Format(time.RFC3339) != want {
			t.Errorf("%v: %v, %v", claim, got, ok)
		}
	}
}

func TestPublicKey(t *testing.T) {
	b, socket := served(t, newJudge(rock(), weather()))
	r := call(t, socket, nil, "public-key", "rock")
	r.wants(t, ui.ExitOK, publicPEM, "")
	if r.out != publicPEM {
		t.Errorf("printed %q", r.out)
	}
	call(t, socket, nil, "public-key", "rock", "--pending").wants(t, ui.ExitUsage, "", "no new key")
	call(t, socket, nil, "public-key", "weather").wants(t, ui.ExitUsage, "", "no public key")
	call(t, socket, nil, "public-key", "none").wants(t, ui.ExitNotFound, "", `"none"`)

	b.status.Profiles[0] = rockWaiting()
	if r := call(t, socket, nil, "public-key", "rock"); r.status != ui.ExitOK || r.out != publicPEM || !strings.Contains(r.err, "tokenctl public-key rock --pending") {
		t.Errorf("status %d, stdout %q, stderr %q", r.status, r.out, r.err)
	}
	if r := call(t, socket, nil, "public-key", "rock", "--pending"); r.status != ui.ExitOK || r.out != newPEM || r.err != "" {
		t.Errorf("status %d, stdout %q, stderr %q", r.status, r.out, r.err)
	}
	b.status.Profiles[0].Settings = map[string]any{"public_key": "-----BEGIN\x1b[2J\r\n\u202e\n"}
	if r := call(t, socket, nil, "public-key", "rock"); strings.ContainsAny(r.out, "\x1b\u202e") {
		t.Errorf("printed %q", r.out)
	}
}

func TestAddWhereTokendMakesTheKey(t *testing.T) {
	b, socket := served(t, newJudge())
	b.added = token.Created{Profile: rock(), Kept: []string{"private key: OS keyring"}}
	r := call(t, socket, nil, "add", "rock", "--provider", "datarock", "--email", "me@example.com", "--key-bits", "4096", "--host", "https://a", "--host", "https://b")
	r.wants(t, ui.ExitOK, publicPEM, "")
	want := map[string]any{"email": "me@example.com", "key_bits": "4096", "hosts": []any{"https://a", "https://b"}}
	if !maps.EqualFunc(b.addition.Settings, want, equalJSON) || len(b.addition.Secrets) > 0 {
		t.Errorf("sent %+v", b.addition)
	}
	r.has(t, "Register this public key", "tokenctl public-key rock", "Use it: tokenctl sign rock URL", "OS keyring")
	r.lacks(t, "oken was obtained")
	key := writeSecret(t, "key.pem", canary)
	r = call(t, socket, nil, "add", "rock", "--provider", "datarock", "--email", "me@example.com", "--private-key", key)
	r.wants(t, ui.ExitOK, `Once "tokenctl sign rock URL" has worked, you can delete:`, "")
	if b.addition.Secrets["private_key"].Reveal() != canary {
		t.Error("the key was not sent")
	}
	call(t, socket, nil, "add", "rock", "--provider", "datarock").wants(t, ui.ExitUsage, "", "missing: --email\n")
}

func equalJSON(a, b any) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return string(x) == string(y)
}

func TestAddOfAVerifierNeedsNoSecret(t *testing.T) {
	b, socket := served(t, newJudge())
	b.added = token.Created{Profile: weather(), Found: []string{"product gateway: https://gw.example"}}
	r := call(t, socket, nil, "add", "weather", "--provider", "ioxio", "--dataspace", "https://ds.example", "--dsi", "dpp://a", "--dsi", "dpp://b",
		"--leeway", "2m", "--gateway", "https://gw.example")
	r.wants(t, ui.ExitOK, "Use it: tokenctl verify weather\n", "")
	if !strings.Contains(r.out, "Found product gateway: https://gw.example\n") {
		t.Errorf("printed %s", r.out)
	}
	want := map[string]any{"dataspace": "https://ds.example", "dsi": []any{"dpp://a", "dpp://b"}, "leeway": "2m", "gateway": "https://gw.example"}
	if !maps.EqualFunc(b.addition.Settings, want, equalJSON) || strings.Contains(r.out, "Kept") || strings.Contains(r.out, "oken was obtained") {
		t.Errorf("sent %+v, printed %s", b.addition.Settings, r.out)
	}
	call(t, socket, nil, "add", "in", "--provider", "jwt-verify", "--issuer", "https://id", "--audience", "a").wants(t, ui.ExitOK, "", "")
	if !equalJSON(b.addition.Settings["audiences"], []string{"a"}) {
		t.Errorf("sent %+v", b.addition.Settings)
	}
	b.calls = nil
	call(t, socket, nil, "add", "w", "--provider", "ioxio").wants(t, ui.ExitUsage, "", "missing: --dataspace, --dsi\n")
	b.status.Profiles = []token.ProfileStatus{weather()}
	call(t, socket, nil, "rotate", "weather").wants(t, ui.ExitUsage, "", "has no key or secret")
	b.asked(t)
}

func TestRotateInTwoSteps(t *testing.T) {
	b, socket := served(t, newJudge(rock()))
	b.added = token.Created{Profile: rockWaiting(), Kept: []string{"private key: OS keyring"}}
	r := call(t, socket, nil, "rotate", "rock")
	r.wants(t, ui.ExitOK, newPEM, "")
	r.has(t, "the old one stays in use", "tokenctl public-key rock --pending", "tokenctl rotate rock --registered", "tokenctl rotate rock --abandon")
	if strings.Contains(r.out, publicPEM) || b.addition.Step != "" || len(b.addition.Secrets) > 0 {
		t.Errorf("sent %+v, printed:\n%s", b.addition, r.out)
	}
	b.added.Profile = rock()
	for flag, c := range map[string]struct{ step, want string }{
		"--registered": {token.StepRegistered, "The new key of rock is in use"},
		"--abandon":    {token.StepAbandon, "The new key of rock is dropped"},
	} {
		call(t, socket, nil, "rotate", "rock", flag).wants(t, ui.ExitOK, c.want, "")
		if b.addition.Step != c.step || b.addition.Name != "rock" || len(b.addition.Secrets) > 0 {
			t.Errorf("%s: sent %+v", flag, b.addition)
		}
	}
	b.calls = nil
	call(t, socket, nil, "rotate", "rock", "--registered", "--abandon").wants(t, ui.ExitUsage, "", "use --registered or --abandon alone")
	call(t, socket, strings.NewReader("x"), "rotate", "rock", "--registered", "--private-key", "-").wants(t, ui.ExitUsage, "", "use --registered or --abandon alone")
	call(t, socket, nil, "rotate", "rock", "--abandon", "--secret-expires", nextYear()).wants(t, ui.ExitUsage, "", "use --registered or --abandon alone")
	b.asked(t)
	b.err = &token.Error{Code: token.ErrInvalid, Message: `profile "rock" has no new credential that waits`, Field: "step"}
	r = call(t, socket, nil, "rotate", "rock", "--registered")
	r.wants(t, ui.ExitUsage, "", "has no new credential")
	if strings.Contains(r.err, "--set") {
		t.Errorf("it names a flag that there is not: %s", r.err)
	}
}

func TestProfilesWithoutTokensAreShownSensibly(t *testing.T) {
	socket := serve(t, newJudge(rockWaiting(), weather()))
	for _, args := range [][]string{{"list"}, {"status"}} {
		r := call(t, socket, nil, args...)
		for _, line := range []string{"rock ", "weather "} {
			i := strings.Index(r.out, "\n"+line)
			if i < 0 {
				t.Fatalf("%q lacks %s:\n%s", args, line, r.out)
			}
			row, _, _ := strings.Cut(r.out[i+1:], "\n")
			if !strings.Contains(row, map[string]string{"rock ": "signs", "weather ": "verifies"}[line]) || strings.Contains(row, "none") {
				t.Errorf("%q: %s", args, row)
			}
		}
	}
	r := call(t, socket, nil, "show", "rock")
	r.has(t, "made 3 h ago, waits", "https://mine.example", "tokenctl public-key rock", "signs")
	r.lacks(t, "renewal")
	r.lacks(t, "BEGIN")
	call(t, socket, nil, "show", "weather").wants(t, ui.ExitOK, "none needed", "")
	call(t, socket, nil, "status", "weather").wants(t, ui.ExitOK, "verifies", "")
}
