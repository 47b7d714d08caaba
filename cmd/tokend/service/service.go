// Package service runs tokend as a service of systemd, launchd or Windows:
// kardianos/service, and what that lacks.
package service

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"

	kardianos "github.com/kardianos/service"

	"tokend/daemon/profile"
	"tokend/providers/token"
)

// Name is tokend's name among the services.
const Name = "tokend"

// A Definition is what a Manager is to run. For all but Install, System is
// enough (on macOS Restart needs Socket, on Windows State needs Dirs).
type Definition struct {
	System  bool
	Program string // absolute path of tokend
	Dirs    profile.Dirs
	Socket  string
}

// State is the state of a service.
type State struct {
	File       string // its definition; empty if it is not installed
	Enabled    bool   // it starts at boot or login
	Running    bool
	SocketHeld bool     // the manager holds its socket open, also while it does not run
	PID        int      // 0 if it does not run, or is unknown
	Status     string   // in the words of tokend or of the manager
	Failure    string   // why its last run ended, if it failed
	Notes      []string // what the user should know
	Log        string   // the log's file, or the command that shows it
}

// A StartError is why the service ended while it started, with its exit status.
type StartError struct {
	Status int
	Text   string
}

func (e StartError) Error() string { return e.Text }

// config is the service as kardianos/service takes it.
func (d Definition) config(options kardianos.KeyValue) *kardianos.Config {
	return &kardianos.Config{
		Name: Name, DisplayName: Name, Description: "Holds keys and hands out fresh access tokens",
		Executable: d.Program, Option: options,
	}
}

// Check refuses a definition that could not be written, a program that will not
// stay where it is, and one that others than root could replace although the
// machine relies on it.
func (d Definition) Check() error {
	for _, path := range []string{d.Program, d.Dirs.Config, d.Dirs.State, d.Socket} {
		if err := checkPath(path); err != nil {
			return err
		}
	}
	for _, dir := range []string{os.TempDir(), "/tmp", "/var/tmp"} {
		if strings.HasPrefix(d.Program, filepath.Clean(dir)+string(filepath.Separator)) {
			return fmt.Errorf("this program is %s, where it will not stay: go install ./cmd/tokend ./cmd/tokenctl, and run that one", d.Program)
		}
	}
	if !d.System {
		return nil
	}
	if err := checkSystemProgram(d.Program); err != nil {
		return fmt.Errorf("%w: install -m 0755 tokend tokenctl /usr/local/bin/, and run that one", err)
	}
	return nil
}

// checkPath refuses a path that no definition can hold: "{{" begins an action of
// kardianos' templates.
func checkPath(path string) error {
	if !utf8.ValidString(path) || strings.ContainsFunc(path, unicode.IsControl) || strings.Contains(path, "{{") {
		return &token.Error{Code: token.ErrInvalid, Message: fmt.Sprintf("%q: the definition of a service cannot hold such a path", path)}
	}
	return nil
}

// Exists reports whether a file exists.
func Exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Holds reports whether a file has this text.
func Holds(file, text string) bool {
	has, err := os.ReadFile(file)
	return err == nil && string(has) == text
}
