package child

import (
	"fmt"
	"os/exec"
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

func TestOnlyTheFirstAnswerCounts(t *testing.T) {
	var c curlCall
	for headers, want := range map[string]bool{
		"HTTP/1.1 401 Unauthorized\r\nA: b\r\n\r\n": true, "HTTP/2 401 \r\n\r\n": true, "HTTP/2 403 \r\n\r\n": false,
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 401 No\r\n\r\n":              true,
		"HTTP/1.1 302 Found\r\nLocation: /y\r\n\r\nHTTP/1.1 401 No\r\n\r\n": false,
		"nonsense 401\r\n\r\n": false, "": false,
		"HTTP/1.1 401 No\r\nWWW-Authenticate: Bearer error=\"invalid_token\", error_description=\"The token expired\"\r\n\r\n":   true,
		"HTTP/1.1 401 No\r\nA: insufficient_scope\r\nWWW-Authenticate: Bearer realm=\"x\", scope=\"read\"\r\n\r\n":               true,
		"HTTP/1.1 401 No\r\n\r\nHTTP/1.1 401 No\r\nWWW-Authenticate: Bearer error=\"insufficient_scope\"\r\n\r\n":                true,
		"HTTP/1.1 401 No\r\nWWW-Authenticate: Bearer error=\"invalid_token\", error_description=\"issued a minute ago\"\r\n\r\n": true,
	} {
		if got := c.isTokenRefused(strings.NewReader(headers)); got != want {
			t.Errorf("%q: %t", headers, got)
		}
	}
}

// A 401 for another reason than the token's age leaves the token alone, and the
// API's words are shown.
func TestAnotherTokenIsNoCureForEvery401(t *testing.T) {
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
		var said strings.Builder
		c := curlCall{Env: &ui.Env{Err: ui.NewScreen(&said)}}
		for _, headers := range []string{"HTTP/2 401 \r\nwww-authenticate: %s\r\n\r\n", "HTTP/1.1 401 No\r\nWWW-Authenticate: Bearer\r\nWWW-Authenticate:%s\r\nA: b\r\n\r\n"} {
			if c.isTokenRefused(strings.NewReader(fmt.Sprintf(headers, challenge))) || !strings.Contains(strings.Join(strings.Fields(said.String()), " "), challenge) {
				t.Errorf("%s: %s", challenge, said.String())
			}
		}
	}
}
