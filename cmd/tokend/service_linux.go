package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	kardianos "github.com/kardianos/service"

	"tokend/packaging"
)

// newServiceManager is systemd, of the system or of this user.
func newServiceManager(d definition) (serviceManager, error) {
	if platform := kardianos.Platform(); platform != systemdPlatform {
		return nil, fmt.Errorf("this system is started by %s, and tokend can install itself with systemd, launchd and Windows alone: have it run %q (in a container, as the container's command)",
			strings.TrimPrefix(platform, "linux-"), places{system: d.system}.line("run"))
	}
	return systemdServices{d.system}, nil
}

// systemdPlatform is what kardianos/service calls a Linux started by systemd.
const systemdPlatform = "linux-systemd"

// systemdServices are the units of systemd.
type systemdServices struct{ system bool }

const socketName = "tokend.socket"

var unitNames = []string{unitName, socketName}

// folder is where the units stand in packaging.Services.
func (s systemdServices) folder() string {
	if s.system {
		return "systemd"
	}
	return "systemd/user"
}

// install writes the units, unless a package brought the same ones.
func (s systemdServices) install(ctx context.Context, d definition) ([]string, error) {
	dir, err := s.dir(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range unitNames {
		if masked(filepath.Join(dir, name)) {
			return nil, fmt.Errorf("%s is masked: %s, and type the same again", name, s.line("unmask", unitNames...))
		}
	}
	units, err := s.units(d)
	if err != nil {
		return nil, err
	}
	if err := s.prepare(ctx, d); err != nil {
		return nil, err
	}
	if text, err := os.ReadFile(filepath.Join(dir, socketName)); err == nil && string(text) != units[socketName] {
		// systemd closes a socket whose place changes, and opens no other.
		if err := s.stop(ctx); err != nil {
			return nil, err
		}
	}
	files, err := s.place(units, dir)
	if err != nil {
		return nil, err
	}
	more, err := s.fitSandbox(ctx, d, dir)
	if err != nil {
		return nil, err
	}
	if _, err := s.ctl(ctx, "daemon-reload"); err != nil {
		return nil, err
	}
	_, err = s.ctl(ctx, append([]string{"reenable"}, unitNames...)...)
	return append(files, more...), err
}

// units are the texts of the units.
func (s systemdServices) units(d definition) (map[string]string, error) {
	units := map[string]string{}
	for _, name := range unitNames {
		text, err := d.unit(path.Join(s.folder(), name))
		if err != nil {
			return nil, err
		}
		units[name] = text
	}
	return units, nil
}

// place puts the units into dir. If a package brought the same ones it takes
// away those of ours, which would hide what the package brings next.
func (s systemdServices) place(units map[string]string, dir string) (files []string, err error) {
	files, shipped := s.shipped(units)
	for _, name := range unitNames {
		file := filepath.Join(dir, name)
		if shipped {
			err = removeFile(file)
		} else {
			err = writeDefinition(file, units[name])
			files = append(files, file)
		}
		if err != nil {
			return nil, err
		}
	}
	return files, nil
}

// noSandbox is the drop-in of a user's unit for a system where its sandbox
// cannot be made.
const noSandbox = "no-sandbox.conf"

// fitSandbox tries the sandbox of a user's unit, which takes what some systems
// forbid to users, and takes it out of the unit there: state tells.
func (s systemdServices) fitSandbox(ctx context.Context, d definition, dir string) ([]string, error) {
	if s.system {
		return nil, nil
	}
	runs := func(properties ...string) bool {
		args := append([]string{"--user", "--quiet", "--wait", "--collect"}, properties...)
		cmd := exec.CommandContext(ctx, "systemd-run", append(args, d.program, "version")...)
		cmd.Env = s.environ()
		return cmd.Run() == nil
	}
	file := filepath.Join(dir, unitName+".d", noSandbox)
	// What does not run without a sandbox either says nothing about it.
	if runs("--property=PrivateUsers=yes", "--property=ProtectSystem=strict", "--property=PrivateDevices=yes") || !runs() {
		return nil, removeDropIn(file)
	}
	text, err := packaging.Services.ReadFile(path.Join(s.folder(), noSandbox))
	if err != nil {
		return nil, err
	}
	return []string{file}, writeDefinition(file, string(text))
}

// removeDropIn removes a drop-in, and its directory if no other is in it.
func removeDropIn(file string) error {
	err := removeFile(file)
	if err == nil {
		_ = os.Remove(filepath.Dir(file))
	}
	return err
}

// shipped are the units that a package installed, if they say the same.
func (s systemdServices) shipped(units map[string]string) ([]string, bool) {
	dirs := unitDirs[2:]
	if !s.system {
		dirs = userUnitDirs
	}
next:
	for _, dir := range dirs {
		var files []string
		for name, want := range units {
			file := filepath.Join(dir, name)
			if text, err := os.ReadFile(file); err != nil || string(text) != want {
				continue next
			}
			files = append(files, file)
		}
		slices.Sort(files)
		return files, true
	}
	return nil, false
}

// userUnitDirs are where packages put units for every user.
var userUnitDirs = []string{"/usr/local/lib/systemd/user", "/usr/lib/systemd/user", "/lib/systemd/user"}

// dir is where units of the administrator or of this user stand.
func (s systemdServices) dir(ctx context.Context) (string, error) {
	if s.system {
		_, err := s.ctl(ctx, "show", "--property=Version") // can it be reached?
		return unitDirs[0], err
	}
	said, err := s.ctl(ctx, "show", "--property=UnitPath", "--value")
	if err != nil {
		return "", err
	}
	var dir string
	for _, config := range []func() (string, error){os.UserConfigDir, configOfPasswd} {
		if dir, err = config(); err != nil {
			continue
		}
		if dir = filepath.Join(dir, "systemd", "user"); slices.Contains(strings.Fields(said), dir) {
			break
		}
	}
	return dir, err
}

// configOfPasswd is the configuration directory of whoever says nothing else
// than who he is, as to his systemd.
func configOfPasswd() (string, error) {
	me, err := user.Current()
	if err != nil {
		return "", err
	}
	return filepath.Join(me.HomeDir, ".config"), nil
}

// prepare makes what the units take for granted: the system service's user, or
// a user's directories, which the sandbox could not make.
func (s systemdServices) prepare(ctx context.Context, d definition) error {
	if !s.system {
		for _, dir := range []string{d.dirs.Config, d.dirs.State} {
			if err := os.MkdirAll(dir, 0o700); err != nil {
				return err
			}
		}
		return nil
	}
	if _, err := user.Lookup(serviceUser); err == nil {
		return nil
	}
	text, err := packaging.Services.ReadFile("systemd/sysusers.conf")
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "systemd-sysusers", "-")
	cmd.Stdin = bytes.NewReader(text)
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("making the user %s: systemd-sysusers: %w: %s", serviceUser, err, bytes.TrimSpace(said))
	}
	return nil
}

// masked: the administrator shut this unit off (systemctl(1), mask).
func masked(file string) bool {
	to, err := os.Readlink(file)
	return err == nil && to == os.DevNull
}

func removeFile(file string) error {
	if err := os.Remove(file); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// uninstall goes by the files that are there: of a half-done installation any
// of them may be missing.
func (s systemdServices) uninstall(ctx context.Context) (removed []string, err error) {
	dir, err := s.dir(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.stop(ctx); err != nil {
		return nil, err
	}
	// It fails where there is no unit, and takes away links to it all the same.
	if _, err := s.ctl(ctx, append([]string{"disable"}, unitNames...)...); err != nil && !strings.Contains(err.Error(), "does not exist") {
		return nil, err
	}
	for _, name := range unitNames {
		file := filepath.Join(dir, name)
		if masked(file) || !exists(file) {
			continue
		}
		if err := os.Remove(file); err != nil {
			return removed, err
		}
		removed = append(removed, file)
	}
	if file := filepath.Join(dir, unitName+".d", noSandbox); !s.system && exists(file) {
		if err := removeDropIn(file); err != nil {
			return removed, err
		}
		removed = append(removed, file)
	}
	if _, err := s.ctl(ctx, "daemon-reload"); err != nil {
		return removed, err
	}
	s.forgetFailures(ctx)
	return removed, nil
}

func (s systemdServices) start(ctx context.Context) error {
	s.forgetFailures(ctx)
	_, err := s.ctl(ctx, append([]string{"start"}, unitNames...)...)
	return s.explain(ctx, err)
}

// stop stops the socket too: the next call would start tokend again.
func (s systemdServices) stop(ctx context.Context) error {
	_, err := s.ctl(ctx, append([]string{"stop"}, unitNames...)...)
	if err != nil && strings.Contains(err.Error(), "not loaded") {
		return nil
	}
	return err
}

// restart leaves the socket open, in which calls wait meanwhile.
func (s systemdServices) restart(ctx context.Context) error {
	s.forgetFailures(ctx)
	_, err := s.ctl(ctx, "restart", unitName)
	return s.explain(ctx, err)
}

// forgetFailures has systemd start again what failed too often.
func (s systemdServices) forgetFailures(ctx context.Context) {
	_, _ = s.ctl(ctx, append([]string{"reset-failed"}, unitNames...)...)
}

func (s systemdServices) state(ctx context.Context) (serviceState, error) {
	unit, err := s.show(ctx, unitName)
	if err != nil {
		return serviceState{}, err
	}
	socket, err := s.show(ctx, socketName)
	if err != nil {
		return serviceState{}, err
	}
	now := serviceState{
		definition: unit["FragmentPath"],
		enabled:    unit["UnitFileState"] == "enabled",
		running:    unit["ActiveState"] == "active" || unit["ActiveState"] == "reloading",
		held:       socket["ActiveState"] == "active",
		says:       unit["ActiveState"],
		log:        s.logLine(),
	}
	now.pid, _ = strconv.Atoi(unit["MainPID"])
	if text := unit["StatusText"]; text != "" && now.says != "inactive" {
		now.says = text
	}
	if !s.system && now.definition != "" {
		now.notes = lingerNotes()
		if strings.Contains(unit["DropInPaths"], noSandbox) {
			now.notes = append(now.notes, "This system lets users make no namespaces: systemd's sandbox is off. tokend confines itself with Landlock (tokenctl status).")
		}
	}
	return now, nil
}

// lingerNotes tells of a user's services that they end with the last session,
// unless systemd-logind was told otherwise.
func lingerNotes() []string {
	me, err := user.Current()
	if err != nil || exists(filepath.Join("/var/lib/systemd/linger", me.Username)) {
		return nil
	}
	return []string{"It ends when you log out for good. On a host where nobody is logged in: loginctl enable-linger " + me.Username}
}

// show gives what systemd knows of a unit; of one that it does not know too.
func (s systemdServices) show(ctx context.Context, unit string) (map[string]string, error) {
	said, err := s.ctl(ctx, "show", unit,
		"--property=FragmentPath,DropInPaths,UnitFileState,ActiveState,StatusText,MainPID,Result,ExecMainCode,ExecMainStatus")
	if err != nil {
		return nil, err
	}
	values := map[string]string{}
	for line := range strings.Lines(said) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		values[name] = value
	}
	return values, nil
}

// Exit statuses of systemd itself, when it could not get as far as tokend
// (systemd.exec(5)).
const (
	statusNoNamespace = 226
	statusNoUser      = 217
	statusNoProgram   = 203
)

// explain says why tokend did not start, in its own words.
func (s systemdServices) explain(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	unit, showErr := s.show(ctx, unitName)
	status, _ := strconv.Atoi(unit["ExecMainStatus"])
	if showErr != nil || status == 0 || unit["Result"] == "success" { // the status is of an earlier run
		return err
	}
	switch status {
	case statusNoProgram:
		return fmt.Errorf("systemd cannot run the program that the unit names (status 203): install again from where tokend now is")
	case statusNoNamespace, statusNoUser:
		return fmt.Errorf("systemd cannot make the sandbox of the unit (status %d; %s): tokend install takes it out where the system forbids it", status, s.logLine())
	}
	if unit["ExecMainCode"] != strconv.Itoa(exited) {
		return startError{exitFailure, fmt.Sprintf("the service was ended by signal %d while it started: %s", status, s.logLine())}
	}
	why := unit["StatusText"]
	if why == "" {
		why = s.logLine()
	}
	return startError{status, fmt.Sprintf("the service ended with status %d: %s", status, why)}
}

// exited is ExecMainCode= of a process that ended by itself (CLD_EXITED).
const exited = 1

// logLine is the command that shows the log.
func (s systemdServices) logLine() string {
	if s.system {
		return "journalctl -u " + serviceName
	}
	return "journalctl --user -u " + serviceName
}

// line is a command for a person to type.
func (s systemdServices) line(verb string, args ...string) string {
	line := "systemctl "
	if s.system {
		line = "sudo systemctl "
	} else {
		line += "--user "
	}
	return line + verb + " " + strings.Join(args, " ")
}

// ctl runs systemctl. Its error is what systemctl says.
func (s systemdServices) ctl(ctx context.Context, args ...string) (string, error) {
	args = append([]string{"--no-ask-password", "--no-pager", "--quiet"}, args...)
	if !s.system {
		args = append([]string{"--user"}, args...)
	}
	cmd := exec.CommandContext(ctx, "systemctl", args...)
	cmd.Env = s.environ()
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	err := cmd.Run()
	if err == nil {
		return out.String(), nil
	}
	text := strings.TrimSpace(said.String())
	if text == "" {
		text = err.Error()
	}
	if strings.Contains(text, "Failed to connect to") {
		return "", fmt.Errorf("systemd cannot be reached (%s)%s", text, s.unreachableHint())
	}
	first, _, _ := strings.Cut(text, "\n")
	return "", fmt.Errorf("systemctl: %s", first)
}

// environ is what systemctl needs to know: also where the user's systemd is,
// which su leaves out.
func (s systemdServices) environ() []string {
	env := append(os.Environ(), "LC_ALL=C") // what it says is read
	if dir := "/run/user/" + strconv.Itoa(os.Getuid()); !s.system && os.Getenv("XDG_RUNTIME_DIR") == "" && exists(dir) {
		env = append(env, "XDG_RUNTIME_DIR="+dir)
	}
	return env
}

func (s systemdServices) unreachableHint() string {
	if s.system {
		return ""
	}
	return ": log in as this user, not with su or sudo; where nobody logs in, root first says loginctl enable-linger " + strconv.Itoa(os.Getuid())
}

// checkSystemProgram refuses a program that somebody other than root could
// replace, or that the unit's sandbox hides (ProtectHome=).
func checkSystemProgram(path string) error {
	for _, dir := range []string{"/home/", "/root/", "/run/user/"} {
		if strings.HasPrefix(path, dir) {
			return fmt.Errorf("this program is %s, and the system service sees nothing under %s", path, dir)
		}
	}
	return checkRoots(path)
}
