package child

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"tokend/cmd/tokenctl/ui"
)

// A Draft is a text that a person edits, in a file of a directory of its own.
type Draft struct {
	file    string
	command *exec.Cmd
}

// NewDraft makes the place for a text, under the name that its editor shows.
func NewDraft(name string) (*Draft, error) {
	d := &Draft{}
	places, err := privatePlaces(os.Getenv("XDG_RUNTIME_DIR"), "/tmp", os.TempDir()) // the first ends with the session
	if err != nil {
		return nil, err
	}
	if _, err := d.editor(); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(places[len(places)-1], "tokenctl-edit-")
	d.file = filepath.Join(dir, name)
	return d, err
}

// editor is the command that edits the file.
func (d *Draft) editor() (*exec.Cmd, error) {
	chosen := cmp.Or(os.Getenv("VISUAL"), os.Getenv("EDITOR"))
	for _, name := range []string{"editor", "nano", "vi", "notepad"} {
		if _, err := exec.LookPath(name); err == nil {
			chosen = cmp.Or(chosen, name)
		}
	}
	switch {
	case chosen == "":
		return nil, errors.New("no editor was found: name yours in $EDITOR, or hand in the text with --file")
	case runtime.GOOS == "windows":
		words := append(strings.Fields(chosen), d.file)
		return exec.Command(words[0], words[1:]...), nil
	}
	return exec.Command("sh", "-c", chosen+` "$@"`, "sh", d.file), nil // as git does
}

// Edit lets the person edit text, and returns what the person made of it.
func (d *Draft) Edit(e *ui.Env, text string) (string, error) {
	cmd, err := d.editor()
	if err == nil {
		err = os.WriteFile(d.file, []byte(text), 0o600)
	}
	if err != nil {
		return text, err
	}
	signals, stop := catchSignals()
	defer stop()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = e.In, e.Out.W, e.Err.W
	if err := cmd.Start(); err != nil {
		return text, err
	}
	endForward := forward(cmd.Process, signals, func() {})
	err = wait(cmd)
	endForward()
	if exit, failed := errors.AsType[*ui.Exit](err); failed {
		err = fmt.Errorf("the editor ended with status %d", exit.Status)
	}
	typed, unread := os.ReadFile(d.file)
	return string(typed), cmp.Or(err, unread)
}

// Keep leaves the text to the person, and returns its file.
func (d *Draft) Keep(text string) (file string, err error) {
	return d.file, os.WriteFile(d.file, []byte(text), 0o600)
}

// Remove removes the file, and what an editor left beside it.
func (d *Draft) Remove() { _ = os.RemoveAll(filepath.Dir(d.file)) }
