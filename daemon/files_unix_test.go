//go:build unix

package daemon

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A FIFO in profiles.d does not hold up the start.
func TestAFIFOIsNotRead(t *testing.T) {
	dirs := Dirs{Config: t.TempDir()}
	if err := os.MkdirAll(dirs.ProfilesDir(), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(dirs.ProfileFile("p"), 0o600); err != nil {
		t.Fatal(err)
	}
	files, err := dirs.profileFiles()
	if err != nil || len(files) != 1 || !strings.Contains(files[0].err.Error(), "not a regular file") {
		t.Errorf("%+v, %v", files, err)
	}
}
