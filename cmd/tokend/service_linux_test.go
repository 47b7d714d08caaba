package main

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"tokend/daemon"
	"tokend/ipc"
	"tokend/packaging"
	"tokend/providers/token"
)

// asPackaged is a definition of what packages install.
func asPackaged(t *testing.T, system bool) definition {
	t.Helper()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	if system {
		return definition{system: true, program: "/usr/bin/tokend", socket: "/run/tokend/tokend.sock",
			dirs: daemon.Dirs{Config: "/etc/tokend", State: "/var/lib/tokend"}}
	}
	return definition{program: "/usr/bin/tokend", socket: "/run/user/" + me.Uid + "/tokend/tokend.sock", dirs: daemon.Dirs{
		Config: filepath.Join(me.HomeDir, ".config/tokend"), State: filepath.Join(me.HomeDir, ".local/state/tokend")}}
}

// What install writes and what packages ship is the same.
func TestUnitsDoNotDrift(t *testing.T) {
	for _, system := range []bool{false, true} {
		for _, name := range unitNames {
			name := path.Join(systemdServices{system}.folder(), name)
			want, err := packaging.Services.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := asPackaged(t, system).unit(name); err != nil || got != string(want) {
				t.Errorf("%s: %v\n%s", name, err, got)
			}
		}
	}
}

// oddPaths are directories whose names mean something to systemd. Case 35 of
// the threat model.
var oddPaths = []string{`a b`, `50%`, `%h`, `%n of %t`, `a"b`, `a'b`, `a\b`, `a\x20b`, `a;b`, `; x`, `#a`, `ä€`, `${X}`, `$$`}

// systemd takes paths for what they are, whatever they mean to it.
func TestUnitsOfOddPaths(t *testing.T) {
	need(t, "systemd-analyze")
	runs, err := os.ReadFile("/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	for _, odd := range oddPaths {
		for _, system := range []bool{false, true} {
			dir, units := filepath.Join(t.TempDir(), odd, "x"), t.TempDir()
			d := asPackaged(t, system)
			d.socket = filepath.Join(dir, "s")
			d.dirs = daemon.Dirs{Config: filepath.Join(dir, "config"), State: filepath.Join(dir, "state")}
			bin := dir
			if strings.ContainsAny(odd, `$"'\`) { // in the other paths alone
				bin = t.TempDir()
			}
			d.program = filepath.Join(bin, "tokend")
			var files, args []string
			for _, file := range []string{d.program, filepath.Join(bin, "tokenctl")} {
				if err := errors.Join(os.MkdirAll(bin, 0o755), os.WriteFile(file, runs, 0o755)); err != nil {
					t.Fatal(err)
				}
			}
			for _, name := range unitNames {
				text, err := d.unit(path.Join(systemdServices{system}.folder(), name))
				if err != nil {
					t.Fatalf("%s: %v", odd, err)
				}
				file := filepath.Join(units, name)
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				files = append(files, file)
			}
			if !system {
				args = []string{"--user"}
			}
			verify(t, append(args, files...)...)
		}
	}
}

// What no unit can hold is refused before anything is written. Case 35 of the
// threat model.
func TestPathsThatNoUnitCanHold(t *testing.T) {
	for _, path := range []string{"/a\nExecStartPre=/bin/sh", "/a\rb", "/a\x00b", "/a\x7fb", "/a\x1b[2J", "/a\u0085b", "/a\xff"} {
		if err := checkPlain(path); !errors.Is(err, token.ErrInvalid) || strings.ContainsAny(err.Error(), "\n\r\x1b") {
			t.Errorf("%q: %v", path, err)
		}
	}
	for _, odd := range oddPaths {
		if err := checkPlain("/" + odd); err != nil {
			t.Error(err)
		}
	}
	for _, program := range []string{"/opt/$x/tokend", `/opt/a"b/tokend`, "/opt/a'b/tokend", `/opt/a\b/tokend`} {
		d := asPackaged(t, false)
		d.program = program
		if _, err := d.unit("systemd/user/tokend.service"); !errors.Is(err, token.ErrInvalid) {
			t.Errorf("%s, which systemd cannot run: %v", program, err)
		}
	}
	for _, socket := range []string{`/run/a\`, "/run/a "} {
		d := asPackaged(t, false)
		d.socket = socket
		if _, err := d.unit("systemd/user/tokend.socket"); !errors.Is(err, token.ErrInvalid) {
			t.Errorf("socket %q: %v", socket, err)
		}
	}
}

// A fakeSystemctl says of itself what the real one says, fails as it is told
// to, and remembers how it was called. What the real one makes of the units is
// tried by packaging/boottest/user.sh.
type fakeSystemctl struct {
	t    *testing.T
	dir  string
	home string
}

func newFakeSystemctl(t *testing.T) fakeSystemctl {
	t.Helper()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	f := fakeSystemctl{t: t, dir: t.TempDir(), home: t.TempDir()}
	script := `#!/bin/sh
for arg; do shift; case $arg in --user|--no-*|--quiet) ;; *) set -- "$@" "$arg" ;; esac; done
dir=` + f.dir + `
echo "$*" >>$dir/calls
if [ -e "$dir/fail-$1" ]; then cat "$dir/fail-$1" >&2; exit 1; fi
case "$*" in
*UnitPath*) echo "/run/x ` + f.home + `/.config/systemd/user ` + me.HomeDir + `/never" ;;
show*) cat "$dir/$2" 2>/dev/null ;;
esac
true
`
	run := `#!/bin/sh
[ ! -e "` + f.dir + `/broken" ] || exit 1
case "$*" in *PrivateUsers=yes*) [ ! -e "` + f.dir + `/forbidden" ] ;; esac
`
	for name, text := range map[string]string{"systemctl": script, "systemd-run": run} {
		if err := os.WriteFile(filepath.Join(f.dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", f.dir+":"+os.Getenv("PATH"))
	t.Setenv("HOME", f.home)
	t.Setenv("XDG_CONFIG_HOME", "")
	defer func(dirs []string) { t.Cleanup(func() { userUnitDirs = dirs }) }(userUnitDirs)
	userUnitDirs = []string{filepath.Join(f.dir, "shipped")}
	return f
}

func (f fakeSystemctl) says(file, text string) {
	f.t.Helper()
	if err := os.WriteFile(filepath.Join(f.dir, file), []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

func (f fakeSystemctl) calls() string {
	f.t.Helper()
	text, err := os.ReadFile(filepath.Join(f.dir, "calls"))
	if err != nil {
		f.t.Fatal(err)
	}
	_ = os.Remove(filepath.Join(f.dir, "calls"))
	return string(text)
}

func (f fakeSystemctl) unit(name string) string {
	return filepath.Join(f.home, ".config/systemd/user", name)
}

func (f fakeSystemctl) definition() definition {
	return definition{program: "/usr/local/bin/tokend", socket: filepath.Join(f.home, "s"),
		dirs: daemon.Dirs{Config: filepath.Join(f.home, ".config/tokend"), State: filepath.Join(f.home, "state")}}
}

// Whatever was there before, installed is installed, for all to read and the
// owner to change. Case 35 of the threat model.
func TestInstallEndsInTheRightState(t *testing.T) {
	defer unix.Umask(unix.Umask(0))
	for name, before := range map[string]func(f fakeSystemctl){
		"nothing":     func(fakeSystemctl) {},
		"the same":    func(f fakeSystemctl) { f.install("") },
		"no socket":   func(f fakeSystemctl) { f.install(""); _ = os.Remove(f.unit(socketName)) },
		"half a unit": func(f fakeSystemctl) { f.install(""); _ = os.Truncate(f.unit(unitName), 20) },
		"other modes": func(f fakeSystemctl) { f.install(""); _ = os.Chmod(f.unit(unitName), 0o666) },
		"enabling failed": func(f fakeSystemctl) {
			f.says("fail-reenable", "Failed to enable unit: no luck\n")
			f.install("Failed to enable unit: no luck")
			_ = os.Remove(filepath.Join(f.dir, "fail-reenable"))
		},
		"reading failed": func(f fakeSystemctl) {
			f.says("fail-daemon-reload", "Failed to reload: no luck\n")
			f.install("Failed to reload: no luck")
			_ = os.Remove(filepath.Join(f.dir, "fail-daemon-reload"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeSystemctl(t)
			before(f)
			_ = os.Remove(filepath.Join(f.dir, "calls"))
			f.install("")
			if got := f.calls(); !strings.HasSuffix(got, "daemon-reload\nreenable tokend.service tokend.socket\n") {
				t.Errorf("systemctl was called\n%s", got)
			}
			for _, name := range unitNames {
				want, err := f.definition().unit(path.Join("systemd/user", name))
				if err != nil {
					t.Fatal(err)
				}
				got, err := os.ReadFile(f.unit(name))
				info, statErr := os.Stat(f.unit(name))
				if err != nil || statErr != nil || string(got) != want || info.Mode() != 0o644 {
					t.Errorf("%s: %v %v\n%s", name, err, info, got)
				}
			}
			err := filepath.WalkDir(f.home, func(path string, e fs.DirEntry, err error) error {
				if info, _ := e.Info(); path != f.home && info.Mode().Perm()&0o022 != 0 {
					t.Errorf("%s has mode %v", path, info.Mode())
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

func (f fakeSystemctl) install(fails string) {
	f.t.Helper()
	_, err := systemdServices{}.install(f.t.Context(), f.definition())
	if fails == "" && err != nil || fails != "" && (err == nil || !strings.Contains(err.Error(), fails)) {
		f.t.Fatalf("install: %v, want %q", err, fails)
	}
}

// Where a package brought the same units they are used; copies would hide what
// the package brings next.
func TestInstallUsesWhatAPackageBrought(t *testing.T) {
	f := newFakeSystemctl(t)
	f.install("")
	if err := os.Mkdir(userUnitDirs[0], 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range unitNames {
		text, err := os.ReadFile(f.unit(name))
		if err == nil {
			err = os.WriteFile(filepath.Join(userUnitDirs[0], name), text, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	files, err := systemdServices{}.install(t.Context(), f.definition())
	want := []string{filepath.Join(userUnitDirs[0], unitName), filepath.Join(userUnitDirs[0], socketName)}
	if err != nil || !slices.Equal(files, want) || exists(f.unit(unitName)) || exists(f.unit(socketName)) {
		t.Errorf("%v, %v", files, err)
	}
	// Another program than the package's has units of its own.
	d := f.definition()
	d.program = "/opt/tokend"
	files, err = systemdServices{}.install(t.Context(), d)
	if err != nil || !slices.Equal(files, []string{f.unit(unitName), f.unit(socketName)}) || !exists(f.unit(unitName)) {
		t.Errorf("another program: %v, %v", files, err)
	}
}

func TestInstallLeavesAMaskedUnitAlone(t *testing.T) {
	f := newFakeSystemctl(t)
	if err := errors.Join(os.MkdirAll(filepath.Dir(f.unit(unitName)), 0o755), os.Symlink(os.DevNull, f.unit(unitName))); err != nil {
		t.Fatal(err)
	}
	f.install("systemctl --user unmask tokend.service tokend.socket")
	if removed, err := (systemdServices{}).uninstall(t.Context()); len(removed) != 0 || err != nil || !masked(f.unit(unitName)) {
		t.Errorf("uninstall: %v, %v", removed, err)
	}
}

// Where users may make no namespaces the unit comes without the sandbox that
// takes them, and says so; where they may again, with it.
func TestInstallWhereThereCanBeNoSandbox(t *testing.T) {
	f := newFakeSystemctl(t)
	dropIn := filepath.Join(filepath.Dir(f.unit(unitName)), unitName+".d", noSandbox)
	f.says("forbidden", "")
	files, err := systemdServices{}.install(t.Context(), f.definition())
	if err != nil || !slices.Contains(files, dropIn) || !exists(dropIn) {
		t.Errorf("%v, %v", files, err)
	}
	f.says(unitName, "FragmentPath="+f.unit(unitName)+"\nDropInPaths="+dropIn+"\n")
	now, err := systemdServices{}.state(t.Context())
	if err != nil || !strings.Contains(strings.Join(now.notes, "\n"), "sandbox is off") {
		t.Errorf("%+v, %v", now, err)
	}
	_ = os.Remove(filepath.Join(f.dir, "forbidden"))
	f.install("")
	if exists(dropIn) || exists(filepath.Dir(dropIn)) {
		t.Error("it stays where it is not needed")
	}
	f.says("broken", "")
	f.install("")
	if exists(dropIn) {
		t.Error("where nothing can be tried the sandbox is given up")
	}
	_ = os.Remove(filepath.Join(f.dir, "broken"))
	f.says("forbidden", "")
	f.install("")
	if removed, err := (systemdServices{}).uninstall(t.Context()); err != nil || !slices.Contains(removed, dropIn) || exists(filepath.Dir(dropIn)) {
		t.Errorf("uninstall: %v, %v", removed, err)
	}
}

// It takes out of the unit whatever makes namespaces, and leaves the rest.
func TestNoSandboxIsNoNamespace(t *testing.T) {
	need(t, "systemd-analyze")
	units := t.TempDir()
	for _, name := range []string{unitName, socketName, noSandbox} {
		text, err := packaging.Services.ReadFile("systemd/user/" + name)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(units, name)
		if name == noSandbox {
			file = filepath.Join(units, unitName+".d", name)
		}
		installed := strings.ReplaceAll(string(text), "/usr/bin/token", "/bin/true #")
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(installed), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	verify(t, "--user", filepath.Join(units, unitName))
	unit, err := packaging.Services.ReadFile("systemd/user/" + unitName)
	if err != nil {
		t.Fatal(err)
	}
	without, err := packaging.Services.ReadFile("systemd/user/" + noSandbox)
	if err != nil {
		t.Fatal(err)
	}
	for _, setting := range []string{"PrivateUsers", "ProtectSystem", "ProtectHome", "ReadWritePaths", "PrivateTmp", "PrivateDevices", "ProtectControlGroups"} {
		if !strings.Contains(string(unit), "\n"+setting+"=") || !strings.Contains(string(without), "\n"+setting+"=") {
			t.Errorf("%s is not in both", setting)
		}
	}
}

// Uninstalling what is not there, or not wholly there, is no error. Case 35 of
// the threat model.
func TestUninstall(t *testing.T) {
	f := newFakeSystemctl(t)
	uninstall := func(want ...string) {
		t.Helper()
		removed, err := systemdServices{}.uninstall(t.Context())
		if err != nil || !slices.Equal(removed, want) {
			t.Errorf("%v, %v", removed, err)
		}
	}
	f.says("fail-stop", "Failed to stop tokend.service: Unit tokend.service not loaded.\n")
	f.says("fail-disable", "Failed to disable unit: Unit file tokend.service does not exist.\n")
	f.says("fail-reset-failed", "Failed to reset failed state of unit tokend.service: Unit tokend.service not loaded.\n")
	uninstall()
	f.install("")
	_ = os.Remove(f.unit(unitName))
	uninstall(f.unit(socketName))
	for _, name := range []string{"fail-stop", "fail-disable"} {
		_ = os.Remove(filepath.Join(f.dir, name))
	}
	f.install("")
	_ = f.calls()
	uninstall(f.unit(unitName), f.unit(socketName))
	want := "show --property=UnitPath --value\nstop tokend.service tokend.socket\ndisable tokend.service tokend.socket\ndaemon-reload\nreset-failed tokend.service tokend.socket\n"
	if got := f.calls(); got != want {
		t.Errorf("systemctl was called\n%s", got)
	}
	// What cannot be stopped is not taken away.
	f.install("")
	f.says("fail-stop", "Failed to stop tokend.service: Access denied\nSee more.\n")
	if removed, err := (systemdServices{}).uninstall(t.Context()); err == nil || err.Error() != "systemctl: Failed to stop tokend.service: Access denied" || len(removed) > 0 || !exists(f.unit(unitName)) {
		t.Errorf("%v, %v", removed, err)
	}
}

// Why the service did not start is told in tokend's own words, with its status.
func TestStartTellsWhyNot(t *testing.T) {
	f := newFakeSystemctl(t)
	f.says("fail-start", "Job for tokend.service failed because the control process exited with error code.\n")
	for _, c := range []struct {
		shows, want string
		status      int
	}{
		{"ExecMainCode=1\nExecMainStatus=78\nStatusText=not set up: run \"tokend setup\" first\n", `the service ended with status 78: not set up: run "tokend setup" first`, exitConfig},
		{"ExecMainCode=1\nExecMainStatus=4\nStatusText=\n", "the service ended with status 4: journalctl --user -u tokend", exitKeystore},
		{"ExecMainCode=2\nExecMainStatus=9\nStatusText=serving\n", "the service was ended by signal 9 while it started: journalctl --user -u tokend", exitFailure},
		{"ExecMainCode=1\nExecMainStatus=226\n", "cannot make the sandbox", exitFailure},
		{"ExecMainCode=1\nExecMainStatus=203\n", "cannot run the program", exitFailure},
		{"Result=success\nExecMainCode=1\nExecMainStatus=78\n", "systemctl: Job for tokend.service failed", exitFailure},
		{"ExecMainCode=0\nExecMainStatus=0\n", "systemctl: Job for tokend.service failed", exitFailure},
	} {
		f.says(unitName, c.shows)
		err := systemdServices{}.start(t.Context())
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") || statusOf(err) != c.status {
			t.Errorf("%q: %v, status %d", c.shows, err, statusOf(err))
		}
	}
}

func TestServiceState(t *testing.T) {
	f := newFakeSystemctl(t)
	f.says(unitName, "FragmentPath=/x/tokend.service\nUnitFileState=enabled\nActiveState=active\nStatusText=serving 2 profiles\nMainPID=7\n")
	f.says(socketName, "ActiveState=active\n")
	got, err := systemdServices{}.state(t.Context())
	got.notes = nil
	want := serviceState{definition: "/x/tokend.service", enabled: true, running: true, held: true, pid: 7, says: "serving 2 profiles", log: "journalctl --user -u tokend"}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	f.says("fail-show", "Failed to connect to bus: No medium found\n")
	_, err = systemdServices{}.state(t.Context())
	if err == nil || !strings.Contains(err.Error(), "No medium found") || !strings.Contains(err.Error(), "enable-linger") {
		t.Errorf("without a session: %v", err)
	}
}

// The commands about the service, as people mistype them.
func TestServiceCommandsSayWhatToDo(t *testing.T) {
	newFakeSystemctl(t) // not the real one, which may know a service of ours
	h := newHome(t)
	for _, c := range []struct {
		args   string
		status int
		want   string
	}{
		{"install --user --system", exitUsage, "say one of them"},
		{"uninstall --user --yes", exitUsage, "--purge"},
		{"install --user", exitFailure, "will not stay"},     // where tests are
		{"restart --user --x", exitUsage, "unknown flag"},    // and not started
		{"instal", exitUsage, `did you mean "install"`},      // nor this
		{"install there", exitUsage, "unknown command"},      // nor that
		{"start --user --state /nonexistent/x", 1, "tokend"}, // no systemd, or nothing installed
	} {
		cmd := exec.Command("tokend", strings.Fields(c.args)...)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + h.dir}
		if out, status := ends(t, cmd); status != c.status || !strings.Contains(out, c.want) {
			t.Errorf("tokend %s: status %d, %s", c.args, status, out)
		}
	}
}

func TestWhoseService(t *testing.T) {
	for _, c := range []struct {
		user, system, root bool
		command            string
		status             int
		want               string
	}{
		{command: "install"},
		{user: true, command: "install"},
		{user: true, root: true, command: "install"},
		{system: true, root: true, command: "install"},
		{system: true, command: "service-status"},
		{root: true, command: "stop", status: exitUsage, want: "say --system for the service of the machine, --user for"},
		{user: true, system: true, command: "stop", status: exitUsage, want: "say one of them"},
		{system: true, command: "stop", status: exitFailure, want: "sudo tokend stop --system"},
	} {
		r := serviceRequest{at: &places{system: c.system}, user: c.user}
		err := r.decideWhose(c.command, c.root)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || statusOf(err) != c.status) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// The shell's $TOKEND_SOCKET is about its clients, not about the service.
func TestServiceSocket(t *testing.T) {
	t.Setenv(ipc.SocketEnv, "/elsewhere.sock")
	t.Setenv("XDG_RUNTIME_DIR", "/run/x")
	for _, c := range []struct {
		at     places
		config string
		want   string
	}{
		{places{}, "", "/run/x/tokend/tokend.sock"},
		{places{system: true}, "", "/run/tokend/tokend.sock"},
		{places{}, "/configured", "/configured"},
		{places{socket: "/said"}, "/configured", "/said"},
	} {
		if got, err := c.at.serviceSocket(daemon.Config{Socket: c.config}); err != nil || got != c.want {
			t.Errorf("%+v: %s, %v", c, got, err)
		}
	}
}

// A system service runs no program that others could replace, none that its
// sandbox hides, and nothing runs one that will not be there.
func TestProgramsThatAreNoService(t *testing.T) {
	asRoot(t)
	for _, path := range []string{filepath.Join(os.TempDir(), "go-build1/tokend"), "/tmp/tokend", "/var/tmp/x/tokend"} {
		if err := checkProgram(path, false); err == nil || !strings.Contains(err.Error(), "will not stay") {
			t.Errorf("%s: %v", path, err)
		}
	}
	if err := checkProgram("/bin/true", true); err != nil {
		t.Error(err)
	}
	if err := checkSystemProgram("/home/alice/go/bin/tokend"); err == nil || !strings.Contains(err.Error(), "sees nothing under /home/") {
		t.Error(err)
	}
	dir := t.TempDir()
	program := filepath.Join(dir, "tokend")
	if err := os.WriteFile(program, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := checkRoots(program); err == nil || !strings.Contains(err.Error(), "/tmp (uid 0, mode 0777)") {
		t.Errorf("under a directory for all: %v", err)
	}
	if err := os.Chown(program, 65533, 65533); err != nil {
		t.Fatal(err)
	}
	if err := checkRoots(program); err == nil || !strings.Contains(err.Error(), program+" (uid 65533") {
		t.Errorf("of another user: %v", err)
	}
}

// Only who listens at the socket is ended, whatever it says of itself. Case 71 of
// the threat model.
func TestEndIsForWhoListens(t *testing.T) {
	h := newHome(t)
	h.setup("--keystore", "sealed", "--key-file", filepath.Join(h.dir, "key"))
	h.start()
	bystander := exec.Command("sleep", "60")
	if err := bystander.Start(); err != nil {
		t.Fatal(err)
	}
	for _, pid := range []int{bystander.Process.Pid, -bystander.Process.Pid, 0} {
		if err := end(t.Context(), h.client.Socket, pid); err == nil {
			t.Errorf("it ended process %d", pid)
		}
	}
	if err := bystander.Process.Kill(); err != nil {
		t.Error(err)
	}
	if state, _ := bystander.Process.Wait(); state.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("the bystander: %v", state)
	}

	gone := make(chan struct{})
	go func() { _ = h.daemon.Wait(); close(gone) }()
	if err := end(t.Context(), h.client.Socket, h.daemon.Process.Pid); err != nil {
		t.Error(err)
	}
	<-gone
	h.daemon = nil
}
