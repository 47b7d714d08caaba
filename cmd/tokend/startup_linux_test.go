package main

import (
	"bytes"
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tokend/cmd/tokend/service"
	"tokend/packaging/checktest"
	"tokend/providers/token"
)

// ends runs cmd to its end and returns its output and status.
func ends(t testing.TB, cmd *exec.Cmd) (string, int) {
	t.Helper()
	out, err := cmd.CombinedOutput()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// Each reason not to start is one line, with a status of its own.
func TestStartUpFailures(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		prepare func(h *home)
		status  int
		want    string
	}{
		{"not set up", func(h *home) { h.remove("state") }, exitConfig, "tokend setup"},
		{"bad configuration", func(h *home) { h.write("config/config.toml", "sokcet = 1\n") }, exitConfig, "config.toml:1"},
		{"configuration of a relative socket", func(h *home) { h.write("config/config.toml", "socket = \"s\"\n") }, exitConfig, "config.toml:1"},
		{"the key is gone", func(h *home) { h.remove("key") }, exitKeystore, "/key"},
		{"another key", func(h *home) { h.remove("key"); h.write("key", strings.Repeat("x", 32)) }, exitKeystore, "another key"},
		{"a key for all", func(h *home) { h.chmod("key", 0o644) }, exitKeystore, "/key"},
		{"a damaged record", func(h *home) { h.write("state/install.toml", "id = \n") }, exitKeystore, "install.toml"},
		// Case 30 of the threat model.
		{"a long path", func(h *home) { h.client.Socket = "/tmp/" + strings.Repeat("x", 103) }, exitSocket, "108 bytes"},
		{"a directory for all", func(h *home) { h.chmod("", 0o777) }, exitSocket, "others may write"},
		{"a file in the way", func(h *home) { h.write("tokend.sock", "") }, exitSocket, "it is not a socket"},
		{"a socket of another program", func(h *home) {
			l, err := net.Listen("unix", h.client.Socket)
			check(h.t, err)
			h.t.Cleanup(func() { _ = l.Close() })
		}, exitRunning, "already running"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHome(t)
			h.setupSealed()
			c.prepare(h)
			out, status := ends(t, h.tokend("run"))
			if status != c.status || !strings.Contains(out, c.want) || strings.Count(out, "\n") != 1 {
				t.Errorf("status %d, want %d and a line with %q:\n%s", status, c.status, c.want, out)
			}
		})
	}
}

func (h *home) remove(name string) {
	h.t.Helper()
	check(h.t, os.RemoveAll(filepath.Join(h.dir, name)))
}

func (h *home) chmod(name string, mode fs.FileMode) {
	h.t.Helper()
	check(h.t, os.Chmod(filepath.Join(h.dir, name), mode))
}

// A home that does not exist, or another user's, is refused by every command that would
// keep something there. Case 69 of the threat model.
func TestHomes(t *testing.T) {
	theirs := t.TempDir()
	if os.Geteuid() == 0 {
		check(t, os.Chown(theirs, 65533, 65533))
	} else if checktest.Full() {
		t.Fatal("this test needs root, for a second uid")
	} else {
		theirs = "/nonexistent" // and the rest of the test still counts
	}
	for want, env := range map[string]string{
		"$HOME are defined":     "X=",
		"path in $XDG":          "XDG_CONFIG_HOME=config",
		"belongs to uid 65533":  "HOME=" + theirs,
		theirs + " belongs to ": "XDG_CONFIG_HOME=" + theirs + "/config",
	} {
		if theirs == "/nonexistent" && strings.Contains(want, "belongs") {
			continue
		}
		for _, command := range []string{"run", "setup --keystore os", "check-config"} {
			cmd := exec.Command("tokend", strings.Fields(command)...)
			cmd.Env = []string{"PATH=" + os.Getenv("PATH"), env}
			if strings.HasPrefix(env, "XDG_CONFIG_HOME=/") {
				cmd.Env = append(cmd.Env, "HOME="+t.TempDir())
			}
			out, status := ends(t, cmd)
			if status != exitConfig || !strings.Contains(out, want) || strings.Count(out, "\n") != 1 {
				t.Errorf("%s with %s: status %d, want a line with %q:\n%s", command, env, status, want, out)
			}
		}
		if entries, err := os.ReadDir(theirs); err == nil && len(entries) > 0 {
			t.Errorf("%s: something was made there", env)
		}
	}
}

// Started with a umask of 0, tokend's files are its
// user's alone all the same. Case 68 of the threat model.
func TestNothingIsOpenWhateverTheUmask(t *testing.T) {
	h := newHome(t)
	openly := func(args ...string) *exec.Cmd {
		cmd := h.tokend(args...)
		cmd.Args = append([]string{"/bin/sh", "-c", `umask 000; exec "$0" "$@"`, cmd.Path}, cmd.Args[1:]...)
		cmd.Path = "/bin/sh"
		return cmd
	}
	if out, status := ends(t, openly("setup", "--keystore", "sealed", "--key-file", filepath.Join(h.dir, "key"))); status != 0 {
		t.Fatal(out)
	}
	h.startAs(openly("run"))
	h.add(h.clms("clms", 2048))
	files := 0
	err := filepath.WalkDir(h.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == h.dir || path == filepath.Join(h.dir, "ca.pem") {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		files++
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return nil
	})
	if err != nil || files < 8 {
		t.Errorf("%d files, %v", files, err)
	}
}

// Of many started at once one serves, and the others say that it does. Cases 17
// and 18 of the threat model.
func TestOfTwentyStartedAtOnceOneServes(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.setupSealed()
	const n = 20
	type end struct {
		out    string
		status int
	}
	ended := make(chan end, n)
	for range n {
		cmd := h.tokend("run")
		t.Cleanup(func() { _ = cmd.Process.Kill() })
		var out bytes.Buffer
		cmd.Stderr = &out
		check(t, cmd.Start())
		go func() {
			_ = cmd.Wait()
			ended <- end{out.String(), cmd.ProcessState.ExitCode()}
		}()
	}
	for i := range n - 1 {
		select {
		case e := <-ended:
			if e.status != exitRunning || !strings.Contains(e.out, "already running") {
				t.Errorf("status %d: %s", e.status, e.out)
			}
		case <-time.After(time.Minute):
			t.Fatalf("after %d no other ended", i)
		}
	}
	if _, err := h.client.Status(t.Context()); err != nil {
		t.Errorf("the one that is left does not answer: %v", err)
	}
}

// A purge knows every file that an installation makes over its life.
func TestPurgeKnowsAllThatTokendKeeps(t *testing.T) {
	fakeSystemctl(t)
	h := newHome(t)
	h.setup("--keystore", "sealed", "--key-file", filepath.Join(h.dir, "config", "tokend.key"))
	h.start()
	h.add(h.clms("clms", 2048))
	profile := filepath.Join("config", "profiles.d", "clms.toml")
	text := read(t, h.dir, profile)
	check(t, os.Mkdir(filepath.Join(h.dir, "sinks"), 0o700))
	h.write(profile, text+"\n[[sink]]\npath = \""+filepath.Join(h.dir, "sinks", "token")+"\"\n")
	h.kill()
	h.write("state/cache.db", "damaged")
	h.start()
	h.get("clms", token.Query{Fresh: true})
	waitFor(t, "the sink", func() bool { return service.Exists(filepath.Join(h.dir, "sinks", "token")) })
	out, status := ends(t, h.tokend("uninstall", "--user", "--purge", "--yes"))
	if status != exitRunning || !strings.Contains(out, "serves at") {
		t.Errorf("while it runs: status %d\n%s", status, out)
	}
	h.get("clms", token.Query{})
	h.kill()
	if out, status := ends(t, h.tokend("uninstall", "--user", "--purge", "--yes")); status != 0 || !strings.Contains(out, "Deleted.") || strings.Contains(out, "Left: ") {
		t.Errorf("status %d\n%s", status, out)
	}
	for _, dir := range []string{"config", "state"} {
		if service.Exists(filepath.Join(h.dir, dir)) {
			t.Errorf("%s is still there", dir)
		}
	}
}
