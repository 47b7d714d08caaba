package ui

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"tokend/providers/token"
)

// A Machine is what there is of tokend here, as far as files show.
type Machine struct {
	// Program is tokend's file, empty if there is none.
	Program string
	// setUp: this user has chosen where secrets are kept.
	setUp bool
	// running is the user's own tokend, if it serves elsewhere.
	running string
	// system: root has set up the system service.
	system bool
}

// OnlySystem reports whether the system's tokend is set up, and none of this user's.
func (m Machine) OnlySystem() bool { return m.system && !m.setUp }

// InspectMachine looks for what there is of tokend here.
func InspectMachine() Machine {
	state, err := StateDir()
	running := ""
	if h := ownHolder(); h.Serves(context.Background()) {
		running = Printable(h.String())
	}
	return Machine{
		Program: FindTokend(), running: running,
		setUp:  err == nil && IsSetUp(state),
		system: runtime.GOOS == "linux" && Exists(systemState),
	}
}

const systemState = "/var/lib/tokend"

// IsSystem reports whether this is the system's tokend.
func IsSystem(st token.Status) bool { return st.State == systemState }

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
func IsSetUp(state string) bool { return Exists(filepath.Join(state, "install.toml")) }

// FindTokend is the file of the program tokend: the one beside tokenctl, else
// the one in $PATH, else none.
func FindTokend() string {
	files := []string{"tokend"}
	if own, err := os.Executable(); err == nil {
		if own, err = filepath.EvalSymlinks(own); err == nil {
			files = []string{filepath.Join(filepath.Dir(own), "tokend"), "tokend"}
		}
	}
	for _, file := range files {
		if path, err := exec.LookPath(file); err == nil {
			return path
		}
	}
	return ""
}

// Exists reports whether there is such a file.
func Exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
