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
	"tokend/providers/token"
	"tokend/store"
)

// asRoot skips a test that takes root, or fails it in CI, which is root.
func asRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		checktest.Unable(t, "needs root, to give files to another user")
	}
}

// server is a place for a system service, which others can look into.
func server(t *testing.T) (dirs profile.Dirs, flags []string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "tokend-server-")
	check(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	check(t, os.Chmod(dir, 0o755))
	dirs = profile.Dirs{Config: filepath.Join(dir, "config"), State: filepath.Join(dir, "state")}
	return dirs, []string{"--system", "--config", dirs.Config, "--state", dirs.State}
}

// The system service's setup is made by root, with the umask that lets
// everything through. What it leaves belongs to the service, and no other user
// can look into it.
func TestSetupByRootGivesTheFilesToTheService(t *testing.T) {
	asRoot(t)
	dirs, flags := server(t)
	setup := func(more ...string) string {
		t.Helper()
		args := append([]string{"-c", `umask 000; exec "$0" "$@"`, "tokend", "setup", "--service-user", "nobody"}, flags...)
		out, err := exec.Command("sh", append(args, more...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	key := filepath.Join(dirs.Config, "key")
	if out := setup("--keystore", "sealed", "--key-file", key); !strings.Contains(out, "A new key is in "+key) {
		t.Errorf("it says: %s", out)
	}
	before := stateOf(t, filepath.Dir(dirs.State))
	if out := setup(); !strings.Contains(out, "are kept already") || strings.Contains(out, "new key") {
		t.Errorf("the second time, without a choice, it says: %s", out)
	}
	if after := stateOf(t, filepath.Dir(dirs.State)); !maps.Equal(after, before) {
		t.Errorf("the second time changed\n%v\ninto\n%v", before, after)
	}

	const nobody = 65534
	for path, want := range map[string]struct {
		uid  int
		mode fs.FileMode
	}{
		dirs.Config:        {0, fs.ModeDir | 0o750},
		key:                {nobody, 0o400},
		dirs.ProfilesDir(): {nobody, fs.ModeDir | 0o700},
		dirs.State:         {nobody, fs.ModeDir | 0o700},
		filepath.Join(dirs.State, "install.toml"): {nobody, 0o600},
		filepath.Join(dirs.State, "sealed"):       {nobody, fs.ModeDir | 0o700},
	} {
		info, err := os.Lstat(path)
		if err != nil {
			t.Error(err)
			continue
		}
		if store.Owner(info) != want.uid || info.Mode() != want.mode {
			t.Errorf("%s: uid %d, mode %v; want uid %d, mode %v", path, store.Owner(info), info.Mode(), want.uid, want.mode)
		}
	}
}

func TestSetupOfTheSystemServiceNeedsItsUser(t *testing.T) {
	asRoot(t)
	dirs, flags := server(t)
	out, err := exec.Command("tokend", append([]string{"setup", "--service-user", "no-such-user"}, flags...)...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "useradd") {
		t.Errorf("%v: %s", err, out)
	}
	// A state directory of another user keeps its owner.
	check(t, os.MkdirAll(filepath.Join(dirs.State, "x"), 0o700))
	out, err = exec.Command("tokend", append([]string{"setup", "--service-user", "nobody"}, flags...)...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "chown -R nobody:") {
		t.Errorf("%v: %s", err, out)
	}
}

// A backup was restored without its owners, or with those of another machine. Setup
// repairs them, but not for what a link leads to.
func TestSetupRepairsOwners(t *testing.T) {
	asRoot(t)
	dirs, flags := server(t)
	setup := func() string {
		t.Helper()
		args := append([]string{"setup", "--service-user", "nobody", "--key-file", filepath.Join(dirs.Config, keyFileName)}, flags...)
		out, err := exec.Command("tokend", args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	setup()
	top := filepath.Dir(dirs.State)
	check(t, os.WriteFile(filepath.Join(dirs.Config, "config.toml"), nil, 0o640))
	check(t, os.WriteFile(filepath.Join(dirs.Config, "note"), nil, 0o600)) // not tokend's
	setup()
	want := ownersOf(t, top)

	outside := filepath.Join(t.TempDir(), "root's")
	check(t, os.WriteFile(outside, nil, 0o600))
	check(t, os.Symlink(outside, filepath.Join(dirs.State, "link")))
	check(t, os.Link(outside, filepath.Join(dirs.State, "second name")))
	for _, owner := range []string{"0:0", "4711:4711"} {
		if out, err := exec.Command("chown", "-hR", owner, dirs.State, dirs.Config).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		check(t, os.Chown(outside, 0, 0))
		if out := setup(); !strings.Contains(out, "Repaired the owner of "+dirs.State) {
			t.Errorf("it says: %s", out)
		}
		got := ownersOf(t, top)
		for path, id := range want {
			if got[path] != id && filepath.Base(path) != "note" {
				t.Errorf("%s belongs to %s, want %s", path, got[path], id)
			}
		}
		if id := ownersOf(t, outside)[outside]; id != "0:0" {
			t.Errorf("a file outside belongs to %s now", id)
		}
	}
}

// ownersOf returns user and group of all files below a path.
func ownersOf(t *testing.T, path string) map[string]string {
	t.Helper()
	owners := map[string]string{}
	check(t, filepath.WalkDir(path, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil {
			stat := info.Sys().(*syscall.Stat_t)
			owners[path] = fmt.Sprintf("%d:%d", stat.Uid, stat.Gid)
		}
		return err
	}))
	return owners
}

// The key as an encrypted credential of systemd, made by the real
// systemd-creds: interrupted anywhere, the next setup completes it; and a key
// that is lost is not replaced.
func TestSetupMakesASystemdCredential(t *testing.T) {
	asRoot(t)
	checktest.Need(t, "systemd-creds")
	dirs, _ := server(t)
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
	tests := []struct {
		name             string
		file, group, kek string
		want             store.Choice
		says             string // of the error; empty: no error
	}{
		{name: "nothing"},
		{name: "a file", file: "/run/secrets/kek", want: store.Choice{Keystore: store.KeystoreSealed, KeyFile: "/run/secrets/kek"}},
		{name: "a file for the group", file: "/run/secrets/kek", group: "true", want: store.Choice{Keystore: store.KeystoreSealed, KeyFile: "/run/secrets/kek", GroupRead: true}},
		{name: "neither yes nor no", file: "/run/secrets/kek", group: "0440", says: "neither"},
		{name: "the key", kek: key, says: "TOKEND_KEK is set"},
		{name: "the key for a file", file: key, says: "that is a key"},
		{name: "relative", file: "kek", says: "not an absolute path"},
		{name: "beside the secrets", file: "/var/lib/tokend/kek", says: "lies in"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv(keyFileEnv, tt.file)
			t.Setenv(groupReadEnv, tt.group)
			t.Setenv(refusedKeyEnv, tt.kek)
			got, err := mountedKey(dirs)
			if tt.says == "" {
				if err != nil || got != tt.want {
					t.Errorf("got %+v, %v", got, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), key) {
				t.Errorf("got %v", err)
			}
			if statusOf(err) != exitConfig {
				t.Errorf("status %d", statusOf(err))
			}
		})
	}
}

// tokend run in a container with a mounted key needs no setup before it, and
// the key is not written anywhere.
func TestRunWithAMountedKeySetsUp(t *testing.T) {
	h := newHome(t)
	h.env = append(h.env, keyFileEnv+"="+filepath.Join(h.dir, "mounted"))
	out, err := h.tokend("run").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "mounted") || service.Exists(filepath.Join(h.dir, "mounted")) {
		t.Errorf("without the file: %v: %s", err, out)
	}
	check(t, store.NewKeyFile(filepath.Join(h.dir, "mounted")))
	h.start()
	h.add(h.clms("clms", 2048))
	tok := h.get("clms", token.Query{})
	h.cacheSays("ok")
	h.kill()
	h.start()
	if h.get("clms", token.Query{}) != tok {
		t.Error("the second start does not find what the first kept")
	}
	h.kill()
	h.env = append(h.env, keyFileEnv+"="+filepath.Join(h.dir, "another"))
	if out, err := h.tokend("run").CombinedOutput(); err == nil || !strings.Contains(string(out), "was set up with") {
		t.Errorf("another file: %v: %s", err, out)
	}
}
