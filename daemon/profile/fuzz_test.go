package profile

import (
	"errors"
	"os"
	"strings"
	"testing"

	"tokend/providers/token"
)

// wantBadFile checks the error for a file that a person wrote: ErrInvalid, in
// one line that says which file.
func wantBadFile(t *testing.T, err error, file string) {
	t.Helper()
	text := err.Error()
	if !errors.Is(err, token.ErrInvalid) || !strings.Contains(text, file) || strings.ContainsAny(text, "\n\x00\x1b") {
		t.Fatalf("%q", text)
	}
}

func FuzzConfigFile(f *testing.F) {
	for _, text := range []string{
		"socket = \"/run/x.sock\"\nlog_level = \"debug\"\nidle = \"30d\"\nsandbox = false\nadmin_users = [\"root\", \"1000\"]\n",
		"idle = 5\n", "idle = \"-1h\"\n", "idel = \"1h\"\n", "renew = \"\\u001b[31m\"\n", "proxy = 'x\n", "[log_level]\n", "audit.x = 1\n", "\xff",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		dirs := Dirs{Config: t.TempDir()}
		must(t, os.WriteFile(dirs.ConfigFile(), text, 0o600))
		c, err := ReadConfig(dirs)
		if err != nil {
			wantBadFile(t, err, dirs.ConfigFile())
			return
		}
		if c.check() != nil || c.Idle.Duration <= 0 || c.WarnAhead.Duration <= 0 {
			t.Fatalf("%+v", c)
		}
	})
}

// The keys that every profile has. Those of its provider are read by the same
// document, into the provider's struct.
func FuzzProfileFile(f *testing.F) {
	for _, text := range []string{
		"provider = \"azure\"\nrenew = \"used\"\nhosts = [\"https://dev.example/org\"]\npresent = \"basic:me\"\nallow_users = [\"alice\"]\nname = \"x\"\n",
		"provider = \"x\"\n[[sink]]\npath = \"/run/t\"\nformat = \"env\"\nmode = \"0640\"\n[[sink]]\npath = \"/run/t\"\n",
		"[[sink]]\npath = \"/a/../b\"\nmode = \"0777\"\n", "hosts = [\"https://*.example\"]\n", "present = \"header:A\\nB\"\n", "provider = 5\n", "sink = 1\n", "a.b.c = [{}]\n",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		const file = "/etc/tokend/profiles.d/x.toml"
		doc := &document{file: file, text: text}
		own := Common{Renew: RenewAlways}
		var provider struct {
			Name  string            `toml:"name"`
			Count int               `toml:"count"`
			List  []string          `toml:"list"`
			Table map[string]string `toml:"table"`
		}
		for _, step := range []func() error{
			func() error { return doc.decode(&own) },
			func() error {
				if err := own.check(); err != nil {
					return doc.locate(err)
				}
				return nil
			},
			func() error { return doc.decode(&provider) },
			doc.close,
		} {
			if err := step(); err != nil {
				wantBadFile(t, err, file)
				return
			}
		}
		for _, s := range own.Sinks {
			if s.Perm()&0o133 != 0 || s.MinTTL.Duration <= 0 || strings.ContainsAny(s.Path, "\n\x00") {
				t.Fatalf("%+v", s)
			}
		}
		for _, host := range own.Hosts {
			if !token.Covers([]string{host}, host) {
				t.Fatalf("host %q does not cover itself", host)
			}
		}
	})
}
