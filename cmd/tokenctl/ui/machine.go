package ui

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"tokend/ipc"
)

// A Machine is what there is of tokend here, as far as files show. It says what
// to type if tokend does not answer.
type Machine struct {
	// Program is tokend's file, empty if there is none.
	Program string
	// setUp: this user has chosen where secrets are kept.
	setUp bool
	// service: the user's service manager starts it.
	service bool
	// system: root has set up the system service; unit: systemd knows it.
	system, unit bool
	// root: root runs this; headless: there is no desktop session.
	root, headless bool
	// unmanaged: there is no service manager to install tokend with.
	unmanaged bool
}

// InspectMachine looks for what there is of tokend here.
func InspectMachine() Machine {
	state, err := StateDir()
	return Machine{
		Program:  FindTokend(),
		setUp:    err == nil && IsSetUp(state),
		service:  isAnywhere("tokend"+serviceSuffix(), userServiceDirs()),
		system:   runtime.GOOS == "linux" && there("/var/lib/tokend"),
		unit:     isAnywhere("tokend.service", systemUnitDirs),
		root:     os.Getuid() == 0,
		headless: runtime.GOOS == "linux" && !hasSessionBus(),
		// As sd_booted(3) does.
		unmanaged: runtime.GOOS == "linux" && !there("/run/systemd/system"),
	}
}

// steps are what to type, in order, so that tokend answers.
func (s Machine) steps() (lines []string) {
	if s.Program == "" {
		lines = append(lines, "tokend is neither beside tokenctl nor in $PATH; install it first.")
	}
	own := "" // root has to say which service it means
	if s.root {
		own = "--user"
	}
	switch {
	case s.setUp && s.service:
		return append(lines, "Start it: "+Typed("tokend start", own))
	case s.setUp:
		return append(lines, "Start it: "+Typed("tokenctl --start")+s.atLogin(", or at each login from now on: ", own))
	case s.system:
		return append(lines, "The system's tokend is not running. As root: "+Typed("tokend start --system"))
	case s.root && s.unit:
		return append(lines, "Set the system service up: "+Typed("tokend setup --system"),
			"Then have it started, also at boot: "+Typed("tokend install --system"))
	}
	choice := "tokend setup"
	if s.headless {
		choice = "tokend setup --keystore sealed --key-file ~/.tokend.key"
	}
	return append(lines, "Choose where secrets are kept, once: "+Typed(choice),
		"Then start it: "+Typed("tokenctl --start")+s.atLogin(", or at each login: ", own))
}

// atLogin is how to install tokend as the user's service, after introducing
// words; empty where that is not possible.
func (s Machine) atLogin(words, own string) string {
	if s.unmanaged {
		return ""
	}
	return words + Typed("tokend install", own)
}

// StateDir is the state directory of a user's own tokend, which takes it from
// profile.UserDirs.
func StateDir() (string, error) {
	if runtime.GOOS == "darwin" || runtime.GOOS == "windows" {
		config, err := os.UserConfigDir()
		return filepath.Join(config, "tokend", "state"), err
	}
	if state := os.Getenv("XDG_STATE_HOME"); state != "" {
		return filepath.Join(state, "tokend"), nil
	}
	home, err := os.UserHomeDir()
	return filepath.Join(home, ".local", "state", "tokend"), err
}

// IsSetUp reports whether the choice of keystore is recorded in a state
// directory.
func IsSetUp(state string) bool { return there(filepath.Join(state, "install.toml")) }

// FindTokend is the file of the program tokend: the one beside tokenctl, else
// the one in $PATH, else none.
func FindTokend() string {
	name := "tokend"
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	if own, err := os.Executable(); err == nil {
		if own, err = filepath.EvalSymlinks(own); err == nil {
			if beside, err := exec.LookPath(filepath.Join(filepath.Dir(own), name)); err == nil {
				return beside
			}
		}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return ""
	}
	return path
}

// systemUnitDirs are where systemd finds units of the system (systemd.unit(5)).
var systemUnitDirs = []string{"/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"}

// userServiceDirs are where the service manager finds a user's services.
func userServiceDirs() (dirs []string) {
	home, err := os.UserHomeDir()
	if err != nil {
		return nil
	}
	if runtime.GOOS == "darwin" {
		return []string{filepath.Join(home, "Library", "LaunchAgents")}
	}
	if config, err := os.UserConfigDir(); err == nil {
		dirs = append(dirs, filepath.Join(config, "systemd", "user"))
	}
	return append(dirs, filepath.Join(home, ".local", "share", "systemd", "user"),
		"/etc/systemd/user", "/usr/local/lib/systemd/user", "/usr/lib/systemd/user")
}

// serviceSuffix ends the name of a service's file.
func serviceSuffix() string {
	if runtime.GOOS == "darwin" {
		return ".plist"
	}
	return ".service"
}

// hasSessionBus reports whether there is a D-Bus session, over which a keyring
// service answers.
func hasSessionBus() bool {
	if os.Getenv("DBUS_SESSION_BUS_ADDRESS") != "" {
		return true
	}
	socket, err := ipc.UserSocket()
	return err == nil && there(filepath.Join(filepath.Dir(filepath.Dir(socket)), "bus"))
}

func isAnywhere(name string, dirs []string) bool {
	for _, dir := range dirs {
		if there(filepath.Join(dir, name)) {
			return true
		}
	}
	return false
}

func there(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
