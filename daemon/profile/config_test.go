package profile

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"tokend/providers/token"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestConfigSaysWhatIsWrongAndWhere(t *testing.T) {
	tests := []struct {
		name, text string
		want       []string
	}{
		{"unknown key", "renew = \"used\"\nsokcet = \"/x\"\n", []string{"config.toml:2:", `unknown key "sokcet"`, `did you mean "socket"?`}},
		{"unknown key, nothing like it", "frequency = 3\n", []string{"config.toml:1:", `unknown key "frequency"`, "log_level", "warn_ahead"}},
		{"unknown table", "\n[retries]\nmost = 3\n", []string{"config.toml:2:", "retries"}},
		{"wrong type", "\nsocket = 5\n", []string{"config.toml:2:", "socket must be a string in quotes"}},
		{"wrong choice", "renew = \"often\"\n", []string{"config.toml:1:", "renew", `"often" is neither "always" nor "used"`}},
		{"wrong duration", "idle = \"a while\"\n", []string{"config.toml:1:", "idle", `"a while" is not a duration`}},
		{"duration as a number", "idle = 5\n", []string{"config.toml: ", `"5" is not a duration`}},
		{"wrong level", "log_level = \"loud\"\n", []string{"config.toml:1:", "log_level"}},
		{"wrong format", "log_format = \"xml\"\n", []string{"config.toml:1:", `"xml" is neither "text" nor "json"`}},
		{"not TOML", "renew = \n", []string{"config.toml:1:"}},
		{"twice", "renew = \"used\"\nrenew = \"used\"\n", []string{"config.toml:", "renew"}},
	}
	for _, tt := range tests {
		dirs := Dirs{Config: t.TempDir()}
		must(t, os.WriteFile(dirs.ConfigFile(), []byte(tt.text), 0o600))
		_, err := ReadConfig(dirs)
		if !errors.Is(err, token.ErrInvalid) {
			t.Fatalf("%s: error %v, want one that is ErrInvalid", tt.name, err)
		}
		for _, want := range tt.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q does not say %q", tt.name, err, want)
			}
		}
		for _, not := range []string{"daemon.", "reflect", "struct field", "Go "} {
			if strings.Contains(err.Error(), not) {
				t.Errorf("%s: %q speaks of Go", tt.name, err)
			}
		}
	}
}

func TestConfigIsRead(t *testing.T) {
	dirs := Dirs{Config: t.TempDir()}
	if c, err := ReadConfig(dirs); err != nil || !reflect.DeepEqual(c, DefaultConfig()) {
		t.Errorf("no file: %+v, %v; want the defaults", c, err)
	}
	text := "socket = \"/run/x.sock\"\nlog_level = \"debug\"\nlog_format = \"json\"\nrenew = \"used\"\nidle = \"90m\"\nwarn_ahead = \"14d\"\nproxy = \"http://proxy:3128\"\nsandbox = false\nca_file = \"/ca.pem\"\n"
	must(t, os.WriteFile(dirs.ConfigFile(), []byte(text), 0o600))
	c, err := ReadConfig(dirs)
	want := Config{Socket: "/run/x.sock", LogLevel: slog.LevelDebug, LogFormat: "json", Renew: RenewUsed,
		Idle: Duration{90 * time.Minute}, WarnAhead: Duration{14 * 24 * time.Hour}, Proxy: "http://proxy:3128", CAFile: "/ca.pem"}
	if err != nil || !reflect.DeepEqual(c, want) {
		t.Errorf("%+v, %v; want %+v", c, err, want)
	}
}

// Two structs share a document, as tokend's and the provider's keys share a
// profile's file: only a key that neither has is unknown.
func TestDocumentSharedByTwoStructs(t *testing.T) {
	var a struct {
		One string `toml:"one"`
	}
	var b struct {
		Two  string            `toml:"two"`
		Form map[string]string `toml:"form"`
	}
	doc := &document{file: "f.toml", text: []byte("one = \"1\"\ntwo = \"2\"\n[form]\nany = \"thing\"\n")}
	must(t, errors.Join(doc.decode(&a), doc.decode(&b), doc.close()))
	if a.One != "1" || b.Two != "2" || b.Form["any"] != "thing" {
		t.Errorf("decoded %+v and %+v", a, b)
	}
	doc = &document{file: "f.toml", text: []byte("one = \"1\"\ntoo = \"2\"\n")}
	must(t, errors.Join(doc.decode(&a), doc.decode(&b)))
	if err := doc.close(); err == nil || !strings.Contains(err.Error(), `f.toml:2: unknown key "too"; did you mean "two"?`) {
		t.Errorf("close says %v", err)
	}
}

func TestDirsFollowXDGAndSystemd(t *testing.T) {
	t.Setenv("HOME", "/home/u")
	for _, v := range []string{"XDG_CONFIG_HOME", "XDG_STATE_HOME", "CONFIGURATION_DIRECTORY", "STATE_DIRECTORY"} {
		t.Setenv(v, "")
	}
	check := func(what string, got, want Dirs) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %+v, want %+v", what, got, want)
		}
	}
	user := func() Dirs {
		t.Helper()
		d, err := UserDirs()
		must(t, err)
		return d
	}
	check("XDG defaults", user(), Dirs{"/home/u/.config/tokend", "/home/u/.local/state/tokend"})
	check("system", SystemDirs(), Dirs{"/etc/tokend", "/var/lib/tokend"})
	t.Setenv("XDG_CONFIG_HOME", "/c")
	t.Setenv("XDG_STATE_HOME", "/s")
	check("XDG set", user(), Dirs{"/c/tokend", "/s/tokend"})
	t.Setenv("STATE_DIRECTORY", "/var/lib/private/tokend:/second")
	check("systemd", SystemDirs(), Dirs{"/etc/tokend", "/var/lib/private/tokend"})
	t.Setenv("STATE_DIRECTORY", "")
	t.Setenv("XDG_STATE_HOME", "")
	t.Setenv("XDG_CONFIG_HOME", "")
	t.Setenv("HOME", "")
	if _, err := UserDirs(); !errors.Is(err, token.ErrInvalid) {
		t.Errorf("without $HOME: %v", err)
	}
}

func TestProfileFilesOfAnOddDirectory(t *testing.T) {
	dirs := Dirs{Config: filepath.Join(t.TempDir(), "a[b]*?")}
	must(t, os.MkdirAll(dirs.ProfilesDir(), 0o700))
	for _, f := range []string{"b.toml", "a.toml", "c.toml.bak", ".d.toml.tmp"} {
		must(t, os.WriteFile(filepath.Join(dirs.ProfilesDir(), f), nil, 0o600))
	}
	names, err := dirs.Names()
	if err != nil || !slices.Equal(names, []string{"a", "b"}) {
		t.Errorf("%q, %v", names, err)
	}
}
