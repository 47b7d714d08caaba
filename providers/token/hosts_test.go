package token

import "testing"

func TestCovers(t *testing.T) {
	hosts := []string{"https://github.com", "https://dev.azure.com/org/", "http://127.0.0.1:8080"}
	for target, want := range map[string]bool{
		"https://github.com":                    true,
		"https://github.com/":                   true,
		"https://GitHub.com/a?b#c":              true,
		"https://github.com:443/a":              true,
		"https://dev.azure.com/org":             true,
		"https://dev.azure.com/org/x":           true,
		"http://127.0.0.1:8080/x":               true,
		"http://github.com/":                    false,
		"https://github.com:444/":               false,
		"https://github.com.attacker.example/":  false,
		"https://github.com./":                  false,
		"https://xgithub.com/":                  false,
		"https://user@github.com/":              false,
		"https://user:pass@github.com/":         false,
		"https://github.com@attacker.example/":  false,
		"https://github.com\\@attacker.example": false,
		"https://xn--gthub-n4a.com/":            false,
		"https://gıthub.com/":                   false,
		"https://github.com\n.attacker.example": false,
		"https://dev.azure.com/organisation":    false,
		"https://dev.azure.com/org/../other":    false,
		"https://dev.azure.com/org/%2e%2e/x":    false,
		"https://dev.azure.com/ORG":             false,
		"https://[fe80::1%25eth0]/":             false,
		"ftp://github.com/":                     false,
		"github.com":                            false,
		"":                                      false,
	} {
		if got := Covers(hosts, target); got != want {
			t.Errorf("Covers(%q) = %v", target, got)
		}
	}
}

func TestCheckHost(t *testing.T) {
	for text, good := range map[string]bool{
		"https://a.example":      true,
		"https://a.example/org":  true,
		"http://localhost:1":     true,
		"http://a.example":       false,
		"a.example":              false,
		"https://a.example?x=1":  false,
		"https://a.example/#f":   false,
		"https://u@a.example":    false,
		"https://a.example/../b": false,
		"https://":               false,
		"https://ä.example":      false,
	} {
		if err := CheckHost(text); (err == nil) != good {
			t.Errorf("CheckHost(%q) = %v", text, err)
		}
	}
}
