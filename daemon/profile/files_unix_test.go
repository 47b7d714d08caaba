//go:build unix

package profile

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A FIFO in profiles.d does not hold up the start.
func TestAFIFOIsNotRead(t *testing.T) {
	dirs := Dirs{Config: t.TempDir()}
	must(t, os.MkdirAll(dirs.ProfilesDir(), 0o700))
	must(t, unix.Mkfifo(dirs.ProfileFile("p"), 0o600))
	_, errs := Opener{}.OpenAll(dirs)
	if len(errs) != 1 || !strings.Contains(errs["p"].Error(), "not a regular file") {
		t.Errorf("%v", errs)
	}
}
