package confine

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
	"unsafe"

	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"

	"tokend/daemon/profile"
	"tokend/packaging/checktest"
	"tokend/providers/token"
)

// TestMain is also the program that a test runs in a sandbox.
func TestMain(m *testing.M) {
	switch mode := os.Getenv("CONFINE_TEST"); mode {
	case "":
		os.Exit(m.Run())
	case "filtered":
		tryFiltered()
	case "remade":
		tryRemade()
	case "within reach":
		tryWithinReach()
	default:
		tryFiles(mode)
	}
}

// run runs this program in a directory, in a mode of TestMain.
func run(t *testing.T, dir, mode string) string {
	t.Helper()
	if _, err := ll.LandlockGetABIVersion(); err != nil {
		checktest.Unable(t, "this kernel has no Landlock: %v", err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CONFINE_TEST="+mode, "HOME="+filepath.Join(dir, "home"), "CREDENTIALS_DIRECTORY="+filepath.Join(dir, "credentials"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// A confined process can do what serving needs, and nothing else: also with the
// default configuration, started in an unrelated directory.
func TestFilesOutOfReach(t *testing.T) {
	for _, mode := range []string{"configured", "default"} {
		if got := run(t, installation(t), mode); got != "sandbox landlock: ok\n" {
			t.Errorf("%s: %s", mode, got)
		}
	}
}

// installation is a directory with an installation, and files beside it.
func installation(t *testing.T) string {
	t.Helper()
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
	return dir
}

// tryFiles confines the program to an installation in its directory, and prints what it
// may do there and should not, or the reverse.
func tryFiles(mode string) {
	dir, err := os.Getwd()
	if err != nil {
		fmt.Println(err)
		return
	}
	at := func(parts ...string) string { return filepath.Join(append([]string{dir}, parts...)...) }
	dirs := profile.Dirs{Config: at("config"), State: at("state")}
	config := profile.DefaultConfig()
	ca, audit := at("ca", "ca.pem"), at("state", "audit.log")
	if mode == "configured" {
		config.CAFile, audit = ca, at("log", "audit.log")
	}
	listener, err := net.Listen("unix", at("listening"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer listener.Close()
	fmt.Println("sandbox", NewFiles(dirs, config, at("run", "tokend.sock"), audit, []string{at("sinks")}).Enter())

	read := func(path string) error { _, err := os.ReadFile(path); return err }
	write := func(path string) error { return os.WriteFile(path, []byte("new"), 0o600) }
	for _, try := range []struct {
		may  bool
		what string
		err  error
	}{
		{true, "read config.toml", read(dirs.ConfigFile())},
		{true, "read a profile that is a link", read(dirs.ProfileFile("a"))},
		{true, "read install.toml", read(at("state", "install.toml"))},
		{true, "read a credential", read(at("credentials", "kek"))},
		{mode == "configured", "read the CA file", read(ca)},
		{true, "read /etc/passwd", read("/etc/passwd")},
		{true, "read a process's name", read(fmt.Sprintf("/proc/%d/comm", os.Getppid()))},
		{true, "write a profile", write(dirs.ProfileFile("b"))},
		{true, "replace a record", errors.Join(write(at("state", "new")), os.Rename(at("state", "new"), at("state", "old")), write(at("state", "old")))},
		{true, "make and remove a directory", errors.Join(os.MkdirAll(at("state", "x", "y"), 0o700), os.RemoveAll(at("state", "x")))},
		{true, "begin a new audit log", errors.Join(write(audit), os.Rename(audit, audit+".1"), write(audit))},
		{true, "write a sink", errors.Join(write(at("sinks", "other")), os.Remove(at("sinks", "token")))},
		{true, "remove the socket and make it again", errors.Join(os.Remove(at("run", "tokend.sock")), bind(at("run", "tokend.sock")))},
		{true, "open /dev/null", write(os.DevNull)},
		{true, "connect to a socket", dial(at("listening"))},
		{false, "read another file of the user", read(at("home", ".ssh", "id"))},
		{false, "list the root directory", read("/")},
		{false, "write beside config.toml's directory", write(at("new"))},
		{false, "write where it may read", write(at("ca", "new"))},
		{false, "make a socket's neighbour", write(at("run", "new"))},
		{false, "write beside a sink's directory", write(at("sibling", "file"))},
		{false, "run itself", (&exec.Cmd{Path: "/proc/self/exe", Args: []string{"tokend", "version"}}).Run()},
		{false, "run another program", exec.Command("/bin/sh", "-c", "true").Run()},
		{false, "look into another process", look(os.Getppid())},
	} {
		if may := !errors.Is(try.err, fs.ErrPermission); may != try.may || may && try.err != nil {
			fmt.Printf("to %s: %v\n", try.what, try.err)
		}
	}
}

// look does what takes the right to trace a process (ptrace(2)).
func look(pid int) error {
	_, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	return err
}

func bind(path string) error {
	l, err := net.Listen("unix", path)
	if err == nil {
		err = l.Close()
	}
	return err
}

func dial(path string) error {
	c, err := net.Dial("unix", path)
	if err == nil {
		err = c.Close()
	}
	return err
}

// What a rule opens by mistake is found out: the working directory and the home.
func TestWhatIsWithinReachIsNoticed(t *testing.T) {
	dir := installation(t)
	checktest.NoError(t, os.WriteFile(filepath.Join(dir, "home", "file"), nil, 0o600))
	for _, from := range []string{dir, filepath.Join(dir, "home")} {
		if got, want := run(t, from, "within reach"), "landlock: not active: tokend can still read "+dir+"/home\n"; got != want {
			t.Errorf("from %s: got %q, want %q", from, got, want)
		}
	}
	checktest.NoError(t, os.RemoveAll(filepath.Join(dir, "home")))
	if got, want := run(t, dir, "within reach"), "landlock: not active: tokend can still read "+dir+"\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// tryWithinReach is confined with a rule for the working directory that no one
// wants, as "" becomes where a path is made plain.
func tryWithinReach() {
	f := Files{read: []string{"."}}
	fmt.Println(f.Enter())
}

// A directory that was made again after the start is out of reach, and tokend says
// so, whichever file of those that other programs write it holds.
func TestFileInADirectoryThatWasRemade(t *testing.T) {
	dir := installation(t)
	started, after, _ := strings.Cut(run(t, dir, "remade"), "\n")
	if started != "landlock: ok " || !strings.Contains(after, "tokend cannot read "+dir+"/ca/ca.pem") || !strings.Contains(after, "restart tokend") {
		t.Errorf("at the start %q, after it was made again %q", started, after)
	}
}

func tryRemade() {
	dir, _ := os.Getwd()
	config := profile.DefaultConfig()
	config.CAFile = filepath.Join(dir, "ca", "ca.pem")
	f := NewFiles(profile.Dirs{Config: filepath.Join(dir, "config"), State: filepath.Join(dir, "state")}, config, filepath.Join(dir, "run", "s"), "", nil)
	remake := exec.Command("sh", "-c", "read line; rm -r ca; mkdir ca; touch ca/ca.pem")
	begin, err := remake.StdinPipe()
	if err := errors.Join(err, remake.Start()); err != nil {
		fmt.Println(err)
	}
	fmt.Println(f.Enter(), f.Fault())
	_ = begin.Close()
	_ = remake.Wait()
	fmt.Println(f.Fault())
}

// A file to read in the home opens that file, not the home.
func TestFilesDoNotOpenTheHome(t *testing.T) {
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

// Only profiles that may be stored elsewhere are allowed one by one.
func TestProfilesStoredElsewhere(t *testing.T) {
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

// Where a filter of system calls hides Landlock, no call fails and no rule is
// active; tokend notices.
func TestLandlockThatIsNotActive(t *testing.T) {
	if got := run(t, t.TempDir(), "filtered"); !strings.HasPrefix(got, "landlock: not active: the kernel does not offer it, or") {
		t.Error(got)
	}
}

// tryFiltered confines the program behind such a filter, and prints the outcome.
func tryFiltered() {
	if err := refuseLandlock(); err != nil {
		fmt.Println(err)
	}
	dirs := profile.Dirs{Config: "config", State: "state"}
	fmt.Println(NewFiles(dirs, profile.DefaultConfig(), "run/tokend.sock", "", nil).Enter())
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

func TestUserNamespacesInWhichCallersLookAlike(t *testing.T) {
	for text, good := range map[string]bool{
		"         0          0 4294967295\n":            true,  // none
		"0 1000 1\n1 100000 65536\n":                    true,  // a container without root
		"0 524288 65536\n":                              true,  // a container
		"0 0 65536\n":                                   true,  // PrivateUsers=identity
		"         0          0          1\n993 993 1\n": false, // PrivateUsers=yes
		"0 1000 1\n":                                    false, // unshare -Ur
		"":                                              false, // unshare -U
		"nonsense\n":                                    false,
	} {
		err := checkUIDMap(text)
		if good != (err == nil) || err != nil && !errors.Is(err, token.ErrInvalid) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
