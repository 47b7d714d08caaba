package ui

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"tokend/daemon/profile"
)

// The steps fit the machine, and end with a tokend that answers.
func TestStepsFitTheMachine(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the commands of other systems differ")
	}
	const program = "/usr/bin/tokend"
	for want, s := range map[string]Machine{
		"Choose where secrets are kept, once: tokend setup\nThen start it: tokenctl --start, or at each login: tokend install":                                            {Program: program},
		"Choose where secrets are kept, once: tokend setup --keystore sealed --key-file ~/.tokend.key\nThen start it: tokenctl --start, or at each login: tokend install": {Program: program, headless: true},
		"Start it: tokenctl --start, or at each login from now on: tokend install":                                                                                        {Program: program, setUp: true, headless: true},
		"Start it: tokenctl --start": {Program: program, setUp: true, unmanaged: true},
		"Choose where secrets are kept, once: tokend setup\nThen start it: tokenctl --start": {Program: program, unmanaged: true},
		"Start it: tokend start": {Program: program, setUp: true, service: true, system: true},
		"The system's tokend is not running. As root: tokend start --system":                                            {Program: program, system: true, unit: true},
		"Set the system service up: tokend setup --system\nThen have it started, also at boot: tokend install --system": {Program: program, root: true, unit: true},
		"Start it: tokend start --user": {Program: program, setUp: true, service: true, root: true, unit: true},
		"tokend is neither beside tokenctl nor in $PATH; install it first.\nStart it: tokenctl --start, or at each login from now on: tokend install": {setUp: true},
	} {
		if got := Plainly(strings.Join(s.steps(), "\n")); got != want {
			t.Errorf("%+v:\n%s\nwant\n%s", s, got, want)
		}
	}
}

// tokenctl looks where tokend writes.
func TestStateDirIsTokends(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	for _, state := range []string{"", "/srv/state"} {
		t.Setenv("XDG_STATE_HOME", state)
		dirs, err := profile.UserDirs()
		got, gotErr := StateDir()
		if err != nil || gotErr != nil || got != dirs.State {
			t.Errorf("XDG_STATE_HOME=%q: %s (%v), tokend says %s (%v)", state, got, gotErr, dirs.State, err)
		}
	}
}

func TestWhatThereIsIsFound(t *testing.T) {
	home := t.TempDir()
	for name, value := range map[string]string{
		"HOME": home, "XDG_STATE_HOME": "", "XDG_CONFIG_HOME": "", "XDG_RUNTIME_DIR": filepath.Join(home, "run"),
		"DBUS_SESSION_BUS_ADDRESS": "", "PATH": filepath.Join(home, "bin"),
	} {
		t.Setenv(name, value)
	}
	if s := InspectMachine(); s.Program != "" || s.setUp || s.service || s.headless != (runtime.GOOS == "linux") {
		t.Errorf("in an empty home: %+v", s)
	}
	state, err := StateDir()
	if err != nil {
		t.Fatal(err)
	}
	service := filepath.Join(userServiceDirs()[0], "tokend"+serviceSuffix())
	for file, mode := range map[string]os.FileMode{
		filepath.Join(state, "install.toml"): 0o600, service: 0o600,
		filepath.Join(home, "bin", "tokend"): 0o700, filepath.Join(home, "run", "bus"): 0o600,
	} {
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	if s := InspectMachine(); s.Program != filepath.Join(home, "bin", "tokend") || !s.setUp || !s.service || s.headless {
		t.Errorf("with all of it: %+v", s)
	}
}
