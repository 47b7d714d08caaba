package token

import (
	"strings"
	"testing"
)

func TestCovers(t *testing.T) {
	hosts := []string{"https://github.com", "https://dev.azure.com/org/", "http://127.0.0.1:8080"}
	for _, target := range []string{ // an empty port is the default one, RFC 3986 §6.2.3
		"https://github.com", "https://github.com/", "https://GitHub.com/a?b#c", "https://github.com:443/a", "https://github.com:/a",
		"https://dev.azure.com/org", "https://dev.azure.com/org/x", "http://127.0.0.1:8080/x", "https://dev.azure.com/org/\"%2f",
	} {
		if !Covers(hosts, target) {
			t.Errorf("%q is not covered", target)
		}
	}
	for _, target := range []string{
		"http://github.com/", "https://github.com:444/", "https://github.com:0443/", "http://127.0.0.1:/x",
		"https://github.com.attacker.example/", "https://github.com./", "https://xgithub.com/", "https://user@github.com/",
		"https://user:pass@github.com/", "https://github.com@attacker.example/", "https://github.com\\@attacker.example",
		"https://xn--gthub-n4a.com/", "https://gıthub.com/", "https://github.com\n.attacker.example",
		"https://dev.azure.com/organisation", "https://dev.azure.com/org/../other", "https://dev.azure.com/org/%2e%2e/x",
		"https://dev.azure.com/ORG", "https://dev.azure.com/org%2fx", "https://dev.azure.com/org%2f\"",
		"https://dev.azure.com/org/\"/..", "https://[fe80::1%25eth0]/", "ftp://github.com/", "github.com", "",
	} {
		if Covers(hosts, target) {
			t.Errorf("%q is covered", target)
		}
	}
}

// A path that some server reads as another one is refused, and others are not.
func TestPathsThatLeaveTheirPlace(t *testing.T) {
	hosts := []string{"https://dev.azure.com/org"}
	for _, dots := range []string{
		"..", ".", "%2e.", "%2E%2e", "..;", "..;x=1", "%2e%2e%3b", "..%3F", "..%23", "..%20", "..%00", "..%09", "%252e%252e", "..%253b", "%25252e.",
		"%c0%ae%C0%AE", "%ef%bc%8e.", "%25u002e.", "%252e%252e%2fx%25zz", ";/..", "x%2f..", "x%2F%2e%2e", "x%5c..", "x%5C..%5c", "x%252f..%252f", "x%c0%af..", "x%c1%9c..",
		"%2f..", "%5c..", "%2f%2f..%2f", "%25%32%65%25%32%65", "%25%2532e.", "%e0%80%ae.", "%25uFF0E.", "%25u002%45.", "..%0b",
	} {
		for _, end := range []string{"", "/", "/other", "%2fother", "?x"} {
			if target := "https://dev.azure.com/org/" + dots + end; Covers(hosts, target) || Covers([]string{target}, target) {
				t.Errorf("%s is taken", target)
			}
		}
	}
	for _, path := range []string{
		"group%2Fproject", "a..b", "..a", "...", ".git", "a%2f.git%2fb", "x;..", "%25", "100%25", "%zz", "a%20b", "%e4%b8%ad", "?q=/../", "#/..", "a?..%2f..", "%5c", "..x;y",
	} {
		if target := "https://dev.azure.com/org/" + path; Covers(hosts, target) != (path != "%zz") {
			t.Errorf("%s: %t", target, Covers(hosts, target))
		}
	}
}

func TestParseHost(t *testing.T) {
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
		if _, err := ParseHost(text); (err == nil) != good {
			t.Errorf("ParseHost(%q) = %v", text, err)
		}
	}
}

// Whatever a URL is made to look like, the part of it before the path is that
// of the profile's host.
func FuzzMatchHost(f *testing.F) {
	for _, target := range []string{
		"https://dev.example/org/app", "https://DEV.example:443/org", "https://dev.example.attacker.example/org", "https://dev.example@attacker.example/org",
		"https://attacker.example/https://dev.example/org", "https://dev.example/organisation", "https://dev.example/org/../x", "https://dev.example/org%2f..%2fx",
		"http://dev.example/org", "https://dev.example./org", "https:dev.example/org", "https://dev.example\\@attacker.example/org", "https://[::1%25dev.example]/org",
		"http://127.0.0.1:8080/", "http://127.0.0.1:80800/", "https://dev.example:8443/org",
		"https://dev.eXAmple:/org", "https://dev.example/org%2f\"", "http://127.0.0.1:/", "https://dev.example:0443/org",
	} {
		f.Add(target)
	}
	hosts := []string{"https://dev.example/org", "http://127.0.0.1:8080"}
	begins := []string{"https://dev.example/org", "https://dev.example:/org", "https://dev.example:443/org", "http://127.0.0.1:8080"}
	f.Fuzz(func(t *testing.T, target string) {
		host := MatchHost(hosts, target)
		if host == "" {
			return
		}
		scheme, rest, _ := strings.Cut(target, "://")
		authority, path, _ := strings.Cut(rest, "/")
		plain := strings.ToLower(scheme) + "://" + strings.ToLower(authority)
		if path != "" || strings.HasSuffix(rest, "/") {
			plain += "/" + path
		}
		for _, begin := range begins {
			if after, ok := strings.CutPrefix(plain, begin); ok && (after == "" || strings.ContainsRune("/?#", rune(after[0]))) {
				return
			}
		}
		t.Errorf("%q is claimed by %s", target, host)
	})
}

func TestWithoutUser(t *testing.T) {
	for text, want := range map[string]string{
		"https://org@dev.azure.com/org/_git/app": "https://dev.azure.com/org/_git/app", "https://me:p%40ss@h": "https://h", "https://me@h?x@y": "https://h?x@y",
		"https://h/a@b": "https://h/a@b", "https://h": "https://h", "h": "h", "": "", "me@h": "me@h", "https://a@b@h/": "https://a@b@h/",
		`https://evil\@h/`: `https://evil\@h/`, "https://evil#@h/": "https://evil#@h/", "https://evil?@h/": "https://evil?@h/",
	} {
		if got := WithoutUser(text); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

func TestLinksThatCarryTheirPermission(t *testing.T) {
	for target, want := range map[string]bool{
		"https://copernicus-fme.eea.europa.eu/fmedatadownload/results/1.zip": true, "https://COPERNICUS-fme.eea.europa.eu/": true,
		"https://b.s3.amazonaws.com/x?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=0a":              true,
		"https://b.s3.amazonaws.com/x?AWSAccessKeyId=A&Signature=b&Expires=1":                           true,
		"https://x.cloudfront.net/a?Expires=1&Signature=b&Key-Pair-Id=K":                                true,
		"https://storage.googleapis.com/b/o?X-Goog-Signature=0a":                                        true,
		"https://acc.blob.core.windows.net/c/b?sv=2022-11-02&se=2026-11-29T00%3A00%3A00Z&sr=b&sig=a%3D": true,
		"https://land.copernicus.eu/api/@search?sort=sig&signature=none":                                false,
		"https://copernicus-fme.eea.europa.eu.example/":                                                 false, "https://api.example/?x=sig": false, "::": false,
	} {
		if got := HasOwnPermission(target); got != want {
			t.Errorf("%s: %t", target, got)
		}
	}
}
