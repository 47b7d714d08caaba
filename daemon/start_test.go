package daemon_test

import (
	"strings"
	"testing"

	"tokend/providers/token"
)

// New opens every profile, without a Run: doctor and check-config look at such a
// daemon, and the sandbox needs the directories of all sinks.
func TestNewOpensAllProfiles(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.profile("a", ordinary+"[[sink]]\npath = \"/usr/bin/token\"\n")
		in.profile("b", "provider = \"test\"\nissuer = \"idp\"\n\"s\\u0069nk\" = [{path = \"/usr/lib/token\"}]\n")
		in.profile("p", ordinary+"skope = 1\n")
		d, file := in.make()
		defer file.Close()
		st, err := d.Status(t.Context())
		if err != nil || len(st.Profiles) != 2 || len(st.ConfigErrors) != 1 {
			t.Errorf("%+v, %v", st, err)
		}
		same(t, "directories", strings.Join(d.SinkDirs(), " "), "/usr/bin /usr/lib")
	})
}

func TestABadFileAtAStart(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.startWith(ordinary + "skope = \"x\"\n")
		err := in.refused("p", token.Query{}, token.ErrInvalid)
		wantIn(t, "the error", err.Message, `profile "p" is not active: `, "p.toml:3:")
		wantIn(t, "the log", in.logged(), `msg="a profile cannot be read" error=`)
	})
}

func TestBadSettingsAreRefused(t *testing.T) {
	cases := map[string]string{ // what the error says; "" is no error
		`hosts = ["https://a.example/api"]`: "", `hosts = ["a.example"]`: "p.toml:3: hosts: ",
		`present = ""`: "", `present = "bearer"`: "", `present = "basic:oauth2"`: "", `present = "basic:me@corp.example"`: "",
		`present = "header:X-Api-Key"`: "", `present = "acr"`: "",
	}
	for _, bad := range []string{"Bearer", "basic:", "basic:a:b", "header:", "header:X Key", "header:Authorization", "basic:a\\nb", "token"} {
		cases[`present = "`+bad+`"`] = "p.toml:3: present:"
	}
	for sink, want := range map[string]string{
		"path = \"x\"":                             "is not an absolute path",
		"path = \"/a/../b\"":                       "is not an absolute path",
		"format = \"header\"":                      "path is missing",
		"path = \"/x\"\nformat = \"yaml\"":         `"yaml"`,
		"path = \"/x\"\nmode = \"0666\"":           "0666",
		"path = \"/x\"\nmode = \"rw\"":             "rw",
		"path = \"/x\"\nowner = \"no such user\"":  "no user",
		"path = \"/x\"\ngroup = \"no such group\"": "no group",
		"path = \"/x\"\npaht = \"/y\"":             "paht",
		"path = \"/x\"\n[[sink]]\npath = \"/x\"":   "two sinks",
		"path = \"/x\"\nmin_ttl = \"soon\"":        "soon",
		"path = \"/x\"\n[sink.more]\nx = 1":        "more",
		"path = \"/x\"\n[[other]]\npath = \"/x\"":  "other",
	} {
		cases["[[sink]]\n"+sink] = want
	}
	for text, want := range cases {
		bubble(t, func(t *testing.T, in *installation) {
			d := in.startWith(ordinary + text + "\n")
			st, err := d.Status(t.Context())
			errs := strings.Join(st.ConfigErrors, "\n")
			if err != nil || (errs == "") != (want == "") || !strings.Contains(errs, want) || want != "" && !strings.Contains(errs, "p.toml:") {
				t.Errorf("%s: %q, %v", text, errs, err)
			}
		})
	}
}
