package setup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/google/renameio/v2/maybe"
)

// readFile reads a configuration file; one that is not there is empty.
func readFile(path string) (string, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return string(text), err
}

// writeFile replaces a file as a whole. A link is followed, as people keep
// their configuration elsewhere; the mode stays.
func writeFile(path, text string) error {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	mode := fs.FileMode(0o600)
	if info, err := os.Stat(path); err == nil {
		mode = info.Mode().Perm()
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return maybe.WriteFile(path, []byte(text), mode)
}

// An edit is a change of a file's text.
type edit struct {
	path, shown string
	// add and remove return the text with and without the change, as it was if
	// there is nothing to do. Their errors name what others wrote that conflicts.
	add, remove func(text string) (string, error)
}

func (e edit) Show() string { return e.path + ":\n" + e.shown }

func (e edit) Done() (bool, error) {
	text, err := readFile(e.path)
	if err != nil {
		return false, err
	}
	after, err := e.add(text)
	return err == nil && after == text, err
}

func (e edit) Make() error { return e.apply(e.add) }
func (e edit) Undo() error { return e.apply(e.remove) }

func (e edit) apply(change func(string) (string, error)) error {
	text, err := readFile(e.path)
	if err != nil {
		return err
	}
	after, err := change(text)
	switch {
	case err != nil || after == text:
		return err
	case after == "": // the file was ours alone
		return os.Remove(e.path)
	}
	return writeFile(e.path, after)
}

// block puts lines between two comments at the end of a file whose comments begin
// with #. The name tells the blocks of one file apart. Other lines must not begin with
// one of the words in conflicts.
func block(path, name, lines string, conflicts ...string) edit {
	begin, end := "# begin "+name+" (tokenctl setup)\n", "# end "+name+"\n"
	whole := begin + lines + end
	remove := func(text string) (string, error) {
		start := strings.Index("\n"+text, "\n"+begin)
		if start < 0 {
			return text, nil
		}
		_, after, ok := strings.Cut(text[start:], end)
		if !ok {
			return text, conflict("%s has the line %q and not the one that ends the block; take the block out by hand", path, strings.TrimSpace(begin))
		}
		return text[:start] + after, nil
	}
	return edit{path, whole, func(text string) (string, error) {
		rest, err := remove(text)
		for line := range strings.Lines(rest) {
			isWord := func(word string) bool { return strings.HasPrefix(strings.TrimSpace(line), word) }
			if i := slices.IndexFunc(conflicts, isWord); err == nil && i >= 0 {
				err = conflict("%s has %s already: add to it by hand what is new", path, conflicts[i])
			}
		}
		if err != nil || strings.Contains("\n"+text, "\n"+whole) {
			return text, err
		}
		return withLine(rest, whole), nil
	}, remove}
}

// line is one setting in a file of key=value lines that its tool writes too.
func line(path, key, value string) edit {
	own := key + "=" + value + "\n"
	remove := func(text string) (rest string, err error) {
		for l := range strings.Lines(text) {
			name, now, _ := strings.Cut(l, "=")
			switch {
			case strings.TrimSpace(name) != key:
				rest += l
			case strings.TrimSpace(now) != value:
				err = conflict("%s has %s already", path, key)
			}
		}
		return rest, err
	}
	return edit{path, own, func(text string) (string, error) {
		rest, err := remove(text)
		if err != nil || rest != text {
			return text, err
		}
		return withLine(text, own), nil
	}, remove}
}

// withLine adds a line or more to text.
func withLine(text, line string) string {
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	return text + line
}

// without takes out what an earlier version added.
func without(old edit) edit {
	remove := func(text string) (string, error) {
		if _, err := old.add(text); err != nil { // of what others wrote
			return "", err
		}
		return old.remove(text)
	}
	return edit{old.path, "(without these lines)\n" + old.shown, remove, remove}
}

// A link makes tokenctl found under another name.
type link struct {
	path, self string
	// shared: others may call it by that name too, so it stays at Undo.
	shared bool
}

// onWindows makes hard links, because symbolic ones take a right that users lack
// there. Tests set it.
var onWindows = runtime.GOOS == "windows"

// newLink returns a link to this tokenctl. Windows runs only what ends in .exe.
func newLink(path string, r Request, shared bool) link {
	if onWindows {
		path += ".exe"
	}
	return link{path, r.Self, shared}
}

// typed is a path as configuration files and shells take it: to many of them \ is
// an escape, and Windows takes / too.
func typed(path string) string {
	if onWindows {
		return strings.ReplaceAll(path, `\`, "/")
	}
	return path
}

func (l link) Show() string {
	if onWindows {
		return fmt.Sprintf("mklink /H \"%s\" \"%s\"\n", l.path, l.self)
	}
	return "ln -s " + l.self + " " + l.path + "\n"
}

// Done reports whether the name leads to this tokenctl. One that leads to another may
// be replaced.
func (l link) Done() (bool, error) {
	if isSame(l.path, l.self) {
		return true, nil
	}
	target, err := os.Readlink(l.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, conflict("%s is there and not a link to this tokenctl; delete it if it is one to an earlier tokenctl", l.path)
	case filepath.Base(target) != filepath.Base(l.self):
		return false, conflict("%s leads to %s and not to tokenctl", l.path, target)
	}
	return false, nil
}

func (l link) Make() error {
	if err := os.MkdirAll(filepath.Dir(l.path), 0o755); err != nil {
		return err
	}
	if err := os.Remove(l.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if onWindows {
		return os.Link(l.self, l.path)
	}
	return os.Symlink(l.self, l.path)
}

func (l link) Undo() error {
	if done, err := l.Done(); !done || l.shared {
		return err
	}
	return os.Remove(l.path)
}

// lookPath finds a program in $PATH, and reports whether it is this tokenctl.
func lookPath(name, self string) (path string, isSelf bool) {
	path, _ = exec.LookPath(name)
	return path, isSame(path, self)
}

// isSame reports whether two paths lead to the same file.
func isSame(a, b string) bool {
	one, err := os.Stat(a)
	other, failed := os.Stat(b)
	return err == nil && failed == nil && os.SameFile(one, other)
}

// onPath has a program name lead to tokenctl: nothing if it does, else a link
// in a directory of $PATH.
func onPath(name string, r Request) ([]Change, error) {
	switch path, isSelf := lookPath(name, r.Self); {
	case isSelf:
		return nil, nil
	case path != "":
		return nil, conflict("the program %s is there already", path)
	}
	beside, own := filepath.Dir(r.Self), filepath.Join(r.home, ".local", "bin")
	for _, dir := range []string{own, beside} {
		isDir := func(d string) bool { return filepath.Clean(d) == dir }
		if slices.ContainsFunc(filepath.SplitList(os.Getenv("PATH")), isDir) {
			return []Change{newLink(filepath.Join(dir, name), r, true)}, nil
		}
	}
	return nil, impossible("%s must be found in $PATH, which has neither %s nor %s; make the link by hand: %s",
		name, own, beside, strings.TrimSpace(newLink(filepath.Join("DIR", name), r, true).Show()))
}
