package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"tokend/cmd/tokend/service"
	"tokend/daemon/profile"
	"tokend/packaging/checktest"
	"tokend/store"
)

// A server is a place for a system service, which others can look into.
type server struct {
	t *testing.T
	profile.Dirs
}

// newServer ends a test that has not the rights of root.
func newServer(t *testing.T) server {
	t.Helper()
	checktest.NeedRoot(t, "to give files to another user")
	dir, err := os.MkdirTemp("", "tokend-server-")
	check(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	check(t, os.Chmod(dir, 0o755))
	return server{t, profile.Dirs{Config: filepath.Join(dir, "config"), State: filepath.Join(dir, "state")}}
}

// tokend runs a command of tokend for the service, with the umask that lets everything
// through.
func (s server) tokend(args ...string) (said string, status int) {
	s.t.Helper()
	args = append([]string{"-c", `umask 000; exec "$0" "$@"`, "tokend"}, args...)
	return ends(s.t, exec.Command("sh", append(args, "--system", "--config", s.Config, "--state", s.State)...))
}

// setup sets up the service as the user nobody; that is to succeed.
func (s server) setup(args ...string) (said string) {
	s.t.Helper()
	said, status := s.tokend(append([]string{"setup", "--service-user", "nobody"}, args...)...)
	if status != 0 {
		s.t.Fatal(said)
	}
	return said
}

// The system service's setup is made by root. What it leaves belongs to the service,
// and no other user can look into it.
func TestSetupByRootGivesTheFilesToTheService(t *testing.T) {
	s := newServer(t)
	key := filepath.Join(s.Config, "key")
	if out := s.setup("--keystore", "sealed", "--key-file", key); !strings.Contains(out, "A new key is in "+key) {
		t.Errorf("it says: %s", out)
	}
	before := stateOf(t, filepath.Dir(s.State))
	if out := s.setup(); !strings.Contains(out, "are kept already") || strings.Contains(out, "new key") {
		t.Errorf("the second time, without a choice, it says: %s", out)
	}
	if after := stateOf(t, filepath.Dir(s.State)); !maps.Equal(after, before) {
		t.Errorf("the second time changed\n%v\ninto\n%v", before, after)
	}
	const nobody = "65534:65534"
	for path, want := range map[string]string{
		s.Config:                               "0:65534 drwxr-x---",
		key:                                    nobody + " -r--------",
		s.ProfilesDir():                        nobody + " drwx------",
		s.State:                                nobody + " drwx------",
		filepath.Join(s.State, "install.toml"): nobody + " -rw-------",
		filepath.Join(s.State, "sealed"):       nobody + " drwx------",
	} {
		if got := rightsIn(t, path)[path]; got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

// Ctrl-C leaves nothing half done: neither at the first question nor at the last.
func TestSetupInterrupted(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct {
		answers []string
		says    string
		isSetUp bool
	}{
		{[]string{"\x03"}, "nothing was set up", false},
		{[]string{"", "\x03"}, "it is set up, and not started: tokenctl --start", true},
	} {
		screen := filepath.Join(dir, "screen")
		tty, shut := atTerminal(t, screen, tt.answers)
		cmd := exec.Command("sh", "-c", "tokend setup <"+tty+" >"+tty+" 2>&1")
		cmd.Env = []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH"), "DBUS_SESSION_BUS_ADDRESS=unix:path=/nonexistent"}
		_, status := ends(t, cmd)
		shut()
		state, _ := filepath.Glob(filepath.Join(dir, ".*", "*"))
		if said := read(t, screen); status != 1 || !strings.Contains(said, tt.says) || len(state) > 0 != tt.isSetUp {
			t.Errorf("%q: status %d, %v: %s", tt.answers, status, state, said)
		}
	}
}

func TestSetupOfTheSystemServiceNeedsItsUser(t *testing.T) {
	s := newServer(t)
	if out, status := s.tokend("setup", "--service-user", "no-such-user"); status == 0 || !strings.Contains(out, "useradd") {
		t.Errorf("status %d: %s", status, out)
	}
	// A state directory of another user keeps its owner.
	check(t, os.MkdirAll(filepath.Join(s.State, "x"), 0o700))
	if out, status := s.tokend("setup", "--service-user", "nobody"); status == 0 || !strings.Contains(out, "chown -R nobody:") {
		t.Errorf("status %d: %s", status, out)
	}
}

// A backup was restored without its owners, or with those of another machine. Setup
// repairs them, but not for what a link leads to.
func TestSetupRepairsOwners(t *testing.T) {
	s := newServer(t)
	key := []string{"--key-file", filepath.Join(s.Config, keyFileName)}
	s.setup(key...)
	check(t, os.WriteFile(filepath.Join(s.Config, "config.toml"), nil, 0o640))
	s.setup(key...)
	want := rightsIn(t, filepath.Dir(s.State))
	check(t, os.WriteFile(filepath.Join(s.Config, "note"), nil, 0o600)) // not tokend's

	outside := filepath.Join(t.TempDir(), "root's")
	check(t, os.WriteFile(outside, nil, 0o600))
	check(t, os.Symlink(outside, filepath.Join(s.State, "link")))
	check(t, os.Link(outside, filepath.Join(s.State, "second name")))
	for _, owner := range []string{"0:0", "4711:4711"} {
		if out, err := exec.Command("chown", "-hR", owner, s.State, s.Config).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		check(t, os.Chown(outside, 0, 0))
		if out := s.setup(key...); !strings.Contains(out, "Repaired the owner of "+s.State) {
			t.Errorf("it says: %s", out)
		}
		got := rightsIn(t, filepath.Dir(s.State))
		for path, rights := range want {
			if got[path] != rights {
				t.Errorf("%s: %s, want %s", path, got[path], rights)
			}
		}
		if rights := rightsIn(t, outside)[outside]; !strings.HasPrefix(rights, "0:0 ") {
			t.Errorf("a file outside: %s", rights)
		}
	}
}

// rightsIn returns user, group and mode of all files below a path.
func rightsIn(t *testing.T, path string) map[string]string {
	t.Helper()
	rights := map[string]string{}
	check(t, filepath.WalkDir(path, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil {
			stat := info.Sys().(*syscall.Stat_t)
			rights[path] = fmt.Sprintf("%d:%d %v", stat.Uid, stat.Gid, info.Mode())
		}
		return err
	}))
	return rights
}

// The key as an encrypted credential of systemd, made by the real
// systemd-creds: interrupted anywhere, the next setup completes it; and a key
// that is lost is not replaced.
func TestSetupMakesASystemdCredential(t *testing.T) {
	dirs := newServer(t).Dirs
	checktest.Need(t, "systemd-creds")
	check(t, os.Mkdir(dirs.Config, 0o750))
	defer func(dirs []string) { service.SystemDirs = dirs }(service.SystemDirs)
	units := t.TempDir()
	service.SystemDirs = []string{units}

	if choice := systemChoice(dirs); choice.KeyFile == "" || choice.Credential != "" {
		t.Errorf("without a unit: %+v", choice)
	}
	check(t, os.WriteFile(filepath.Join(units, "tokend.service"), nil, 0o644))
	choice := systemChoice(dirs)
	if choice.Credential != credentialName || choice.KeyFile != "" {
		t.Fatalf("with a unit: %+v", choice)
	}

	var out bytes.Buffer
	first, err := makeCredential(t.Context(), choice.Credential, dirs, true, &out)
	check(t, err)
	cred := filepath.Join(dirs.Config, credentialName+".cred")
	dropIn := filepath.Join(units, "tokend.service.d", credentialName+".conf")
	content, err := os.ReadFile(cred)
	info, statErr := os.Stat(cred)
	if err != nil || statErr != nil || info.Mode().Perm() != 0o600 || bytes.Contains(content, []byte(first.Reveal())) {
		t.Errorf("the credential: %v, %v, %v", err, statErr, info)
	}
	text, err := os.ReadFile(dropIn)
	if err != nil || !strings.Contains(string(text), "LoadCredentialEncrypted="+credentialName+":"+cred+"\n") {
		t.Errorf("the drop-in: %s, %v", text, err)
	}

	// Interrupted after the credential, before the drop-in and the record.
	check(t, os.RemoveAll(filepath.Dir(dropIn)))
	again, err := makeCredential(t.Context(), choice.Credential, dirs, true, &out)
	if err != nil || !again.Equal(first) || !service.Exists(dropIn) {
		t.Errorf("the second time: the same key %t, drop-in %t, %v", again.Equal(first), service.Exists(dropIn), err)
	}
	_, err = store.Setup(t.Context(), dirs.State, choice, again)
	check(t, err)

	check(t, os.Remove(cred))
	if _, err := makeCredential(t.Context(), choice.Credential, dirs, false, &out); err == nil || service.Exists(cred) {
		t.Errorf("a new key over sealed secrets: %v", err)
	}
}

// A container says by its environment where the key is mounted, and never what
// it is.
func TestMountedKey(t *testing.T) {
	dirs := profile.Dirs{Config: "/etc/tokend", State: "/var/lib/tokend"}
	const key = "hl1rfZ3A7m1Jz1P7GfK4K1jS8gU0oXbJ0eXvJv3mJ0E="
	at := func(file string, group bool) store.Choice {
		return store.Choice{Keystore: store.KeystoreSealed, KeyFile: file, GroupRead: group}
	}
	for _, c := range []struct {
		name             string
		file, group, kek string
		want             store.Choice
		says             string // of the error; empty: no error
	}{
		{name: "nothing"},
		{name: "a file", file: "/run/secrets/kek", want: at("/run/secrets/kek", false)},
		{name: "a file for the group", file: "/run/secrets/kek", group: "true", want: at("/run/secrets/kek", true)},
		{name: "neither yes nor no", file: "/run/secrets/kek", group: "0440", says: "neither"},
		{name: "the key", kek: key, says: "TOKEND_KEK is set"},
		{name: "the key for a file", file: key, says: "that is a key"},
		{name: "relative", file: "kek", says: "not an absolute path"},
		{name: "beside the secrets", file: "/var/lib/tokend/kek", says: "lies in"},
	} {
		t.Setenv(keyFileEnv, c.file)
		t.Setenv(groupReadEnv, c.group)
		t.Setenv(refusedKeyEnv, c.kek)
		switch got, err := mountedKey(dirs); {
		case c.says == "" && (err != nil || got != c.want):
			t.Errorf("%s: got %+v, %v", c.name, got, err)
		case c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), key) || statusOf(err) != exitConfig):
			t.Errorf("%s: got %v, status %d", c.name, err, statusOf(err))
		}
	}
}
