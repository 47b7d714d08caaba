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

// DraftFile returns a file for a person to edit, in a new directory of its own, where no
// one else can read it. It outlives this process, and the session where possible.
func DraftFile(name string) (string, error) {
	places, err := privatePlaces(os.Getenv("XDG_RUNTIME_DIR"), "/tmp", os.TempDir())
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(places[len(places)-1], "tokenctl-edit-")
	return filepath.Join(dir, name), err
}

// Edit opens text in the person's editor, as that file, and returns what became of it.
func Edit(e *ui.Env, file, text string) (string, error) {
	editor := cmp.Or(os.Getenv("VISUAL"), os.Getenv("EDITOR"))
	for _, name := range []string{"editor", "nano", "vi", "notepad"} {
		if _, err := exec.LookPath(name); err == nil {
			editor = cmp.Or(editor, name)
		}
	}
	cmd := exec.Command("sh", "-c", editor+` "$@"`, "sh", file) // as git does
	if words := append(strings.Fields(editor), file); runtime.GOOS == "windows" {
		cmd = exec.Command(words[0], words[1:]...)
	}
	if editor == "" {
		return text, errors.New("no editor was found: name yours in $EDITOR, or pass the text with --file")
	}
	signals, stop := catchSignals()
	defer stop()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = e.In, e.Out.W, e.Err.W
	err := os.WriteFile(file, []byte(text), 0o600)
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return text, err
	}
	defer forward(cmd.Process, signals, func() {})()
	err = wait(cmd)
	if exit, failed := errors.AsType[*ui.Exit](err); failed {
		err = fmt.Errorf("the editor ended with status %d", exit.Status)
	}
	typed, unread := os.ReadFile(file)
	return string(typed), cmp.Or(err, unread)
}
