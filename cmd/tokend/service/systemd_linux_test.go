package service

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
	"testing"

	kardianos "github.com/kardianos/service"
	"golang.org/x/sys/unix"

	"tokend/daemon/profile"
	"tokend/packaging"
	"tokend/packaging/checktest"
	"tokend/providers/token"
)

// The units are what systemd takes them for, and the system's shuts off what
// tokend does not need (systemd-analyze(1); 15 stands for an exposure of 1.5,
// which is not computed for a user's units). Case 34 of the threat model.
func TestUnits(t *testing.T) {
	system, user := t.TempDir(), t.TempDir()
	writePackaged(t, system, "systemd", unitNames...)
	writePackaged(t, user, "systemd/user", userUnits...)
	verify(t, filepath.Join(system, unitName), filepath.Join(system, socketName))
	verify(t, "--user", filepath.Join(user, unitName), filepath.Join(user, socketName), filepath.Join(user, notifyName))
	if out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=15", filepath.Join(system, unitName)).CombinedOutput(); err != nil {
		t.Errorf("security: %v\n%s", err, out)
	}
}

var userUnits = []string{unitName, socketName, notifyName}

// packaged returns a file as packages ship it.
func packaged(t *testing.T, name string) string {
	t.Helper()
	text, err := packaging.Services.ReadFile(name)
	check(t, err)
	return string(text)
}

// writePackaged writes packages' files, with programs that exist.
func writePackaged(t *testing.T, to, folder string, names ...string) {
	t.Helper()
	for _, name := range names {
		text := strings.ReplaceAll(packaged(t, path.Join(folder, name)), "/usr/bin/token", "/bin/true #")
		check(t, WriteFile(filepath.Join(to, name), text))
	}
}

// verify has systemd check units.
func verify(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.Command("systemd-analyze", append([]string{"verify", "--man=no"}, args...)...)
	cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+t.TempDir())
	out, err := cmd.CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		checktest.Unable(t, "systemd-analyze is not installed")
	}
	if err != nil || len(out) > 0 {
		t.Errorf("verify %s: %v\n%s", args, err, out)
	}
}

// asPackaged is a definition of what packages install.
func asPackaged(t *testing.T, system bool) Definition {
	t.Helper()
	me, err := user.Current()
	check(t, err)
	if system {
		return Definition{System: true, Program: "/usr/bin/tokend", Socket: "/run/tokend/tokend.sock",
			Dirs: profile.Dirs{Config: "/etc/tokend", State: "/var/lib/tokend"}}
	}
	return Definition{Program: "/usr/bin/tokend", Socket: "/run/user/" + me.Uid + "/tokend/tokend.sock", Dirs: profile.Dirs{
		Config: filepath.Join(me.HomeDir, ".config/tokend"), State: filepath.Join(me.HomeDir, ".local/state/tokend")}}
}

// What install writes and what packages ship is the same.
func TestUnitsDoNotDrift(t *testing.T) {
	for system, names := range map[bool][]string{false: userUnits, true: unitNames} {
		for _, name := range names {
			d := asPackaged(t, system)
			if got, err := d.unit(name); err != nil || got != packaged(t, path.Join(d.folder(), name)) {
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
	t.Parallel()
	runs, err := os.ReadFile("/bin/true")
	check(t, err)
	for _, odd := range oddPaths {
		for _, system := range []bool{false, true} {
			dir, units := filepath.Join(t.TempDir(), odd, "x"), t.TempDir()
			d := asPackaged(t, system)
			d.Socket = filepath.Join(dir, "s")
			d.Dirs = profile.Dirs{Config: filepath.Join(dir, "config"), State: filepath.Join(dir, "state")}
			bin := dir
			if strings.ContainsAny(odd, `$"'\`) { // in the other paths alone
				bin = t.TempDir()
			}
			d.Program = filepath.Join(bin, "tokend")
			var files, args []string
			for _, file := range []string{d.Program, filepath.Join(bin, "tokenctl")} {
				check(t, errors.Join(WriteFile(file, string(runs)), os.Chmod(file, 0o755)))
			}
			names := unitNames
			if !system {
				args, names = []string{"--user"}, userUnits
			}
			for _, name := range names {
				text, err := d.unit(name)
				check(t, err)
				file := filepath.Join(units, name)
				check(t, WriteFile(file, text))
				files = append(files, file)
			}
			verify(t, append(args, files...)...)
		}
	}
}

// What no unit can hold is refused before anything is written. Case 35 of the
// threat model.
func TestPathsThatNoUnitCanHold(t *testing.T) {
	for _, path := range []string{"/a\nExecStartPre=/bin/sh", "/a\rb", "/a\x00b", "/a\x7fb", "/a\x1b[2J", "/a\u0085b", "/a\xff"} {
		if err := checkPath(path); !errors.Is(err, token.ErrInvalid) || strings.ContainsAny(err.Error(), "\n\r\x1b") {
			t.Errorf("%q: %v", path, err)
		}
	}
	for _, odd := range oddPaths {
		if err := checkPath("/" + odd); err != nil {
			t.Error(err)
		}
	}
	for _, program := range []string{"/opt/$x/tokend", `/opt/a"b/tokend`, "/opt/a'b/tokend", `/opt/a\b/tokend`} {
		d := asPackaged(t, false)
		d.Program = program
		if _, err := d.unit(unitName); !errors.Is(err, token.ErrInvalid) {
			t.Errorf("%s, which systemd cannot run: %v", program, err)
		}
	}
	for _, socket := range []string{`/run/a\`, "/run/a "} {
		d := asPackaged(t, false)
		d.Socket = socket
		if _, err := d.unit(socketName); !errors.Is(err, token.ErrInvalid) {
			t.Errorf("socket %q: %v", socket, err)
		}
	}
}

// A fakeSystemctl prints what the real one prints, fails when a test wants it
// to, and records its calls. What the real one makes of the units is
// tried by packaging/boottest/user.sh.
type fakeSystemctl struct {
	t    *testing.T
	dir  string
	home string
}

func newFakeSystemctl(t *testing.T) fakeSystemctl {
	t.Helper()
	f := fakeSystemctl{t: t, dir: t.TempDir(), home: t.TempDir()}
	script := `#!/bin/sh
for arg; do shift; case $arg in --user|--no-*|--quiet) ;; *) set -- "$@" "$arg" ;; esac; done
dir=` + f.dir + `
echo "$*" >>$dir/calls
if [ -e "$dir/fail-$1" ]; then cat "$dir/fail-$1" >&2; exit 1; fi
case "$*" in
show*) cat "$dir/$2" 2>/dev/null ;;
esac
true
`
	run := `#!/bin/sh
[ ! -e "` + f.dir + `/broken" ] || exit 1
case "$*" in *PrivateUsers=yes*) [ ! -e "` + f.dir + `/forbidden" ] ;; esac
`
	for name, text := range map[string]string{"systemctl": script, "systemd-run": run} {
		check(t, os.WriteFile(filepath.Join(f.dir, name), []byte(text), 0o755))
	}
	t.Setenv("PATH", f.dir+":"+os.Getenv("PATH"))
	t.Setenv("HOME", f.home)
	t.Setenv("XDG_CONFIG_HOME", "")
	defer func(dirs []string) { t.Cleanup(func() { userDirs = dirs }) }(userDirs)
	userDirs = []string{filepath.Join(f.dir, "shipped")}
	return f
}

func (f fakeSystemctl) says(file, text string) {
	f.t.Helper()
	check(f.t, os.WriteFile(filepath.Join(f.dir, file), []byte(text), 0o600))
}

func (f fakeSystemctl) calls() string {
	f.t.Helper()
	text, err := os.ReadFile(filepath.Join(f.dir, "calls"))
	check(f.t, err)
	_ = os.Remove(filepath.Join(f.dir, "calls"))
	return string(text)
}

func (f fakeSystemctl) unit(name string) string {
	return filepath.Join(f.home, ".config/systemd/user", name)
}

// asSystemd is systemd, also where it does not run.
type asSystemd struct{ kardianos.System }

func (asSystemd) Detect() bool { return true }

func init() {
	for _, s := range kardianos.AvailableSystems() {
		if s.String() == systemdPlatform {
			kardianos.ChooseSystem(asSystemd{s})
		}
	}
}

func (f fakeSystemctl) manager() Manager { return f.managerOf(f.definition()) }

func (f fakeSystemctl) managerOf(d Definition) Manager {
	f.t.Helper()
	m, err := New(d)
	check(f.t, err)
	return m
}

func (f fakeSystemctl) definition() Definition {
	return Definition{Program: "/usr/local/bin/tokend", Socket: filepath.Join(f.home, "s"),
		Dirs: profile.Dirs{Config: filepath.Join(f.home, ".config/tokend"), State: filepath.Join(f.home, "state")}}
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
			f.says("fail-enable", "Failed to enable unit: no luck\n")
			f.install("Failed to enable unit: no luck")
			_ = os.Remove(filepath.Join(f.dir, "fail-enable"))
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
			if got := f.calls(); !strings.HasSuffix(got, "disable tokend.service tokend.socket\nenable tokend.service\ndaemon-reload\n") {
				t.Errorf("systemctl was called\n%s", got)
			}
			for _, name := range unitNames {
				want, err := f.definition().unit(name)
				check(t, err)
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
	_, err := f.manager().Install(f.t.Context())
	if fails == "" && err != nil || fails != "" && (err == nil || !strings.Contains(err.Error(), fails)) {
		f.t.Fatalf("install: %v, want %q", err, fails)
	}
}

// Where a package brought the same units they are used; copies would hide what
// the package brings next.
func TestInstallUsesWhatAPackageBrought(t *testing.T) {
	f := newFakeSystemctl(t)
	f.install("")
	check(t, os.Mkdir(userDirs[0], 0o755))
	for _, name := range unitNames {
		text, err := os.ReadFile(f.unit(name))
		if err == nil {
			err = os.WriteFile(filepath.Join(userDirs[0], name), text, 0o644)
		}
		check(t, err)
	}
	files, err := f.manager().Install(t.Context())
	want := []string{filepath.Join(userDirs[0], unitName), filepath.Join(userDirs[0], socketName)}
	if err != nil || !slices.Equal(files, want) || Exists(f.unit(unitName)) || Exists(f.unit(socketName)) {
		t.Errorf("%v, %v", files, err)
	}
	// Another program than the package's has units of its own.
	d := f.definition()
	d.Program = "/opt/tokend"
	files, err = f.managerOf(d).Install(t.Context())
	if err != nil || !slices.Equal(files, []string{f.unit(unitName), f.unit(socketName)}) || !Exists(f.unit(unitName)) {
		t.Errorf("another program: %v, %v", files, err)
	}
}

func TestInstallLeavesAMaskedUnitAlone(t *testing.T) {
	f := newFakeSystemctl(t)
	check(t, errors.Join(os.MkdirAll(filepath.Dir(f.unit(unitName)), 0o755), os.Symlink(os.DevNull, f.unit(unitName))))
	f.install("tokend.service is masked")
	if removed, err := f.manager().Uninstall(t.Context()); len(removed) != 0 || err != nil || !masked(f.unit(unitName)) {
		t.Errorf("uninstall: %v, %v", removed, err)
	}
}

// Where users may make no namespaces the unit comes without the sandbox that
// takes them, and says so; where they may again, with it.
func TestInstallWhereThereCanBeNoSandbox(t *testing.T) {
	f := newFakeSystemctl(t)
	dropIn := filepath.Join(filepath.Dir(f.unit(unitName)), unitName+".d", noSandbox)
	f.says("forbidden", "")
	files, err := f.manager().Install(t.Context())
	if err != nil || !slices.Contains(files, dropIn) || !Exists(dropIn) {
		t.Errorf("%v, %v", files, err)
	}
	f.says(unitName, "FragmentPath="+f.unit(unitName)+"\nDropInPaths="+dropIn+"\n")
	now, err := f.manager().State(t.Context())
	if err != nil || !strings.Contains(strings.Join(now.Notes, "\n"), "sandbox is off") {
		t.Errorf("%+v, %v", now, err)
	}
	_ = os.Remove(filepath.Join(f.dir, "forbidden"))
	f.install("")
	if Exists(dropIn) || Exists(filepath.Dir(dropIn)) {
		t.Error("it stays where it is not needed")
	}
	f.says("broken", "")
	f.install("")
	if Exists(dropIn) {
		t.Error("where nothing can be tried the sandbox is given up")
	}
	_ = os.Remove(filepath.Join(f.dir, "broken"))
	f.says("forbidden", "")
	f.install("")
	if removed, err := f.manager().Uninstall(t.Context()); err != nil || !slices.Contains(removed, dropIn) || Exists(filepath.Dir(dropIn)) {
		t.Errorf("uninstall: %v, %v", removed, err)
	}
}

// It takes out of the unit whatever makes namespaces, and leaves the rest.
func TestNoSandboxIsNoNamespace(t *testing.T) {
	units := t.TempDir()
	writePackaged(t, units, "systemd/user", unitNames...)
	writePackaged(t, filepath.Join(units, unitName+".d"), "systemd/user", noSandbox)
	verify(t, "--user", filepath.Join(units, unitName))
	unit, without := packaged(t, "systemd/user/"+unitName), packaged(t, "systemd/user/"+noSandbox)
	for _, setting := range []string{"PrivateUsers", "ProtectSystem", "ProtectHome", "ReadWritePaths", "PrivateTmp", "PrivateDevices", "ProtectControlGroups"} {
		if !strings.Contains(unit, "\n"+setting+"=") || !strings.Contains(without, "\n"+setting+"=") {
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
		removed, err := f.manager().Uninstall(t.Context())
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
	want := "stop tokend.socket tokend.service\ndisable tokend.service tokend.socket\ndaemon-reload\nreset-failed tokend.service tokend.socket\n"
	if got := f.calls(); got != want {
		t.Errorf("systemctl was called\n%s", got)
	}
	// What cannot be stopped is not taken away.
	f.install("")
	f.says("fail-stop", "Failed to stop tokend.service: Access denied\nSee more.\n")
	if removed, err := f.manager().Uninstall(t.Context()); err == nil || err.Error() != "systemctl: Failed to stop tokend.service: Access denied" || len(removed) > 0 || !Exists(f.unit(unitName)) {
		t.Errorf("%v, %v", removed, err)
	}
}

// A service that did not start says why in tokend's own words, with its status.
func TestStartTellsWhyNot(t *testing.T) {
	f := newFakeSystemctl(t)
	f.says("fail-restart", "Job for tokend.service failed because the control process exited with error code.\n")
	for _, c := range []struct {
		shows, want string
		status      int
	}{
		{"ExecMainCode=1\nExecMainStatus=78\nStatusText=not set up: run \"tokend setup\" first\n", `the service ended with status 78: not set up: run "tokend setup" first`, 78},
		{"ExecMainCode=1\nExecMainStatus=4\nStatusText=\n", "the service ended with status 4: journalctl --user -u tokend", 4},
		{"ExecMainCode=2\nExecMainStatus=9\nStatusText=serving\n", "signal 9 ended the service while it started: journalctl --user -u tokend", 1},
		{"ExecMainCode=1\nExecMainStatus=226\n", "the service ended with status 226: journalctl --user -u tokend", 226},
		{"ExecMainCode=1\nExecMainStatus=243\nDropInPaths=/etc/systemd/system/tokend.service.d/tokend-key.conf\n",
			"delete the drop-in that names it and run systemctl daemon-reload: /etc/systemd/system/tokend.service.d/tokend-key.conf", 243},
		{"Result=success\nExecMainCode=1\nExecMainStatus=78\n", "systemctl: Job for tokend.service failed", 0},
		{"ExecMainCode=0\nExecMainStatus=0\n", "systemctl: Job for tokend.service failed", 0},
	} {
		f.says(unitName, c.shows)
		err := f.manager().Restart(t.Context())
		var start StartError
		errors.As(err, &start)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") || start.Status != c.status {
			t.Errorf("%q: %v, status %d", c.shows, err, start.Status)
		}
	}
}

// A restart makes the socket again if its file is gone, and else leaves it open.
func TestRestartMakesALostSocketAgain(t *testing.T) {
	f := newFakeSystemctl(t)
	socket := filepath.Join(t.TempDir(), "tokend.sock")
	f.says(socketName, "ActiveState=active\nListen="+socket+" (Stream)\n")
	check(t, f.manager().Restart(t.Context()))
	if !strings.Contains(f.calls(), "restart tokend.socket\n") {
		t.Error("the socket is not made again")
	}
	check(t, os.WriteFile(socket, nil, 0o600))
	check(t, f.manager().Restart(t.Context()))
	if strings.Contains(f.calls(), "restart tokend.socket\n") {
		t.Error("a socket that is there is made again")
	}
}

func TestServiceState(t *testing.T) {
	f := newFakeSystemctl(t)
	f.says(unitName, "FragmentPath=/x/tokend.service\nUnitFileState=enabled\nActiveState=active\nStatusText=serving 2 profiles\nMainPID=7\n")
	f.says(socketName, "ActiveState=active\n")
	got, err := f.manager().State(t.Context())
	got.Notes = nil
	want := State{File: "/x/tokend.service", Enabled: true, Running: true, SocketHeld: true, PID: 7, Status: "serving 2 profiles", Log: "journalctl --user -u tokend"}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	for state, want := range map[string]string{"failed": "243/CREDENTIALS", "activating": "243/CREDENTIALS", "active": "", "inactive": ""} {
		f.says(unitName, "FragmentPath=/x/tokend.service\nActiveState="+state+"\nResult=exit-code\nExecMainCode=1\nExecMainStatus=243\n")
		got, err := f.manager().State(t.Context())
		if err != nil || !strings.Contains(got.Failure, want) || (got.Failure == "") != (want == "") {
			t.Errorf("%s: %+v, %v", state, got, err)
		}
	}
	f.says("fail-show", "Failed to connect to bus: No medium found\n")
	_, err = f.manager().State(t.Context())
	if err == nil || !strings.Contains(err.Error(), "No medium found") || !strings.Contains(err.Error(), "enable-linger") {
		t.Errorf("without a session: %v", err)
	}
}

// A system service runs no program that others could replace, none that its
// sandbox hides, and nothing runs one that will not be there.
func TestProgramsThatAreNoService(t *testing.T) {
	if os.Geteuid() != 0 {
		checktest.Unable(t, "needs root, to give files to another user")
	}
	for _, path := range []string{filepath.Join(os.TempDir(), "go-build1/tokend"), "/tmp/tokend", "/var/tmp/x/tokend"} {
		if err := (Definition{Program: path}).Check(); err == nil || !strings.Contains(err.Error(), "will not stay") {
			t.Errorf("%s: %v", path, err)
		}
	}
	if err := (Definition{Program: "/bin/true", System: true}).Check(); err != nil {
		t.Error(err)
	}
	if err := checkSystemProgram("/home/alice/go/bin/tokend"); err == nil || !strings.Contains(err.Error(), "sees nothing under /home/") {
		t.Error(err)
	}
	dir := t.TempDir()
	program := filepath.Join(dir, "tokend")
	check(t, os.WriteFile(program, nil, 0o755))
	if err := checkSystemProgram(program); err == nil || !strings.Contains(err.Error(), "/tmp (uid 0, mode 0777)") {
		t.Errorf("under a directory for all: %v", err)
	}
	check(t, os.Chown(program, 65533, 65533))
	if err := checkSystemProgram(program); err == nil || !strings.Contains(err.Error(), program+" (uid 65533") {
		t.Errorf("of another user: %v", err)
	}
}
