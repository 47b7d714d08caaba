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
	const program = "/usr/bin/tokend"
	for want, s := range map[string]Machine{
		"Choose where secrets are kept, once: tokend setup\nThen start it: tokenctl --start, or as a service: tokend install":            {Program: program},
		"Start it: tokenctl --start, or as a service: tokend install":                                                                    {Program: program, setUp: true, system: true},
		"The system's tokend is not running. As root: tokend start --system":                                                             {Program: program, system: true},
		"tokend is neither beside tokenctl nor in $PATH; install it first.\nStart it: tokenctl --start, or as a service: tokend install": {setUp: true},
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
	t.Setenv("HOME", home)
	t.Setenv("XDG_STATE_HOME", filepath.Join(home, "state"))
	t.Setenv("PATH", home)
	if s := InspectMachine(); s.Program != "" || s.setUp {
		t.Errorf("in an empty home: %+v", s)
	}
	state, err := StateDir()
	if err == nil {
		err = os.MkdirAll(state, 0o700)
	}
	program := filepath.Join(home, "tokend")
	if runtime.GOOS == "windows" {
		program += ".exe"
	}
	for _, file := range []string{filepath.Join(state, "install.toml"), program} {
		if err == nil {
			err = os.WriteFile(file, nil, 0o700)
		}
	}
	if s := InspectMachine(); err != nil || s.Program != program || !s.setUp {
		t.Errorf("with all of it: %+v, %v", s, err)
	}
}
