package service

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"os/user"
	"path"
	"path/filepath"
	"strings"
	"unicode"

	"tokend/packaging"
	"tokend/providers/token"
)

// unit returns the unit that packaging has under this name, with d's paths.
func (d Definition) unit(name string) (string, error) {
	text, err := packaging.Services.ReadFile(path.Join(d.folder(), name))
	if err != nil {
		return "", err
	}
	tokenctl := filepath.Join(filepath.Dir(d.Program), "tokenctl")
	paths := []string{
		"/usr/bin/tokend ", d.Program + " ",
		"/usr/bin/tokenctl ", tokenctl + " ",
		"%t/tokend/tokend.sock", d.specified(d.Socket),
		"/run/tokend/tokend.sock", d.Socket,
	}
	if !d.System {
		paths = append(paths, "%h/.config/tokend", d.specified(d.Dirs.Config), "%h/.local/state/tokend", d.specified(d.Dirs.State))
	}
	for _, path := range []string{d.Program, d.Socket, d.Dirs.Config, d.Dirs.State} {
		if err := CheckUnitPath(path); err != nil {
			return "", err
		}
	}
	return strings.NewReplacer(paths...).Replace(string(text)), nil
}

// CheckUnitPath refuses a path with a character that could mean something to systemd
// (systemd.syntax(7)).
func CheckUnitPath(path string) error {
	odd := func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || strings.ContainsRune("%$:;\"'\\", r)
	}
	if strings.ContainsFunc(path, odd) {
		return &token.Error{Code: token.ErrInvalid, Message: fmt.Sprintf("a unit of systemd cannot hold %q: use a path without spaces, quotes and such", path)}
	}
	return nil
}

// specified writes a path with the specifiers of a user's units (systemd.unit(5)),
// as packaging's units do: the service follows a home that moves.
func (d Definition) specified(path string) string {
	if me, err := user.Current(); err == nil {
		for _, known := range [][2]string{{me.HomeDir + "/", "%h/"}, {"/run/user/" + me.Uid + "/", "%t/"}} {
			if rest, ok := strings.CutPrefix(path, known[0]); ok {
				return known[1] + rest
			}
		}
	}
	return path
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
