package setup

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2/maybe"
)

// readFile reads a configuration file; one that is not there is empty.
func readFile(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return text, err
}

// writeFile replaces a file as a whole. A link is followed, as people keep
// their configuration elsewhere; the mode stays; a file that would be empty and
// was not there before stays away.
func writeFile(path string, text []byte) error {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	mode := fs.FileMode(0o600)
	if info, err := os.Stat(path); err == nil {
		mode = info.Mode().Perm()
	} else if len(text) == 0 {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return maybe.WriteFile(path, text, mode)
}

// A block is lines between two comments in a file whose comments begin with #.
type block struct {
	path string
	// name tells the blocks of one file apart.
	name, text string
	// conflict returns an error if the rest of the file conflicts with the block.
	conflict func(rest string) error
}

func (b block) begin() string { return "# begin " + b.name + " (tokenctl setup)\n" }
func (b block) end() string   { return "# end " + b.name + "\n" }

func (b block) whole() string { return b.begin() + b.text + b.end() }

func (b block) Show() string { return b.path + ":\n" + b.whole() }

// split finds the block in the file.
func (b block) split() (before, found, after string, err error) {
	text, err := readFile(b.path)
	if err != nil {
		return "", "", "", err
	}
	before, rest, ok := strings.Cut(string(text), b.begin())
	if !ok {
		return string(text), "", "", nil
	}
	if before != "" && !strings.HasSuffix(before, "\n") {
		return string(text), "", "", nil // not at the beginning of a line
	}
	inside, after, ok := strings.Cut(rest, b.end())
	if !ok {
		return "", "", "", conflict("%s has the line %q and not the one that ends the block; take the block out by hand", b.path, strings.TrimSpace(b.begin()))
	}
	return before, b.begin() + inside + b.end(), after, nil
}

func (b block) Done() (bool, error) {
	before, found, after, err := b.split()
	if err == nil && b.conflict != nil {
		err = b.conflict(before + after)
	}
	return err == nil && found == b.whole(), err
}

func (b block) Make() error {
	before, _, after, err := b.split()
	if err != nil {
		return err
	}
	text := b.whole()
	if before != "" && !strings.HasSuffix(before, "\n") {
		text = "\n" + text
	}
	return writeFile(b.path, []byte(before+text+after))
}

func (b block) Undo() error {
	before, found, after, err := b.split()
	if err != nil || found == "" {
		return err
	}
	if before+after == "" { // it was ours alone
		return os.Remove(b.path)
	}
	return writeFile(b.path, []byte(before+after))
}

// A link makes tokenctl found under another name.
type link struct {
	path, self string
	// needed reports, at Undo, whether another tool that was set up calls it.
	needed func() bool
}

// always: a name in $PATH does nothing by itself, and we cannot know who else
// calls it.
func always() bool { return true }

// named reports whether a file still names the link.
func named(file, path string) func() bool {
	return func() bool {
		text, err := readFile(file)
		return err != nil || strings.Contains(string(text), path)
	}
}

func (l link) Show() string { return "ln -s " + l.self + " " + l.path + "\n" }

// Done reports whether the name leads to a tokenctl, ours or a newer one.
func (l link) Done() (bool, error) {
	info, err := os.Lstat(l.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	case info.Mode()&fs.ModeSymlink == 0:
		return false, conflict("%s is there and not a link to tokenctl", l.path)
	}
	target, err := os.Readlink(l.path)
	if err != nil {
		return false, err
	}
	if filepath.Base(target) != filepath.Base(l.self) {
		return false, conflict("%s leads to %s and not to tokenctl", l.path, target)
	}
	return target == l.self, nil
}

func (l link) Make() error {
	if err := os.MkdirAll(filepath.Dir(l.path), 0o755); err != nil {
		return err
	}
	if err := os.Remove(l.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Symlink(l.self, l.path)
}

func (l link) Undo() error {
	if done, err := l.Done(); !done || l.needed != nil && l.needed() {
		return err
	}
	return os.Remove(l.path)
}

// onPath has a program name lead to tokenctl: nothing if it does, else a link
// in a directory of $PATH.
func onPath(name, self string) ([]Change, error) {
	dirs := filepath.SplitList(os.Getenv("PATH"))
	for _, dir := range dirs {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			target, err := filepath.EvalSymlinks(path)
			if own, err2 := filepath.EvalSymlinks(self); err == nil && err2 == nil && target == own {
				return nil, nil
			}
			return nil, conflict("the program %s is there already", path)
		}
	}
	own, err := inHome(".local", "bin")
	if err != nil {
		return nil, err
	}
	for _, dir := range []string{filepath.Dir(self), own} {
		for _, d := range dirs {
			if filepath.Clean(d) == dir && (writable(dir) || dir == own) {
				return []Change{link{filepath.Join(dir, name), self, always}}, nil
			}
		}
	}
	return nil, impossible("%s must be found in $PATH, and neither %s nor %s is a directory of $PATH that can be written to; make the link by hand: ln -s %s DIR/%s",
		name, filepath.Dir(self), own, self, name)
}

// writable reports whether a file can be made in dir.
func writable(dir string) bool {
	f, err := os.CreateTemp(dir, ".tokenctl-")
	if err != nil {
		return false
	}
	_ = f.Close()
	return os.Remove(f.Name()) == nil
}

// hasLine reports whether a line of text, other than a comment, begins with a
// word.
func hasLine(text, word string) bool {
	for line := range bytes.Lines([]byte(text)) {
		if bytes.HasPrefix(bytes.TrimSpace(line), []byte(word)) {
			return true
		}
	}
	return false
}
