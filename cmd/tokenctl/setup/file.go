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

	"tokend/providers/token/format"
)

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

// edit is a change of a file's text. add and remove return the text with and without
// it, as it was if there is nothing to do.
func edit(path, shown string, add, remove func(text string) (string, error)) Change {
	apply := func(change func(string) (string, error), write bool) (same bool, err error) {
		content, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // one that is not there is empty
			return false, err
		}
		text := string(content)
		after, err := change(text)
		switch {
		case err != nil || after == text || !write:
			return err == nil && after == text, err
		case after == "": // the file was ours alone
			return false, os.Remove(path)
		}
		return false, writeFile(path, after)
	}
	return Change{
		Show: path + ":\n" + shown,
		Done: func() (bool, error) { return apply(add, false) },
		Make: func() error { _, err := apply(add, true); return err },
		Undo: func() error { _, err := apply(remove, true); return err },
	}
}

// block puts lines between two comments at the end of a file whose comments begin
// with #. The name tells the blocks of one file apart. Other lines must not begin with
// one of the words in conflicts.
func block(path, name, lines string, conflicts ...string) Change {
	begin, end := "# begin "+name+" (tokenctl setup)\n", "# end "+name+"\n"
	whole := begin + lines + end
	remove := func(text string) (string, error) {
		start := strings.Index("\n"+text, "\n"+begin)
		if start < 0 {
			return text, nil
		}
		_, after, ok := strings.Cut(text[start:], end)
		if !ok {
			return text, conflict("%s has the line %q and not the one that ends the block; remove the block by hand", path, strings.TrimSpace(begin))
		}
		return text[:start] + after, nil
	}
	return edit(path, whole, func(text string) (string, error) {
		rest, err := remove(text)
		for line := range strings.Lines(rest) {
			isWord := func(word string) bool { return strings.HasPrefix(strings.TrimSpace(line), word) }
			if i := slices.IndexFunc(conflicts, isWord); err == nil && i >= 0 {
				err = conflict("%s already has %s: add the new lines by hand", path, conflicts[i])
			}
		}
		if err != nil || strings.Contains("\n"+text, "\n"+whole) {
			return text, err
		}
		return withLine(rest, whole), nil
	}, remove)
}

// line is one setting in a file of key=value lines that its tool writes too.
func line(path, key, value string) Change {
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
	return edit(path, own, func(text string) (string, error) {
		rest, err := remove(text)
		if err != nil || rest != text {
			return text, err
		}
		return withLine(text, own), nil
	}, remove)
}

// withLine adds a line or more to text.
func withLine(text, line string) string {
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	return text + line
}

// without takes out what an earlier version added.
func without(old Change) Change {
	done := func() (bool, error) {
		there, err := old.Done()
		return !there && err == nil, err
	}
	return Change{"removed from " + old.Show, done, old.Undo, old.Undo}
}

// onWindows makes hard links, because symbolic ones take a right that users lack
// there. Tests set it.
var onWindows = runtime.GOOS == "windows"

// program is a path as the system runs it: Windows takes only what ends in .exe.
func program(path ...string) string {
	if onWindows {
		path[len(path)-1] += ".exe"
	}
	return filepath.Join(path...)
}

// typed is a path as configuration files and shells take it: to many of them \ is
// an escape, and Windows takes / too.
func typed(path string) string {
	if onWindows {
		return strings.ReplaceAll(path, `\`, "/")
	}
	return path
}

// link makes this tokenctl found at path, in place of another tokenctl.
func link(path, self string) Change {
	show, makeLink := "ln -s "+format.ShellQuote(self)+" "+format.ShellQuote(path)+"\n", os.Symlink
	if onWindows {
		show, makeLink = fmt.Sprintf("cmd /c mklink /H \"%s\" \"%s\"\n", path, self), os.Link
	}
	done := func() (bool, error) {
		target, err := os.Readlink(path)
		switch {
		case isSame(path, self):
			return true, nil
		case errors.Is(err, fs.ErrNotExist):
			return false, nil
		case err != nil:
			return false, conflict("%s exists and is not a link to this tokenctl; delete it if it links to an earlier one", path)
		case filepath.Base(target) != filepath.Base(self):
			return false, conflict("%s leads to %s and not to tokenctl", path, target)
		}
		return false, nil
	}
	return Change{show, done, func() error {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return makeLink(self, path)
	}, func() error {
		if done, err := done(); !done {
			return err
		}
		return os.Remove(path)
	}}
}

// sharedLink is a link that others may call too, so it stays at Undo.
func sharedLink(path, self string) Change {
	l := link(path, self)
	l.Undo = func() error { return nil }
	return l
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
		return nil, conflict("the program %s already exists", path)
	}
	beside, own := filepath.Dir(r.Self), filepath.Join(r.home, ".local", "bin")
	for _, dir := range []string{own, beside} {
		isDir := func(d string) bool { return filepath.Clean(d) == dir }
		if slices.ContainsFunc(filepath.SplitList(os.Getenv("PATH")), isDir) {
			return []Change{sharedLink(program(dir, name), r.Self)}, nil
		}
	}
	return nil, impossible("%s must be found in $PATH, which has neither %s nor %s; make the link by hand: %s",
		name, own, beside, strings.TrimSpace(link(program("DIR", name), r.Self).Show))
}
