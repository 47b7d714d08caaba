package setup

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"tokend/packaging/checktest"
	"tokend/providers/token"
)

// home is an empty home directory, with a tokenctl to link to.
func home(t *testing.T) (dir string, self string) {
	t.Helper()
	dir = t.TempDir()
	self = filepath.Join(dir, "bin", "tokenctl")
	script(t, self, "")
	for name, value := range map[string]string{
		"HOME": dir, "USERPROFILE": dir, "XDG_DATA_HOME": "", "XDG_CONFIG_HOME": "", "DOCKER_CONFIG": "", "CARGO_HOME": "", "TF_CLI_CONFIG_FILE": "",
		"GIT_CONFIG_GLOBAL": filepath.Join(dir, ".gitconfig"), "GOENV": filepath.Join(dir, "goenv"), "PIP_CONFIG_FILE": "", "KUBECONFIG": "",
		"PATH": filepath.Join(dir, "bin") + string(filepath.ListSeparator) + os.Getenv("PATH"),
	} {
		t.Setenv(name, value)
	}
	// go would write its telemetry there even after it has ended.
	write(t, filepath.Join(dir, ".config", "go", "telemetry", "mode"), "off 2026-01-01")
	return dir, self
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// script is a shell script at path.
func script(t *testing.T, path, text string) {
	t.Helper()
	write(t, path, "#!/bin/sh\n"+text+"\n")
	check(t, os.Chmod(path, 0o755))
}

func write(t *testing.T, path, text string) {
	t.Helper()
	check(t, os.MkdirAll(filepath.Dir(path), 0o755))
	check(t, os.WriteFile(path, []byte(text), 0o640))
}

func read(t *testing.T, path string) string {
	text, err := os.ReadFile(path)
	if !os.IsNotExist(err) { // which is an empty one
		check(t, err)
	}
	return string(text)
}

func changes(t *testing.T, tool string, r Request) []Change {
	t.Helper()
	i := slices.IndexFunc(Tools, func(t Tool) bool { return t.Name == tool })
	check(t, r.Find())
	all, err := Tools[i].Changes(r)
	check(t, err)
	return all
}

func makeAll(t *testing.T, all []Change) {
	t.Helper()
	for _, c := range all {
		_, err := c.Done()
		check(t, err)
		check(t, c.Make())
		if done, err := c.Done(); err != nil || !done {
			t.Errorf("made and not done: %s (%v)", c.Show, err)
		}
	}
}

func undoAll(t *testing.T, all []Change) {
	t.Helper()
	for _, c := range all {
		if err := c.Undo(); err != nil {
			t.Errorf("undo: %v", err)
		}
		if err := c.Undo(); err != nil {
			t.Errorf("undone twice: %v", err)
		}
	}
}

// What is made twice is made once, and what is undone leaves no trace: not in
// a file that was there, with comments, odd line ends and without a last line
// end, nor where there was none. JSON may be written in another way.
func TestMakeAndUndo(t *testing.T) {
	request := Request{Host: "https://reg.example:8443/a/b", Profile: "devops"}
	for tool, file := range map[string]string{
		"git": ".gitconfig", "docker": ".docker/config.json", "cargo": ".cargo/config.toml", "bazel": ".bazelrc",
		"terraform": ".terraformrc", "pnpm 10": ".npmrc", "pnpm 11": ".config/pnpm/auth.ini", "pnpm": ".config/pnpm/auth.ini", "go": "goenv", "kubectl": ".kube/config", "pip": ".config/pip/pip.conf",
	} {
		tool, version, _ := strings.Cut(tool, " ")
		if tool == "pip" && runtime.GOOS != "linux" {
			continue
		}
		before := map[string][]string{
			".gitconfig":           {"", "# mine\n[user]\n\tname = a\n"},
			".docker/config.json":  {"", "{\n\t\"auths\": {\"x.example\": {}},\n\t\"credsStore\": \"pass\"\n}\n", "{\"credHelpers\": {\"x.example\": \"pass\"}, \"b\": 1, \"a\": 2}"},
			"goenv":                {"", "GOFLAGS=-mod=mod\n"},
			".kube/config":         {"apiVersion: v1\nclusters: null\ncontexts: null\ncurrent-context: \"\"\nkind: Config\npreferences: {}\nusers: null\n"},
			".config/pip/pip.conf": {"", "[global]\ntimeout = 5\n\n"},
		}[file]
		if before == nil {
			before = []string{"", "# mine\nx\n", "# mine, no line end", "a\r\nb\r\n"}
		}
		for _, text := range before {
			t.Run(tool, func(t *testing.T) {
				switch tool {
				case "pip": // each of its starts takes a second
					checktest.FullOnly(t)
				case "git", "go", "kubectl":
					checktest.Need(t, tool)
				}
				dir, self := home(t)
				if version != "" {
					script(t, filepath.Join(dir, "bin", "pnpm"), "echo "+version+".21.0")
				}
				r := request
				r.Self = self
				path := filepath.Join(dir, file)
				if text != "" {
					write(t, path, text)
				}
				all := changes(t, tool, r)
				makeAll(t, all)
				once := read(t, path)
				if !strings.Contains(once, "tokend") && !strings.Contains(once, " helper g") && !strings.Contains(once, "subprocess") {
					t.Errorf("nothing was written: %q", once)
				}
				makeAll(t, changes(t, tool, r))
				if again := read(t, path); again != once {
					t.Errorf("made twice:\n%s\nonce:\n%s", again, once)
				}
				if info, err := os.Stat(path); err == nil && text != "" && runtime.GOOS != "windows" && info.Mode().Perm() != 0o640 && file[0] == '.' && tool != "git" && tool != "pip" {
					t.Errorf("the mode became %v", info.Mode())
				}
				undoAll(t, all)
				if after := read(t, path); strings.TrimSpace(after) != strings.TrimSpace(text) && !sameJSON(after, text) {
					t.Errorf("undone: %q, before: %q", after, text)
				}
			})
		}
	}
}

// sameJSON reports whether two texts are JSON of the same value.
func sameJSON(a, b string) bool {
	var x, y any
	return json.Unmarshal([]byte(a), &x) == nil && json.Unmarshal([]byte(b), &y) == nil && reflect.DeepEqual(x, y)
}

// What others wrote stays, and the error names it.
func TestWhatOthersWroteStands(t *testing.T) {
	checktest.Need(t, "git")
	for tool, c := range map[string]struct{ file, text, want string }{
		"git":       {".gitconfig", "[credential \"https://reg.example\"]\n\thelper = store\n", "store"},
		"docker":    {".docker/config.json", `{"credHelpers":{"reg.example":"pass"}}`, "pass"},
		"cargo":     {".cargo/config.toml", "[registry]\ndefault = \"x\"\n", "by hand"},
		"terraform": {".terraformrc", "credentials_helper \"x\" {\n}\n", "credentials_helper"},
		"pnpm":      {".npmrc", "//reg.example/:_authToken=x\n", "_authToken"},
		"bazel":     {".local/share/tokend/bazel-credential-tokend", "x", "not a link to this tokenctl"},
	} {
		dir, self := home(t)
		path := filepath.Join(dir, c.file)
		write(t, path, c.text)
		found := false
		for _, change := range changes(t, tool, Request{Host: "https://reg.example", Profile: "p", Self: self}) {
			if _, err := change.Done(); err != nil {
				found = true
				if !errors.Is(err, token.ErrExists) || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%s: %v", tool, err)
				}
			}
			_ = change.Undo()
		}
		if !found || read(t, path) != c.text {
			t.Errorf("%s: found %v, the file is %q", tool, found, read(t, path))
		}
	}
}

// pnpm 11 has a file of its own, and what was written for an older pnpm goes: npm
// warns of it. A line that pnpm wrote itself is as good.
func TestPnpmMovesOn(t *testing.T) {
	dir, self := home(t)
	npmrc, auth := filepath.Join(dir, ".npmrc"), filepath.Join(dir, ".config", "pnpm", "auth.ini")
	r := Request{Host: "https://reg.example/npm", Profile: "p", Self: self}
	write(t, npmrc, "fund=false\n")
	script(t, filepath.Join(dir, "bin", "pnpm"), "echo 10.34.9")
	makeAll(t, changes(t, "pnpm", r))
	if !strings.Contains(read(t, npmrc), "//reg.example/npm/:tokenHelper=") || read(t, auth) != "" {
		t.Errorf("pnpm 10: %q, %q", read(t, npmrc), read(t, auth))
	}
	script(t, filepath.Join(dir, "bin", "pnpm"), "echo 12.21.0")
	makeAll(t, changes(t, "pnpm", r))
	want := "//reg.example/npm/:tokenHelper=" + filepath.Join(dir, ".local", "share", "tokend", "pnpm-credential-tokend-p")
	if read(t, npmrc) != "fund=false\n" || read(t, auth) != want+"\n" {
		t.Errorf("pnpm 12: %q, %q", read(t, npmrc), read(t, auth))
	}
	write(t, auth, "//x/:_authToken = y\n"+strings.Replace(want, "=", " = ", 1)+"\n")
	makeAll(t, changes(t, "pnpm", r))
	undoAll(t, changes(t, "pnpm", r))
	if read(t, auth) != "//x/:_authToken = y\n" {
		t.Errorf("undone: %q", read(t, auth))
	}
	write(t, auth, "//reg.example/npm/:tokenHelper=/other\n")
	if _, err := changes(t, "pnpm", r)[1].Done(); !errors.Is(err, token.ErrExists) {
		t.Errorf("another's helper: %v", err)
	}
}

// Before setup says that pip asks, pip knows the option and finds our keyring first.
func TestWhatPipLacks(t *testing.T) {
	dir, self := home(t)
	r := Request{Self: self}
	check(t, r.Find())
	own, python := filepath.Join(dir, ".local", "share", "tokend", "bin"), filepath.Join(dir, "bin", "python3")
	makeAll(t, []Change{link(filepath.Join(own, "keyring"), self)})
	usual := os.Getenv("PATH")
	foreign := filepath.Join(dir, "other")
	script(t, filepath.Join(foreign, "keyring"), "exit 1")
	for _, c := range []struct{ script, path, want string }{
		{"echo pip 26.2 from x", own + ":" + usual, ""},
		{"echo pip 23.1.2 from x", own + ":" + usual, ""},
		{"echo pip 22.3.1 from x", own + ":" + usual, "version 22.3, and 23.1"},
		{"echo pip 23.0 from x", own + ":" + usual, "version 23.0, and 23.1"},
		{"exit 1", own + ":" + usual, "version 0.0"},
		{"echo pip 26.2 from x", filepath.Dir(python), "nothing called keyring comes first"},
		{"echo pip 26.2 from x", foreign + ":" + own + ":" + usual, foreign + "/keyring comes first in $PATH"},
		{"echo pip 26.2 from x", own + ":" + foreign + ":" + usual, ""},
	} {
		script(t, python, c.script)
		t.Setenv("PATH", filepath.Dir(python)+":"+c.path)
		if text, _ := pipMissing(r); (text == "") != (c.want == "") || !strings.Contains(text, c.want) {
			t.Errorf("%q with %s: %q", c.script, c.path, text)
		}
	}
}

func TestAProgramThatIsNotOursStands(t *testing.T) {
	dir, self := home(t)
	script(t, filepath.Join(dir, "bin", "docker-credential-tokend"), "")
	if _, err := docker(Request{Host: "https://reg.example", Self: self}); !errors.Is(err, token.ErrExists) {
		t.Errorf("%v", err)
	}
}

// A link to the file is followed: people keep their configuration elsewhere.
func TestAFileBehindALink(t *testing.T) {
	dir, self := home(t)
	write(t, filepath.Join(dir, "dotfiles", "bazelrc"), "x\n")
	check(t, os.Symlink("dotfiles/bazelrc", filepath.Join(dir, ".bazelrc")))
	makeAll(t, changes(t, "bazel", Request{Host: "https://reg.example", Self: self}))
	if info, err := os.Lstat(filepath.Join(dir, ".bazelrc")); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link became %v, %v", info.Mode(), err)
	}
	if !strings.Contains(read(t, filepath.Join(dir, "dotfiles", "bazelrc")), "credential_helper") {
		t.Error("nothing was written behind the link")
	}
}

// Two hosts share what they share.
func TestTwoHosts(t *testing.T) {
	checktest.Need(t, "go")
	_, self := home(t)
	one, two := Request{Host: "https://one.example", Self: self}, Request{Host: "https://two.example", Self: self}
	// As earlier versions wrote it.
	_, err := command{"go", "env", "-w", "GOAUTH=/old/tokenctl helper goauth --host https://one.example --host https://three.example; netrc"}.run()
	check(t, err)
	undoAll(t, changes(t, "go", one))
	undoAll(t, changes(t, "go", Request{Host: "https://three.example", Self: self}))
	for _, tool := range []string{"go", "bazel"} {
		makeAll(t, changes(t, tool, one))
		makeAll(t, changes(t, tool, two))
		undoAll(t, changes(t, tool, one))
		for _, c := range changes(t, tool, two) {
			if done, err := c.Done(); err != nil || !done {
				t.Errorf("%s: the second went with the first: %s %v", tool, c.Show, err)
			}
		}
		undoAll(t, changes(t, tool, two))
	}
	if out, err := (command{"go", "env", "GOAUTH"}).run(); err != nil || strings.TrimSpace(out) != "netrc" {
		t.Errorf("GOAUTH is %q, %v", out, err)
	}
}

// On Windows, links are hard ones that end in .exe, which take no right, and no path
// in a tool's configuration has a backslash, which to many tools begins an escape.
func TestSetupOnWindows(t *testing.T) {
	dir, _ := home(t)
	self := filepath.Join(dir, `Tools\tokenctl.exe`) // to Linux a name with a backslash
	script(t, self, "")
	onWindows = true
	t.Cleanup(func() { onWindows = false })
	t.Setenv("APPDATA", filepath.Join(dir, "AppData"))
	t.Setenv("XDG_DATA_HOME", filepath.Join(dir, `Local\tokend`))
	links := 0
	for _, tool := range Tools {
		if tool.Name == "docker" { // looks in $PATH
			continue
		}
		for _, change := range changes(t, tool.Name, Request{Host: "https://a.example", Profile: "lab", Self: self}) {
			_, rest, isLink := strings.Cut(change.Show, `mklink /H "`)
			if !isLink {
				if strings.Contains(change.Show, `\t`) {
					t.Errorf("%s: %s", tool.Name, change.Show)
				}
				continue
			}
			links++
			makeAll(t, []Change{change})
			path, _, _ := strings.Cut(rest, `"`)
			if info, err := os.Lstat(path); err != nil || !info.Mode().IsRegular() || filepath.Ext(path) != ".exe" {
				t.Errorf("%s: %s: %v", tool.Name, path, err)
			}
		}
	}
	if links < 5 {
		t.Errorf("%d links", links)
	}
}

// A path with a blank is one word for Bazel, and for the shell.
func TestBazelPathsWithBlanksAreQuoted(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", `/home/a b/"c"`)
	made := changes(t, "bazel", Request{Host: "https://reg.example", Self: "/x y"})
	show := made[0].Show + made[1].Show
	if !strings.Contains(show, `common "--credential_helper=reg.example=/home/a b/\"c\"/tokend/bazel-credential-tokend"`) || !strings.HasPrefix(show, `ln -s '/x y' '/home/a b/"c"/tokend/`) {
		t.Error(show)
	}
}
