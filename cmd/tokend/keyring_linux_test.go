package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"tokend/cmd/tokend/service"
	"tokend/packaging/checktest"
	"tokend/providers/token"
	"tokend/store/keyringtest"
)

// Cases 2 and 7 of the threat model, of the whole program: started while the keyring is locked,
// tokend is ready, says so and does not wait. When the keyring is unlocked
// it finds that out by itself, and reads the cache: the issuer need not be
// there. The same when the keyring dies and comes back.
func TestStartedWhileTheKeyringIsLocked(t *testing.T) {
	session := keyringtest.Start(t)
	h := newHome(t, session.Env...)
	h.setup("--keystore", "os")
	h.start()
	h.add(h.clms("clms", 2048))
	held := h.get("clms", token.Query{})
	h.cacheSays("ok")
	items := keyringItems(t)
	h.kill()

	session.Lock()
	check(t, h.issuers.Stop())
	h.start() // which waits for its first answer
	h.waitForStatus("locked", func(st token.Status) bool { return st.Keystore == "os: locked" && strings.Contains(st.Cache, "locked") })
	began := time.Now()
	if _, err := h.client.Get(t.Context(), "clms", token.Query{}); !errors.Is(err, token.ErrLocked) || time.Since(began) > 3500*time.Millisecond {
		t.Errorf("locked: %v after %v", err, time.Since(began))
	}
	session.Unlock()
	waitFor(t, "the cached token, once it is unlocked", func() bool {
		tok, err := h.client.Get(t.Context(), "clms", token.Query{})
		return err == nil && tok.Secret.Reveal() == held
	})
	if after := keyringItems(t); after != items {
		t.Error("the keyring holds something else than before it was locked: another key for the cache?")
	}
	if out, status := h.tokenctl("unlock"); status != 0 {
		t.Errorf("tokenctl unlock: status %d: %s", status, out)
	}

	session.KillKeyring()
	h.waitForStatus("locked again", func(st token.Status) bool { return st.Keystore == "os: locked" })
	if h.get("clms", token.Query{}) != held {
		t.Error("the cached token is not served while the keyring is gone")
	}
	if out, status := h.tokenctl("unlock", "--timeout", "0"); status != 6 {
		t.Errorf("tokenctl unlock without a display: status %d: %s", status, out)
	}
	session.Unlock()
	h.waitForStatus("unlocked again", func(st token.Status) bool { return st.Keystore == "os: ok" })
	check(t, h.issuers.Resume())
	waitFor(t, "a new token", func() bool {
		_, err := h.client.Get(t.Context(), "clms", token.Query{Fresh: true})
		return err == nil
	})
}

// With a real KeePassXC and the settings that it comes with, setup asks nothing and says
// what is to come, a fresh tokend asks nothing by itself and is not "ok", and
// tokenctl unlock has KeePassXC ask once.
func TestKeePassXCIsTheKeyring(t *testing.T) {
	xc := keyringtest.StartKeePassXC(t, true)
	h := newHome(t, xc.Env...)
	if out := h.setup("--keystore", "os"); !strings.Contains(out, "tokenctl unlock") || !strings.Contains(out, "Allow Selected") {
		t.Errorf("setup says %q", out)
	}
	h.start()
	h.waitForStatus("consent missing", func(st token.Status) bool {
		return strings.Contains(st.Keystore, "locked: a person must allow") && strings.Contains(st.Keystore, "tokenctl unlock")
	})
	unlocked := make(chan struct{})
	go func() {
		defer close(unlocked)
		if out, status := h.tokenctl("unlock"); status != 0 {
			t.Errorf("tokenctl unlock: status %d: %s", status, out)
		}
	}()
	xc.Answer("Access Request", "Return")
	<-unlocked
	h.waitForStatus("consent", func(st token.Status) bool { return st.Keystore == "os: ok" && st.Cache == "ok" })
	h.add(h.clms("clms", 2048))
	h.get("clms", token.Query{Fresh: true})
	if out, status := h.tokenctl("remove", "clms", "--yes"); status != 0 {
		t.Errorf("tokenctl remove: status %d: %s", status, out)
	}
	if windows := xc.Windows(); strings.Count(windows, "KeePassXC") != 1 {
		t.Errorf("KeePassXC asks something else: %q", windows)
	}
}

func (h *home) waitForStatus(what string, ok func(token.Status) bool) {
	h.t.Helper()
	waitFor(h.t, what, func() bool {
		st, err := h.client.Status(h.t.Context())
		return err == nil && ok(st)
	})
}

// keyringItems are the names and values of tokend's items.
func keyringItems(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("secret-tool", "search", "--all", "service", "tokend").Output()
	if err != nil || !strings.Contains(string(out), "secret = ") {
		t.Fatalf("secret-tool: %v: %s", err, out)
	}
	var lines []string
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "label = ") || strings.HasPrefix(line, "secret = ") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

// Case 3 of the threat model: with no session bus and the real dbus-launch installed, which programs
// start to have one, neither tokend nor tokenctl starts any process. What they
// start would have their mark in its environment.
func TestNoBusIsStartedForWantOfOne(t *testing.T) {
	checktest.Need(t, "dbus-launch")
	if service.Exists(fmt.Sprintf("/run/user/%d/bus", os.Getuid())) {
		checktest.Unable(t, "this user has a session bus at the place where one is looked for")
	}
	session := keyringtest.Start(t)
	const mark = "TOKEND_TEST_MARK"
	marked := mark + "=" + filepath.Base(t.TempDir()) + strconv.Itoa(os.Getpid())
	h := newHome(t, append(session.Env, marked)...)
	h.setup("--keystore", "os")
	session.KillBus()
	keyringtest.NoBus(t)
	h.env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + h.dir, "DISPLAY=:99", marked}

	// The mark finds what dbus-launch starts.
	launch := exec.Command("dbus-launch", "--sh-syntax")
	launch.Env = h.env
	out, err := launch.Output()
	if err != nil {
		t.Fatalf("dbus-launch: %v", err)
	}
	started := processesWith(t, marked)
	if len(started) == 0 || !strings.Contains(string(out), "DBUS_SESSION_BUS_PID") {
		t.Fatalf("a bus that was started is not found: %s", out)
	}
	for _, pid := range started {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	waitFor(t, "the bus's end", func() bool { return len(processesWith(t, marked)) == 0 })

	h.unconfined() // the sandbox would not let it start another program
	h.start()
	for range 20 {
		for _, args := range [][]string{{"status"}, {"get", "clms"}, {"unlock"}, {"doctor"}} {
			cmd := exec.Command("tokenctl", append(args, "--socket", h.client.Socket)...)
			cmd.Env = h.env
			_ = cmd.Run() // there is no keyring
		}
	}
	if st, err := h.client.Status(t.Context()); err != nil || !strings.Contains(st.Keystore, "no D-Bus session bus") {
		t.Errorf("status says of the keystore: %q, %v", st.Keystore, err)
	}
	h.kill()
	if left := processesWith(t, marked); len(left) != 0 {
		t.Errorf("%d processes were started and are left", len(left))
		for _, pid := range left {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// processesWith are the processes that have a line in their environment.
func processesWith(t *testing.T, line string) (pids []int) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/environ")
	check(t, err)
	for _, file := range files {
		environ, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(environ, []byte(line)) { // gone, or not ours
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		check(t, err)
		pids = append(pids, pid)
	}
	return pids
}

// Case 6 of the threat model, of the whole program: the bus dies, and tokend neither ends nor
// spins; it comes back, and so does the keystore.
func TestTheBusDiesUnderARunningDaemon(t *testing.T) {
	session := keyringtest.Start(t)
	h := newHome(t, session.Env...)
	h.setup("--keystore", "os")
	h.start()
	h.add(h.clms("clms", 2048))
	held := h.get("clms", token.Query{})
	session.KillBus()
	h.waitForStatus("unavailable", func(st token.Status) bool { return strings.Contains(st.Keystore, "D-Bus") })
	// A closed channel in a loop takes all there is.
	before := cpuTime(t, h.daemon.Process.Pid)
	time.Sleep(2 * time.Second)
	if used := cpuTime(t, h.daemon.Process.Pid) - before; used > 200*time.Millisecond {
		t.Errorf("tokend used %v of two seconds while there was nothing to do", used)
	}
	if h.get("clms", token.Query{}) != held {
		t.Error("the cached token is not served while the bus is gone")
	}
	session.RestartBus()
	h.waitForStatus("a new bus, and a locked keyring", func(st token.Status) bool { return st.Keystore == "os: locked" })
	session.Unlock()
	h.get("clms", token.Query{Fresh: true})
}

// cpuTime is how much a process has computed (proc(5), stat).
func cpuTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	text := read(t, fmt.Sprintf("/proc/%d/stat", pid))
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+2:])
	var ticks int
	for _, field := range fields[11:13] { // utime, stime
		n, err := strconv.Atoi(field)
		check(t, err)
		ticks += n
	}
	return time.Duration(ticks) * time.Second / 100
}

// unconfined has tokend do without its sandbox.
func (h *home) unconfined() {
	h.t.Helper()
	file := filepath.Join(h.dir, "config", "config.toml")
	text := read(h.t, file)
	h.write("config/config.toml", text+"sandbox = false\n")
}

// Whatever is lost of a keystore, "tokend setup --reset" says which secrets are lost
// with it, and a rotation of each profile ends the loss. A purge works without it.
func TestALostKeystoreIsNoDeadEnd(t *testing.T) {
	for name, c := range map[string]struct {
		keystore string
		lose     func(h *home, s *keyringtest.Session)
	}{
		"the keyring's bus":    {"os", func(_ *home, s *keyringtest.Session) { s.KillBus() }},
		"the keyring":          {"os", func(_ *home, s *keyringtest.Session) { s.Lock() }},
		"the key":              {"sealed", func(h *home, _ *keyringtest.Session) { h.remove("key") }},
		"the right key":        {"sealed", func(h *home, _ *keyringtest.Session) { h.remove("key"); h.write("key", strings.Repeat("x", 32)) }},
		"the record":           {"sealed", func(h *home, _ *keyringtest.Session) { h.remove("state/install.toml") }},
		"the record's content": {"os", func(h *home, _ *keyringtest.Session) { h.write("state/install.toml", "id = ") }},
	} {
		t.Run(name, func(t *testing.T) {
			session := keyringtest.Start(t)
			h := newHome(t, session.Env...)
			tokend := func(args ...string) (string, int) { return ends(t, h.tokend(args...)) }
			sealed := []string{"--keystore", "sealed", "--key-file", filepath.Join(h.dir, "key")}
			h.setup(map[string][]string{"os": {"--keystore", "os"}, "sealed": sealed}[c.keystore]...)
			h.start()
			key := h.clms("clms", 2048)
			h.add(key)
			reset := append([]string{"setup", "--reset", "--yes"}, sealed...)
			if out, status := tokend(reset...); status != exitRunning {
				t.Errorf("while tokend runs: status %d: %s", status, out)
			}
			h.get("clms", token.Query{Fresh: true})
			h.kill()
			c.lose(h, session)
			if out, status := tokend(append([]string{"setup", "--reset"}, sealed...)...); status != exitUsage || !strings.Contains(out, "the secrets of clms.") {
				t.Errorf("without a terminal to ask at: status %d: %s", status, out)
			}
			out, status := tokend(reset...)
			if status != 0 || !strings.Contains(out, "the secrets of clms.") || !strings.Contains(out, "Then: tokenctl rotate clms") {
				t.Fatalf("status %d: %s", status, out)
			}
			h.start()
			if _, err := h.client.Rotate(t.Context(), token.CreateProfile{Name: "clms", Secrets: key.Secrets}); err != nil {
				t.Fatal(err)
			}
			h.get("clms", token.Query{Fresh: true})
			h.kill()
			h.write("state/install.toml", "id = ")
			if out, status := tokend("uninstall", "--user", "--purge", "--yes"); status != 0 || service.Exists(filepath.Join(h.dir, "state")) {
				t.Errorf("purge: status %d: %s", status, out)
			}
		})
	}
}

// A purge says what stays in a keyring that cannot be used.
func TestPurgeWithoutTheKeyring(t *testing.T) {
	for name, lose := range map[string]func(*keyringtest.Session){"no bus": (*keyringtest.Session).KillBus, "locked": (*keyringtest.Session).Lock} {
		t.Run(name, func(t *testing.T) {
			session := keyringtest.Start(t)
			h := newHome(t, session.Env...)
			h.setup("--keystore", "os")
			lose(session)
			out, status := ends(t, h.tokend("uninstall", "--user", "--purge", "--yes"))
			if status != 0 || service.Exists(filepath.Join(h.dir, "state")) || strings.Count(out, "secret-tool clear service tokend") != 2 {
				t.Errorf("status %d: %s", status, out)
			}
		})
	}
}
