package ui

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestWhatThereIsIsFound(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_STATE_HOME", filepath.Join(home, "state"))
	t.Setenv("PATH", home)
	if s := InspectMachine(); s.Program != "" || s.setUp {
		t.Errorf("in an empty home: %+v", s)
	}
	program, state := filepath.Join(home, "tokend"), filepath.Join(home, "state", "tokend")
	err := os.MkdirAll(state, 0o700)
	for _, file := range []string{filepath.Join(state, "install.toml"), program} {
		err = errors.Join(err, os.WriteFile(file, nil, 0o700))
	}
	if s := InspectMachine(); err != nil || s.Program != program || !s.setUp {
		t.Errorf("with all of it: %+v, %v", s, err)
	}
}
