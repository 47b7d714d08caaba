package main

import (
	"fmt"
	"os/user"
	"path/filepath"
	"strings"

	"tokend/packaging"
	"tokend/providers/token"
)

// unit is a unit as a package ships it, with the places of d.
func (d definition) unit(name string) (string, error) {
	text, err := packaging.Services.ReadFile(name)
	if err != nil {
		return "", err
	}
	if strings.ContainsAny(d.program, `$"'\`) {
		return "", &token.Error{Code: token.ErrInvalid, Message: fmt.Sprintf("%s: systemd runs no program of such a path", d.program)}
	}
	socket := d.specified(d.socket)
	if strings.TrimSpace(socket) != socket || strings.HasSuffix(socket, `\`) {
		return "", &token.Error{Code: token.ErrInvalid, Field: "socket", Message: fmt.Sprintf("%q: systemd takes no such path", d.socket)}
	}
	lists := strings.NewReplacer(d.places(d.word)...)
	commands := strings.NewReplacer(d.places(d.commandWord)...)
	wholes := strings.NewReplacer(d.places(d.specified)...)
	var unit strings.Builder
	for line := range strings.Lines(string(text)) {
		switch setting, _, _ := strings.Cut(line, "="); setting {
		case "ExecStart", "ExecReload":
			line = commands.Replace(line)
		case "ReadWritePaths":
			line = lists.Replace(line)
		case "ListenStream":
			line = wholes.Replace(line)
		}
		unit.WriteString(line)
	}
	return unit.String(), nil
}

// places are what the units of packaging name, each followed by what stands for
// it here, spelt for where it goes.
func (d definition) places(spell func(string) string) []string {
	places := []string{
		"/usr/bin/tokend ", spell(d.program) + " ",
		"/usr/bin/tokenctl ", spell(filepath.Join(filepath.Dir(d.program), "tokenctl")) + " ",
		"%t/tokend/tokend.sock", spell(d.socket),
		"/run/tokend/tokend.sock", spell(d.socket),
	}
	if d.system {
		return places
	}
	return append(places, "%h/.config/tokend", spell(d.dirs.Config), "%h/.local/state/tokend", spell(d.dirs.State))
}

// commandWord is a path as one word of a command (systemd.service(5)).
func (d definition) commandWord(path string) string {
	return strings.ReplaceAll(d.word(path), "$", "$$")
}

// word is a path as one word of a setting (systemd.syntax(7)).
func (d definition) word(path string) string {
	word := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(d.specified(path))
	if strings.ContainsAny(word, " '\"\\;") {
		return `"` + word + `"`
	}
	return word
}

// specified writes a path with the specifiers of a user's units (systemd.unit(5)),
// as the units of packaging do: a home that moves takes its service along.
func (d definition) specified(path string) string {
	if me, err := user.Current(); err == nil && !d.system {
		for _, known := range [][2]string{{me.HomeDir + "/", "%h/"}, {"/run/user/" + me.Uid + "/", "%t/"}} {
			if rest, ok := strings.CutPrefix(path, known[0]); ok {
				return known[1] + strings.ReplaceAll(rest, "%", "%%")
			}
		}
	}
	return strings.ReplaceAll(path, "%", "%%")
}
