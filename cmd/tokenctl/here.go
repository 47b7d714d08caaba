package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"tokend/ipc"
)

// How tokend stands on this machine where it does not answer, as far as files
// tell, and what to type next. It is looked at only then.

// A standing is what there is of tokend here.
type standing struct {
	// program is tokend's file, empty if there is none to be found.
	program string
	// setUp: this user has chosen where secrets are kept.
	setUp bool
	// service: it is installed to be started by the user's service manager.
	service bool
	// system: root has set up the system service; unit: systemd knows that one.
	system, unit bool
	// root is who runs this; headless: no session of a desktop is to be seen.
	root, headless bool
	// unmanaged: no service manager runs that tokend can be installed with.
	unmanaged bool
}

// lookAround finds out how tokend stands here.
func lookAround() standing {
	state, err := userStateDir()
	return standing{
		program:  findTokend(),
		setUp:    err == nil && isSetUp(state),
		service:  isAnywhere("tokend"+serviceSuffix(), userServiceDirs()),
		system:   runtime.GOOS == "linux" && there("/var/lib/tokend"),
		unit:     isAnywhere("tokend.service", systemUnitDirs),
		root:     os.Getuid() == 0,
		headless: runtime.GOOS == "linux" && !hasSessionBus(),
		// As sd_booted(3) does.
		unmanaged: runtime.GOOS == "linux" && !there("/run/systemd/system"),
	}
}

// steps are what to type, in their order, for tokend to answer.
func (s standing) steps() (lines []string) {
	if s.program == "" {
		lines = append(lines, "tokend is neither beside tokenctl nor in $PATH; install it first.")
	}
	own := "" // which service is meant, tokend asks of root alone
	if s.root {
		own = "--user"
	}
	switch {
	case s.setUp && s.service:
		return append(lines, "Start it: "+typed("tokend start", own))
	case s.setUp:
		return append(lines, "Start it: "+typed("tokenctl --start")+s.atLogin(", or at each login from now on: ", own))
	case s.system:
		return append(lines, "The system's tokend does not run. As root: "+typed("tokend start --system"))
	case s.root && s.unit:
		return append(lines, "Set the system service up: "+typed("tokend setup --system"),
			"Then have it started, also at boot: "+typed("tokend install --system"))
	}
	choice := "tokend setup"
	if s.headless {
		choice = "tokend setup --keystore sealed --key-file ~/.tokend.key"
	}
	return append(lines, "Choose where secrets are kept, once: "+typed(choice),
		"Then start it: "+typed("tokenctl --start")+s.atLogin(", or at each login: ", own))
}

// atLogin is how tokend is installed as the user's service, after words that
// lead there; nothing where that cannot be.
func (s standing) atLogin(words, own string) string {
	if s.unmanaged {
		return ""
	}
	return words + typed("tokend install", own)
}

// userStateDir is where a user's own tokend keeps what it writes for itself:
// daemon.UserDirs says the same to tokend.
func userStateDir() (string, error) {
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

// isSetUp tells whether the choice of keystore is recorded in a state
// directory.
func isSetUp(state string) bool { return there(filepath.Join(state, "install.toml")) }

// findTokend is the file of the program tokend: the one beside tokenctl, else
// the one in $PATH, else none.
func findTokend() string {
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

// hasSessionBus tells whether a keyring service could be reached: it is asked
// over the session's D-Bus.
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
