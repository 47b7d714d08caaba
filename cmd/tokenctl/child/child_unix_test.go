//go:build unix

package child

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"tokend/packaging/checktest"
)

func TestPlacesOfOthersAreNotUsed(t *testing.T) {
	dir := t.TempDir()
	open, shared, sticky, own := filepath.Join(dir, "open"), filepath.Join(dir, "shared"), filepath.Join(dir, "sticky"), filepath.Join(dir, "own")
	inOpen, link := filepath.Join(open, "own"), filepath.Join(dir, "link")
	file := filepath.Join(dir, "file")
	err := os.WriteFile(file, nil, 0o600)
	for _, d := range []string{open, shared, sticky, own, inOpen} {
		err = errors.Join(err, os.Mkdir(d, 0o700))
	}
	err = errors.Join(err, os.Chmod(open, 0o777), os.Chmod(shared, 0o770), os.Chmod(sticky, os.ModeSticky|0o777), os.Symlink(own, link))
	if err != nil {
		t.Fatal(err)
	}
	for place, want := range map[string]string{
		own: own, sticky: sticky, link: own,
		open: "/tmp", shared: "/tmp", inOpen: "/tmp", file: "/tmp", "": "/tmp", ".": "/tmp", filepath.Join(dir, "none"): "/tmp",
	} {
		t.Setenv("TMPDIR", open)
		t.Setenv("XDG_RUNTIME_DIR", place)
		want, err := filepath.EvalSymlinks(want)
		made, remove, failed := makePlace()
		if err != nil || failed != nil || filepath.Dir(made) != want {
			t.Errorf("%s: %s, %v", place, made, failed)
		}
		remove()
	}
}

// After su to root, $XDG_RUNTIME_DIR is still that of the user before.
func TestPlaceOfTheUserBefore(t *testing.T) {
	checktest.NeedRoot(t, "to make another user's directory")
	dir := t.TempDir()
	if err := os.Chown(dir, 70001, 70001); err != nil || isPrivate(dir) || isPrivate(filepath.Join(dir, "x")) {
		t.Error("another user's directory is used")
	}
}
