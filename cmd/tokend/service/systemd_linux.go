package service

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	kardianos "github.com/kardianos/service"

	"tokend/packaging"
)

const (
	// User is the account that the system service runs as.
	User = "tokend"

	unitName   = "tokend.service"
	socketName = "tokend.socket"
	// notifyName is the unit of tokend notify, and notifyLink what enables it.
	notifyName = "tokend-notify.service"
	notifyLink = "graphical-session.target.wants/" + notifyName
	// noSandbox is the drop-in for a system where users cannot make namespaces.
	noSandbox = "no-sandbox.conf"
	// systemdPlatform is what kardianos/service calls a Linux started by systemd.
	systemdPlatform = "linux-systemd"
)

var (
	unitNames = []string{unitName, socketName}
	// SystemDirs hold the system's units, the administrator's first. A test may
	// change them, and userDirs, where packages put units for every user.
	SystemDirs = []string{"/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"}
	userDirs   = []string{"/usr/local/lib/systemd/user", "/usr/lib/systemd/user", "/lib/systemd/user"}
)

// A Manager starts tokend at boot or at login. It writes the service's unit, enables
// and restarts it with kardianos/service. The socket unit and what systemctl says of
// both are ours.
type Manager struct {
	kardianos kardianos.Service
	Definition
	dir string // where kardianos/service puts units
}

// New returns the service manager of this machine.
func New(d Definition) (m Manager, err error) {
	if kardianos.Platform() != systemdPlatform {
		return m, fmt.Errorf("%s starts this system, and tokend installs itself only with systemd, launchd and Windows: make it run \"tokend run\" (in a container, as the container's command)",
			strings.TrimPrefix(kardianos.Platform(), "linux-"))
	}
	// systemctl's messages are compared below, and su leaves out where the user's
	// systemd is.
	_ = os.Setenv("LC_ALL", "C")
	if dir := "/run/user/" + strconv.Itoa(os.Getuid()); !d.System && os.Getenv("XDG_RUNTIME_DIR") == "" && Exists(dir) {
		_ = os.Setenv("XDG_RUNTIME_DIR", dir)
	}
	dir := SystemDirs[0]
	if !d.System {
		home, err := os.UserHomeDir()
		if err != nil {
			return m, err
		}
		dir = filepath.Join(home, ".config/systemd/user")
	}
	s, err := d.kardianos("")
	return Manager{s, d, dir}, err
}

// kardianos returns the service whose unit has this text.
func (d Definition) kardianos(unit string) (kardianos.Service, error) {
	return kardianos.New(nil, d.config(kardianos.KeyValue{"UserService": !d.System, "SystemdScript": unit}))
}

// HasSystemUnit reports whether the system's unit is installed.
func HasSystemUnit() bool {
	return slices.ContainsFunc(SystemDirs, func(dir string) bool { return Exists(filepath.Join(dir, unitName)) })
}

// SystemDropIn returns the administrator's drop-in of that name for the system's
// unit.
func SystemDropIn(name string) string {
	return filepath.Join(SystemDirs[0], unitName+".d", name+".conf")
}

// Install replaces whatever units are there, unless a package brought the same ones,
// and returns their files. It starts nothing.
func (s Manager) Install(ctx context.Context) (files []string, err error) {
	units, names := map[string]string{}, unitNames
	if s.Notify = s.Notify || Exists(filepath.Join(s.dir, notifyLink)); s.Notify {
		names = append(slices.Clip(names), notifyName)
	}
	for _, name := range names {
		if masked(filepath.Join(s.dir, name)) {
			return nil, fmt.Errorf("%s is masked: unmask it (systemctl(1)), and repeat this command", name)
		}
		if units[name], err = s.unit(name); err != nil {
			return nil, err
		}
	}
	if err := s.prepare(ctx); err != nil {
		return nil, err
	}
	if socket := filepath.Join(s.dir, socketName); Exists(socket) && !Holds(socket, units[socketName]) {
		// systemd closes a socket whose path changes, and opens no other.
		if err := s.Stop(ctx); err != nil {
			return nil, err
		}
	}
	if _, err := s.remove(ctx); err != nil {
		return nil, err
	}
	dropIn, err := s.fitSandbox(ctx)
	if err != nil {
		return nil, err
	}
	if files, err = s.enable(ctx, units); err == nil && s.Notify {
		_, err = s.ctl(ctx, "enable", "--now", notifyName)
	}
	return append(files, dropIn...), err
}

// enable enables the units that a package brought, or writes the same.
func (s Manager) enable(ctx context.Context, units map[string]string) ([]string, error) {
	if files := s.packaged(units); files != nil {
		_, err := s.ctl(ctx, "daemon-reload")
		if err == nil {
			_, err = s.ctl(ctx, "enable", unitName, socketName)
		}
		return files, err
	}
	for name, text := range units {
		if name == unitName { // kardianos/service writes it
			continue
		}
		if err := WriteFile(filepath.Join(s.dir, name), text); err != nil {
			return nil, err
		}
	}
	service, err := s.Definition.kardianos(units[unitName])
	if err != nil {
		return nil, err
	}
	if err := s.repeat(ctx, service.Install(), "enable "+unitName, "daemon-reload"); err != nil {
		return nil, err
	}
	return unitFiles(s.dir, units), os.Chmod(filepath.Join(s.dir, unitName), 0o644)
}

// unitFiles returns the files of the units in a directory.
func unitFiles(dir string, units map[string]string) (files []string) {
	for _, name := range slices.Sorted(maps.Keys(units)) {
		files = append(files, filepath.Join(dir, name))
	}
	return files
}

// repeat runs the commands of systemctl that kardianos/service ran in vain, for
// what systemctl says, which that drops.
func (s Manager) repeat(ctx context.Context, err error, commands ...string) error {
	if _, ok := errors.AsType[*exec.ExitError](err); !ok {
		return err
	}
	for _, command := range commands {
		if _, err := s.ctl(ctx, strings.Fields(command)...); err != nil {
			return err
		}
	}
	return nil
}

// prepare makes what the units rely on: the system service's user, or a user's
// directories, which the sandbox could not make.
func (s Manager) prepare(ctx context.Context) error {
	if !s.System {
		return errors.Join(makeDir(s.dir), os.MkdirAll(s.Dirs.Config, 0o700), os.MkdirAll(s.Dirs.State, 0o700))
	}
	if _, err := user.Lookup(User); err == nil {
		return nil
	}
	text, err := packaging.Services.ReadFile("systemd/sysusers.conf")
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "systemd-sysusers", "-")
	cmd.Stdin = bytes.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("making the user %s: systemd-sysusers: %w: %s", User, err, bytes.TrimSpace(out))
	}
	return nil
}

// fitSandbox tries the sandbox of a user's unit, and turns it off with a drop-in
// where the system forbids it.
func (s Manager) fitSandbox(ctx context.Context) ([]string, error) {
	if s.System {
		return nil, nil
	}
	runs := func(properties ...string) bool {
		args := append([]string{"--user", "--quiet", "--wait", "--collect"}, properties...)
		return exec.CommandContext(ctx, "systemd-run", append(args, s.Program, "version")...).Run() == nil
	}
	// A program that does not run without a sandbox either proves nothing.
	if runs("--property=PrivateUsers=yes", "--property=ProtectSystem=strict", "--property=PrivateDevices=yes") || !runs() {
		return nil, nil
	}
	text, err := s.unit(noSandbox)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(s.dir, unitName+".d", noSandbox)
	return []string{file}, WriteFile(file, text)
}

// packaged returns the units that a package installed, if their text is the same.
func (s Manager) packaged(units map[string]string) []string {
	dirs := SystemDirs[2:]
	if !s.System {
		dirs = userDirs
	}
	for _, dir := range dirs {
		files := unitFiles(dir, units)
		if !slices.ContainsFunc(files, func(file string) bool { return !Holds(file, units[filepath.Base(file)]) }) {
			return files
		}
	}
	return nil
}

// masked reports whether the administrator masked a unit (systemctl(1)).
func masked(file string) bool {
	to, err := os.Readlink(file)
	return err == nil && to == os.DevNull
}

// Uninstall stops tokend and removes whatever files are there: an installation may be
// incomplete.
func (s Manager) Uninstall(ctx context.Context) (removed []string, err error) {
	if err := s.Stop(ctx); err != nil {
		return nil, err
	}
	if removed, err = s.remove(ctx); err == nil {
		_, err = s.ctl(ctx, "daemon-reload")
	}
	s.resetFailed(ctx)
	return removed, err
}

// remove disables the units and removes those that are not masked, with the
// drop-in of fitSandbox.
func (s Manager) remove(ctx context.Context) (removed []string, err error) {
	// Where there is no unit it fails, and removes links to it all the same.
	if _, err := s.ctl(ctx, "disable", unitName, socketName); err != nil && !strings.Contains(err.Error(), "does not exist") {
		return nil, err
	}
	if Exists(filepath.Join(s.dir, notifyLink)) {
		if _, err := s.ctl(ctx, "disable", "--now", notifyName); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{unitName, socketName, notifyName, unitName + ".d/" + noSandbox} {
		file := filepath.Join(s.dir, name)
		if masked(file) || !Exists(file) {
			continue
		}
		if err := os.Remove(file); err != nil {
			return removed, err
		}
		removed = append(removed, file)
	}
	_ = os.Remove(filepath.Join(s.dir, unitName+".d")) // if it is empty
	return removed, nil
}

// Stop stops the socket too: the next call would start tokend again.
func (s Manager) Stop(ctx context.Context) error {
	_, err := s.ctl(ctx, "stop", socketName, unitName)
	if err != nil && strings.Contains(err.Error(), "not loaded") {
		return nil
	}
	return err
}

// Restart starts tokend with its current definition, also if it does not run or has
// failed, and returns when it serves. It leaves the socket open, in which calls wait, unless its file is gone.
func (s Manager) Restart(ctx context.Context) error {
	s.resetFailed(ctx)
	socket, err := s.show(ctx, socketName)
	if path, _, _ := strings.Cut(socket["Listen"], " ("); err == nil && filepath.IsAbs(path) && !Exists(path) {
		if _, err := s.ctl(ctx, "restart", socketName); err != nil {
			return err
		}
	}
	return s.explain(ctx, s.kardianos.Restart())
}

// resetFailed lets systemd start again what failed too often.
func (s Manager) resetFailed(ctx context.Context) {
	_, _ = s.ctl(ctx, "reset-failed", unitName, socketName)
}

// State returns the state of the service.
func (s Manager) State(ctx context.Context) (State, error) {
	unit, err := s.show(ctx, unitName)
	if err != nil {
		return State{}, err
	}
	socket, err := s.show(ctx, socketName)
	if err != nil {
		return State{}, err
	}
	st := State{
		File:       unit["FragmentPath"],
		Enabled:    unit["UnitFileState"] == "enabled",
		Running:    unit["ActiveState"] == "active" || unit["ActiveState"] == "reloading",
		SocketHeld: socket["ActiveState"] == "active",
		Status:     unit["ActiveState"],
		Log:        s.logLine(),
	}
	st.PID, _ = strconv.Atoi(unit["MainPID"])
	if text := unit["StatusText"]; text != "" && st.Status != "inactive" {
		st.Status = text
	}
	if unit["ActiveState"] == "failed" || unit["ActiveState"] == "activating" {
		st.Failure = s.failure(unit).Text
	}
	if !s.System && st.File != "" {
		// Unless systemd-logind lets the user's services linger.
		if me, err := user.Current(); err == nil && !Exists("/var/lib/systemd/linger/"+me.Username) {
			st.Notes = append(st.Notes, "It ends when your last session ends. On a host without logins: loginctl enable-linger "+me.Username)
		}
		if strings.Contains(unit["DropInPaths"], noSandbox) {
			st.Notes = append(st.Notes, "Users of this system cannot make namespaces: systemd's sandbox is off. tokend confines itself with Landlock (tokenctl status).")
		}
	}
	return st, nil
}

// show returns what systemd knows of a unit, also of one that does not exist.
func (s Manager) show(ctx context.Context, unit string) (map[string]string, error) {
	out, err := s.ctl(ctx, "show", unit,
		"--property=FragmentPath,DropInPaths,UnitFileState,ActiveState,StatusText,MainPID,Result,ExecMainCode,ExecMainStatus,Listen")
	if err != nil {
		return nil, err
	}
	values := map[string]string{}
	for line := range strings.Lines(out) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		values[name] = value
	}
	return values, nil
}

const (
	codeExited        = "1" // ExecMainCode= of a process that ended by itself (CLD_EXITED)
	statusCredentials = 243 // EXIT_CREDENTIALS of systemd.exec(5)
)

// explain returns why tokend did not start: in its own words, or in systemctl's.
func (s Manager) explain(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	unit, _ := s.show(ctx, unitName)
	if ended := s.failure(unit); ended.Status != 0 {
		return ended
	}
	return s.repeat(ctx, err, "restart "+unitName)
}

// failure returns why the service's last run ended, the zero StartError if it did
// not fail.
func (s Manager) failure(unit map[string]string) StartError {
	status, _ := strconv.Atoi(unit["ExecMainStatus"])
	switch {
	case status == 0, unit["Result"] == "success": // the status is an earlier run's
		return StartError{}
	case unit["ExecMainCode"] != codeExited:
		return StartError{1, fmt.Sprintf("signal %d ended the service while it started: %s", status, s.logLine())}
	case status == statusCredentials:
		return StartError{status, "systemd cannot read a credential that this unit passes on (243/CREDENTIALS): restore its file; or, if the secrets are in another keystore now, delete the drop-in that names it and run systemctl daemon-reload: " +
			cmp.Or(unit["DropInPaths"], "systemctl cat "+unitName)}
	}
	return StartError{status, fmt.Sprintf("the service ended with status %d: %s", status, cmp.Or(unit["StatusText"], s.logLine()))}
}

// logLine is the command that shows the log.
func (d Definition) logLine() string {
	if d.System {
		return "journalctl -u " + Name
	}
	return "journalctl --user -u " + Name
}

// ctl runs systemctl. Its error is what systemctl says.
func (s Manager) ctl(ctx context.Context, args ...string) (string, error) {
	args = append([]string{"--no-ask-password", "--no-pager", "--quiet"}, args...)
	if !s.System {
		args = append([]string{"--user"}, args...)
	}
	cmd := exec.CommandContext(ctx, "systemctl", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err == nil {
		return string(out), nil
	}
	text := cmp.Or(strings.TrimSpace(stderr.String()), err.Error())
	if strings.Contains(text, "Failed to connect to") {
		hint := ""
		if !s.System {
			hint = fmt.Sprintf(": log in as this user, not with su or sudo; on a host without logins, root first runs loginctl enable-linger %d", os.Getuid())
		}
		return "", fmt.Errorf("systemd cannot be reached (%s)%s", text, hint)
	}
	first, _, _ := strings.Cut(text, "\n")
	return "", fmt.Errorf("systemctl: %s", first)
}
