package child

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"tokend/cmd/tokenctl/ui"
	"tokend/packaging/checktest"
)

// curl itself reports of each option whether its value is missing.
func TestTheInstalledCurlHasTheOptions(t *testing.T) {
	program := checktest.Need(t, "curl")
	for kind, names := range curlOptions {
		for entry := range strings.FieldsSeq(names) {
			letter, name, both := strings.Cut(entry, ",")
			typed := []string{"--" + entry}
			if both {
				typed = []string{"-" + letter, "--" + name}
			}
			for _, option := range typed {
				out, _ := exec.Command(program, "-q", option).CombinedOutput()
				if strings.Contains(string(out), "requires parameter") != (kind != flag) || strings.Contains(string(out), "unknown") {
					t.Errorf("%s: %s", option, out)
				}
				if name, found := findOption(option); "--"+name != typed[len(typed)-1] || found != kind {
					t.Errorf("%s is found as %s, %d", option, name, found)
				}
			}
		}
	}
}

// A 401 of the first answer is repeated with another token, unless it is for another
// reason than the token's age: then the API's words are shown.
func TestWhenTheTokenIsRefused(t *testing.T) {
	const twice = "HTTP/1.1 401 No\r\nWWW-Authenticate: Bearer\r\nWWW-Authenticate:"
	type answer struct {
		headers, challenge string
		refused            bool
	}
	answers := []answer{
		{"HTTP/1.1 401 Unauthorized\r\nA: b\r\n\r\n", "", true}, {"HTTP/2 401 \r\n\r\n", "", true}, {"HTTP/2 403 \r\n\r\n", "", false},
		{"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 401 No\r\n\r\n", "", true},
		{"HTTP/1.1 302 Found\r\nLocation: /y\r\n\r\nHTTP/1.1 401 No\r\n\r\n", "", false},
		{"nonsense 401\r\n\r\n", "", false}, {"", "", false},
		{twice, `Bearer error="invalid_token", error_description="The token expired"`, true},
		{twice, `Bearer error="invalid_token", error_description="issued a minute ago"`, true},
		{"HTTP/1.1 401 No\r\nA: insufficient_scope\r\nWWW-Authenticate:", `Bearer realm="x", scope="read"`, true},
		{"HTTP/1.1 401 No\r\n\r\nHTTP/1.1 401 No\r\nWWW-Authenticate:", `Bearer error="insufficient_scope"`, true},
	}
	for _, challenge := range []string{
		// Azure API Management's own, for a request without a key.
		`AzureApiManagementKey realm="https://x.azure-api.net/a",name="Ocp-Apim-Subscription-Key",type="header"`,
		// ASP.NET Core, JwtBearerHandler.CreateErrorDescription.
		`Bearer error="invalid_token", error_description="The audience 'api://other' is invalid"`,
		`Bearer error="invalid_token", error_description="The issuer 'https://sts.windows.net/x/' is invalid"`,
		// Spring Security, JwtClaimValidator and BearerTokenAccessDeniedHandler.
		`Bearer error="invalid_token", error_description="An error occurred while attempting to decode the Jwt: The aud claim is not valid"`,
		`bearer error="insufficient_scope", error_description="The request requires higher privileges than provided by the access token."`,
		`Bearer realm="x", error="invalid_token", error_description="The token lacks the scope read:data"`,
	} {
		answers = append(answers, answer{"HTTP/2 401 \r\nwww-authenticate: ", challenge, false}, answer{twice, challenge, false})
	}
	for _, a := range answers {
		var said strings.Builder
		c := curlCall{Env: &ui.Env{Err: ui.NewScreen(&said)}}
		got := c.isTokenRefused(strings.NewReader(a.headers + a.challenge + "\r\nB: c\r\n\r\n"))
		says := strings.Contains(strings.Join(strings.Fields(said.String()), " "), a.challenge) && said.Len() > 0
		if got != a.refused || says != (a.challenge != "" && !a.refused) {
			t.Errorf("%+v: %t: %s", a, got, said.String())
		}
	}
}

func TestNoProxyIsExtended(t *testing.T) {
	for _, c := range []struct{ upper, lower, wantUpper, wantLower string }{
		{"", "", "127.0.0.1", "127.0.0.1"},
		{"a, .b", "", "a, .b,127.0.0.1", "a, .b,127.0.0.1"},
		{"", "c", "c,127.0.0.1", "c,127.0.0.1"},
		{"a", "c", "a,127.0.0.1", "c,127.0.0.1"},
		{"*", "", "*", "*"},
		{"*", "a", "*", "a,127.0.0.1"},
	} {
		t.Setenv("NO_PROXY", c.upper)
		t.Setenv("no_proxy", c.lower)
		got := loopbackPastProxies()
		if !slices.Contains(got, "NO_PROXY="+c.wantUpper) || !slices.Contains(got, "no_proxy="+c.wantLower) || slices.Contains(got, "http_proxy=") != (c.upper == "*") {
			t.Errorf("%q, %q: %q", c.upper, c.lower, got)
		}
	}
}
