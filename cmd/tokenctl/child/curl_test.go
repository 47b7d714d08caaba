package child

import (
	"os/exec"
	"strings"
	"testing"

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
				if o, ok := findOption(option); !ok || "--"+o.name != typed[len(typed)-1] || o.kind != kind {
					t.Errorf("%s is found as %+v", option, o)
				}
			}
		}
	}
}

func TestOnlyTheFirstAnswerCounts(t *testing.T) {
	for headers, want := range map[string]bool{
		"HTTP/1.1 401 Unauthorized\r\nA: b\r\n\r\n": true, "HTTP/2 401 \r\n\r\n": true, "HTTP/2 403 \r\n\r\n": false,
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 401 No\r\n\r\n":              true,
		"HTTP/1.1 302 Found\r\nLocation: /y\r\n\r\nHTTP/1.1 401 No\r\n\r\n": false,
		"nonsense 401\r\n\r\n": false, "": false,
	} {
		if got := isUnauthorized(strings.NewReader(headers)); got != want {
			t.Errorf("%q: %t", headers, got)
		}
	}
}
