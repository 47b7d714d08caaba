// Package service runs tokend as a service of systemd, launchd or Windows:
// kardianos/service, and what that lacks.
package service

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"os"
	"os/user"
	"path"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"

	kardianos "github.com/kardianos/service"

	"tokend/daemon/profile"
	"tokend/packaging"
	"tokend/providers/token"
)

// Name is tokend's name among the services.
const Name = "tokend"

// A Definition is what a Manager is to run. For all but Install, System is
// enough (on macOS Restart needs Socket, on Windows State needs Dirs).
type Definition struct {
	System  bool
	Notify  bool   // with tokend notify in the user's desktop session (systemd)
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
		Name: Name, DisplayName: Name, Description: "Holds keys and serves fresh access tokens",
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

// unit returns the unit that packaging has under this name, with d's paths.
func (d Definition) unit(name string) (string, error) {
	text, err := packaging.Services.ReadFile(path.Join(d.folder(), name))
	if err != nil {
		return "", err
	}
	if strings.ContainsAny(d.Program, `$"'\`) || strings.TrimSpace(d.Socket) != d.Socket || strings.HasSuffix(d.Socket, `\`) {
		return "", &token.Error{Code: token.ErrInvalid, Message: fmt.Sprintf("systemd does not accept one of these paths: %q, %q", d.Program, d.Socket)}
	}
	quotes := map[string]func(string) string{
		"ExecStart": d.commandWord, "ExecReload": d.commandWord, "ReadWritePaths": d.word, "ListenStream": d.specified,
	}
	var unit strings.Builder
	for line := range strings.Lines(string(text)) {
		setting, _, _ := strings.Cut(line, "=")
		if quote := quotes[setting]; quote != nil {
			line = strings.NewReplacer(d.unitPaths(quote)...).Replace(line)
		}
		unit.WriteString(line)
	}
	return unit.String(), nil
}

// unitPaths pairs the paths in packaging's units with d's, which quote spells for
// the setting that holds them.
func (d Definition) unitPaths(quote func(string) string) []string {
	paths := []string{
		"/usr/bin/tokend ", quote(d.Program) + " ",
		"/usr/bin/tokenctl ", quote(filepath.Join(filepath.Dir(d.Program), "tokenctl")) + " ",
		"%t/tokend/tokend.sock", quote(d.Socket),
		"/run/tokend/tokend.sock", quote(d.Socket),
	}
	if d.System {
		return paths
	}
	return append(paths, "%h/.config/tokend", quote(d.Dirs.Config), "%h/.local/state/tokend", quote(d.Dirs.State))
}

// commandWord quotes a path as one word of a command (systemd.service(5)).
func (d Definition) commandWord(path string) string {
	return strings.ReplaceAll(d.word(path), "$", "$$")
}

// word quotes a path as one word of a list (systemd.syntax(7)).
func (d Definition) word(path string) string {
	word := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(d.specified(path))
	if strings.ContainsAny(word, " '\"\\;") {
		return `"` + word + `"`
	}
	return word
}

// specified writes a path with the specifiers of a user's units (systemd.unit(5)),
// as packaging's units do: the service follows a home that moves.
func (d Definition) specified(path string) string {
	if me, err := user.Current(); err == nil && !d.System {
		for _, known := range [][2]string{{me.HomeDir + "/", "%h/"}, {"/run/user/" + me.Uid + "/", "%t/"}} {
			if rest, ok := strings.CutPrefix(path, known[0]); ok {
				return known[1] + strings.ReplaceAll(rest, "%", "%%")
			}
		}
	}
	return strings.ReplaceAll(path, "%", "%%")
}

// folder returns the folder of the units in packaging.Services.
func (d Definition) folder() string {
	if d.System {
		return "systemd"
	}
	return "systemd/user"
}

// plist returns launchd's job as packaging has it, with d's paths.
func (d Definition) plist(log string) (string, error) {
	name := "launchd/agent.plist"
	if d.System {
		name = "launchd/daemon.plist"
	}
	text, err := packaging.Services.ReadFile(name)
	if err != nil {
		return "", err
	}
	const user = "/Users/USER/Library/Application Support/tokend"
	var paths []string
	for _, path := range [][2]string{
		{"/usr/local/bin/tokend", d.Program},
		{user + "/tokend.sock", d.Socket}, {"/var/run/tokend/tokend.sock", d.Socket},
		{user + "/state", d.Dirs.State}, {user, d.Dirs.Config},
		{"/Users/USER/Library/Logs/tokend.log", log}, {"/var/log/tokend.log", log},
	} {
		var escaped bytes.Buffer
		if err := xml.EscapeText(&escaped, []byte(path[1])); err != nil {
			return "", err
		}
		paths = append(paths, "<string>"+path[0]+"</string>", "<string>"+escaped.String()+"</string>")
	}
	return strings.NewReplacer(paths...).Replace(string(text)), nil
}
