package daemon_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"tokend/providers/token"
)

func TestTheHostsOfAProfileAreMatchedExactly(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.profile("org", ordinary+`hosts = ["https://dev.example/org", "http://127.0.0.1:8080"]`+"\npresent = \"basic:oauth2\"\n")
		in.profile("deep", ordinary+`hosts = ["https://dev.example/org/deep/"]`+"\n")
		in.profile("other", ordinary+`hosts = ["https://Api.Example:8443"]`+"\n")
		in.profile("twin", ordinary+`hosts = ["https://api.example:8443", "https://twin.example"]`+"\n")
		d := in.start()
		for url, want := range map[string]string{
			"https://dev.example/org":                      "org https://dev.example/org",
			"https://dev.example/org/app?x=1":              "org https://dev.example/org",
			"https://DEV.example:443/org/app":              "org https://dev.example/org",
			"https://dev.example/org/deep":                 "deep https://dev.example/org/deep/",
			"https://dev.example/org/deep/er":              "deep https://dev.example/org/deep/",
			"https://dev.example/org/deeper":               "org https://dev.example/org",
			"http://127.0.0.1:8080/x":                      "org http://127.0.0.1:8080",
			"https://twin.example/":                        "twin https://twin.example",
			"https://dev.example/":                         "not_found",
			"https://dev.example/organisation":             "not_found",
			"https://dev.example:444/org":                  "not_found",
			"https://dev.example.attacker.example/org":     "not_found",
			"https://xdev.example/org":                     "not_found",
			"https://dev.example./org":                     "not_found",
			"http://127.0.0.1:8081/x":                      "not_found",
			"https://127.0.0.1:8080/x":                     "not_found",
			"https://api.example:8443/":                    "invalid",
			"http://dev.example/org":                       "invalid",
			"https://me@dev.example/org":                   "invalid",
			"https://dev.example/org/../x":                 "invalid",
			"https://dev.example/org/%2e%2e/x":             "invalid",
			"https://dev.example\\@attacker.example/org":   "invalid",
			"https://dev.example/o\u202erg":                "invalid",
			"ssh://dev.example/org":                        "invalid",
			"https:///org":                                 "invalid",
			"dev.example/org":                              "invalid",
			"https://dev.example/org\nhost=other.example/": "invalid",
		} {
			g, err := d.Get(t.Context(), "", token.Query{URL: url})
			got := g.Profile + " " + g.Host
			var e *token.Error
			if errors.As(err, &e) {
				got = string(e.Code)
			}
			if got != want {
				t.Errorf("%q: %s (%v), want %s", url, got, err, want)
			}
			if err != nil && !g.Secret.IsZero() {
				t.Errorf("%q: an error and a token", url)
			}
		}
		g, err := d.Get(t.Context(), "", token.Query{URL: "https://dev.example/org"})
		if err != nil || g.Present != "basic:oauth2" {
			t.Errorf("the presentation is %q, %v", g.Present, err)
		}

		// With a name only that profile counts.
		same(t, "by name", in.found(t.Context(), "org", "https://dev.example/org/deep"), "org")
		same(t, "by name", in.found(t.Context(), "twin", "https://api.example:8443/x"), "twin")
		wantErr(t, "a host that the profile does not have", errOf(d.Get(t.Context(), "deep", token.Query{URL: "https://dev.example/org"})), token.ErrNotFound)
		// Git leaves the path out by default: the error says what is missing.
		if _, err := d.Get(t.Context(), "", token.Query{URL: "https://dev.example"}); err == nil || !strings.Contains(err.Error(), "org has https://dev.example/org") {
			t.Errorf("a near miss: %v", err)
		}

		// A removed profile covers nothing any more.
		must(t, d.Remove(t.Context(), "deep"))
		same(t, "after removal", in.found(t.Context(), "", "https://dev.example/org/deep"), "org")
	})
}

func TestATokenIsInvalidatedWithoutAName(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.profile("a", ordinary)
		in.profile("b", ordinary)
		d := in.start()
		a, b := in.get("a", token.Query{}), in.get("b", token.Query{})
		time.Sleep(time.Minute)
		for _, foreign := range []string{"not one of ours", b + "x"} {
			must(t, d.Invalidate(t.Context(), "", token.NewSecret(foreign)))
		}
		must(t, d.Invalidate(t.Context(), "", token.NewSecret(a)))
		differ(t, "the token that was dropped", in.get("a", token.Query{}), a)
		same(t, "another's token", in.get("b", token.Query{}), b)
	})
}

func TestOnlyARegistryOfTheProfileGetsItsToken(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.profile("acr", ordinary+`hosts = ["https://one.azurecr.example"]`+"\npresent = \"acr\"\n")
		in.profile("plain", ordinary+`hosts = ["https://two.example"]`+"\n")
		d := in.start()
		refresh, err := d.Exchange(t.Context(), "acr", "https://one.azurecr.example/a/b")
		if err != nil || !strings.HasPrefix(refresh.Reveal(), "https://one.azurecr.example  idp#") {
			t.Errorf("%q, %v", refresh.Reveal(), err)
		}
		wantErr(t, "a registry of another", errOf(d.Exchange(t.Context(), "acr", "https://two.example")), token.ErrNotFound)
		wantErr(t, "a profile that does not exchange", errOf(d.Exchange(t.Context(), "plain", "https://two.example")), token.ErrInvalid)
	})
}
