package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"

	"tokend/daemon"
	"tokend/internal/checktest"
	"tokend/providers/token"
)

// needLandlock skips a test where the kernel has no Landlock.
func needLandlock(t *testing.T) {
	t.Helper()
	if _, err := ll.LandlockGetABIVersion(); err != nil {
		checktest.Unable(t, "this kernel has no Landlock: %v", err)
	}
}

// A sandboxed process does what serving takes, and nothing else.
func TestSandboxKeepsTokendToItsFiles(t *testing.T) {
	needLandlock(t)
	dir := t.TempDir()
	for name, text := range map[string]string{
		"config/config.toml": "", "dotfiles/a.toml": "", "state/install.toml": "", "ca/ca.pem": "", "run/tokend.sock": "",
		"sinks/token": "", "home/.ssh/id": "", "credentials/kek": "", "sibling/file": "",
	} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "config", "profiles.d"), 0o700),
		os.Symlink("../../dotfiles/a.toml", filepath.Join(dir, "config", "profiles.d", "a.toml"))); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("tokend-sandbox") // trySandbox
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CREDENTIALS_DIRECTORY="+filepath.Join(dir, "credentials"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	want := `sandbox landlock: ok
may read config.toml
may read a profile that is a link
may read install.toml
may read a credential
may read the CA file
may read /etc/passwd
may read a process's name
may write a profile
may replace a record
may make and remove a directory
may begin a new audit log
may write a sink
may remove the socket
may open /dev/null
may connect to a socket
may not read another file of the user
may not list the root directory
may not write beside config.toml's directory
may not write where it may read
may not make a socket's neighbour
may not write beside a sink's directory
may not run itself
may not run another program
may not look into another process
`
	if string(out) != want {
		t.Errorf("got\n%s\nwant\n%s", out, want)
	}
}

// trySandbox is a program that enters the sandbox of an installation in its
// directory, and prints what it may do there.
func trySandbox() {
	dir, err := os.Getwd()
	if err != nil {
		fmt.Println(err)
		return
	}
	at := func(parts ...string) string { return filepath.Join(append([]string{dir}, parts...)...) }
	dirs := daemon.Dirs{Config: at("config"), State: at("state")}
	config := daemon.DefaultConfig()
	config.CAFile, config.Audit = at("ca", "ca.pem"), at("log", "audit.log")
	listener, err := net.Listen("unix", at("listening"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer listener.Close()
	fmt.Println("sandbox", newSandbox(dirs, config, at("run", "tokend.sock"), []string{at("sinks")}).enter())

	read := func(path string) error { _, err := os.ReadFile(path); return err }
	write := func(path string) error { return os.WriteFile(path, []byte("new"), 0o600) }
	for _, try := range []struct {
		what string
		err  error
	}{
		{"read config.toml", read(dirs.ConfigFile())},
		{"read a profile that is a link", read(dirs.ProfileFile("a"))},
		{"read install.toml", read(at("state", "install.toml"))},
		{"read a credential", read(at("credentials", "kek"))},
		{"read the CA file", read(config.CAFile)},
		{"read /etc/passwd", read("/etc/passwd")},
		{"read a process's name", read(fmt.Sprintf("/proc/%d/comm", os.Getppid()))},
		{"write a profile", write(dirs.ProfileFile("b"))},
		{"replace a record", errors.Join(write(at("state", "new")), os.Rename(at("state", "new"), at("state", "old")), write(at("state", "old")))},
		{"make and remove a directory", errors.Join(os.MkdirAll(at("state", "x", "y"), 0o700), os.RemoveAll(at("state", "x")))},
		{"begin a new audit log", errors.Join(write(config.Audit), os.Rename(config.Audit, config.Audit+".1"), write(config.Audit))},
		{"write a sink", errors.Join(write(at("sinks", "other")), os.Remove(at("sinks", "token")))},
		{"remove the socket", os.Remove(at("run", "tokend.sock"))},
		{"open /dev/null", write(os.DevNull)},
		{"connect to a socket", dial(at("listening"))},
		{"read another file of the user", read(at("home", ".ssh", "id"))},
		{"list the root directory", read("/")},
		{"write beside config.toml's directory", write(at("new"))},
		{"write where it may read", write(at("ca", "new"))},
		{"make a socket's neighbour", write(at("run", "new"))},
		{"write beside a sink's directory", write(at("sibling", "file"))},
		{"run itself", (&exec.Cmd{Path: "/proc/self/exe", Args: []string{"tokend", "version"}}).Run()},
		{"run another program", exec.Command("/bin/sh", "-c", "true").Run()},
		{"look into another process", look(os.Getppid())},
	} {
		switch {
		case try.err == nil:
			fmt.Println("may", try.what)
		case errors.Is(try.err, fs.ErrPermission):
			fmt.Println("may not", try.what)
		default:
			fmt.Println(try.what, "fails:", try.err)
		}
	}
}

// look does what takes the right to trace a process (ptrace(2)).
func look(pid int) error {
	_, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	return err
}

func dial(path string) error {
	c, err := net.Dial("unix", path)
	if err == nil {
		err = c.Close()
	}
	return err
}

// A file to read in the home opens that file, not the home.
func TestSandboxDoesNotOpenTheHome(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	for file, want := range map[string]string{
		filepath.Join(home, "ca.pem"):               filepath.Join(home, "ca.pem"),
		filepath.Join(filepath.Dir(home), "ca.pem"): filepath.Join(filepath.Dir(home), "ca.pem"),
		"/ca.pem":                       "/ca.pem",
		filepath.Join(home, "x/ca.pem"): filepath.Join(home, "x"),
		"/srv/ca.pem":                   "/srv",
		home + "-of-another/ca.pem":     home + "-of-another",
	} {
		if got := beside(file); got != want {
			t.Errorf("%s: %s, want %s", file, got, want)
		}
	}
}

// Of the profiles those are looked at one by one that may lie elsewhere.
func TestSandboxLooksForProfilesThatLieElsewhere(t *testing.T) {
	dir := t.TempDir()
	real, link := filepath.Join(dir, "real"), filepath.Join(dir, "link")
	if err := errors.Join(os.Mkdir(real, 0o700), os.WriteFile(filepath.Join(real, "a.toml"), nil, 0o600),
		os.Symlink("../b.toml", filepath.Join(real, "b.toml")), os.Symlink("../c", filepath.Join(real, "c")), os.Symlink("real", link)); err != nil {
		t.Fatal(err)
	}
	if got := linksIn(real); !slices.Equal(got, []string{filepath.Join(real, "b.toml")}) {
		t.Errorf("%q", got)
	}
	if got := slices.Sorted(slices.Values(linksIn(link))); !slices.Equal(got, []string{filepath.Join(link, "a.toml"), filepath.Join(link, "b.toml")}) {
		t.Errorf("through a link: %q", got)
	}
}

// Where a filter of system calls hides Landlock, no rule is in force and no
// call says so; tokend notices.
func TestSandboxThatIsNotInForceIsNoticed(t *testing.T) {
	cmd := exec.Command("tokend-filtered") // tryFiltered
	cmd.Dir = t.TempDir()
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "landlock: not in force: the kernel does not offer it, or") {
		t.Errorf("%s, %v", out, err)
	}
}

// tryFiltered is a program that enters a sandbox behind such a filter, and
// prints what came of it.
func tryFiltered() {
	if err := refuseLandlock(); err != nil {
		fmt.Println(err)
	}
	dirs := daemon.Dirs{Config: "config", State: "state"}
	fmt.Println(newSandbox(dirs, daemon.DefaultConfig(), "run/tokend.sock", nil).enter())
}

// refuseLandlock has the kernel refuse Landlock's system calls to all threads
// of this process (seccomp(2)).
func refuseLandlock() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // the call's number
		{Code: unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K, K: unix.SYS_LANDLOCK_CREATE_RULESET, Jf: 2},
		{Code: unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K, K: unix.SYS_LANDLOCK_RESTRICT_SELF, Jt: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return errno
	}
	return nil
}

// The running daemon is confined, says so, and works.
func TestTokendIsConfined(t *testing.T) {
	needLandlock(t)
	h := sealedHome(t)
	sandbox := func() string {
		st, err := h.client.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return st.Sandbox
	}
	if got := sandbox(); got != "landlock: ok" {
		t.Errorf("sandbox %q", got)
	}

	// A sink that comes in a directory that it does not know.
	if err := os.Mkdir(filepath.Join(h.dir, "sinks"), 0o700); err != nil {
		t.Fatal(err)
	}
	profile, err := os.ReadFile(filepath.Join(h.dir, "config", "profiles.d", "clms.toml"))
	if err != nil {
		t.Fatal(err)
	}
	sink := filepath.Join(h.dir, "sinks", "token")
	h.write("config/profiles.d/clms.toml", string(profile)+fmt.Sprintf("\n[[sink]]\npath = %q\n", sink))
	if err := h.client.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.profileWarns("clms", "confined to other directories when it started; restart it")
	h.kill()
	h.start()
	h.get("clms", token.Query{})
	for begin := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(sink); err == nil {
			break
		} else if time.Since(begin) > 20*time.Second {
			t.Fatal(err)
		}
	}

	h.kill()
	h.write("config/config.toml", fmt.Sprintf("ca_file = %q\nproxy = \"none\"\nsandbox = false\n", filepath.Join(h.dir, "ca.pem")))
	h.start()
	if got := sandbox(); got != "off, as config.toml says" {
		t.Errorf("sandbox %q", got)
	}
}

// profileWarns waits until status warns of this.
func (h *home) profileWarns(name, want string) {
	h.t.Helper()
	for begin := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		p, err := h.client.Profile(h.t.Context(), name)
		if err == nil && strings.Contains(strings.Join(p.Warnings, "\n"), want) {
			return
		}
		if time.Since(begin) > 20*time.Second {
			h.t.Fatalf("%s warns of %q, not %q (%v)", name, p.Warnings, want, err)
		}
	}
}
