//go:build unix

package profile

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tokend/providers/token"
)

// Security case 92. What is no file of settings is refused without waiting for it
// and without reading it, wherever tokend reads such a file.
func TestOddFilesAreNotReadAsConfiguration(t *testing.T) {
	for name, plant := range map[string]func(path string) error{
		"a FIFO": func(path string) error { return unix.Mkfifo(path, 0o600) },
		"a link to a FIFO": func(path string) error {
			return errors.Join(unix.Mkfifo(path+"-fifo", 0o600), os.Symlink(path+"-fifo", path))
		},
		"a link to /dev/zero": func(path string) error { return os.Symlink("/dev/zero", path) },
		"a directory":         func(path string) error { return os.Mkdir(path, 0o700) },
		"a huge file":         func(path string) error { return errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, 1<<40)) },
	} {
		dirs := Dirs{Config: t.TempDir()}
		must(t, os.MkdirAll(dirs.ProfilesDir(), 0o700))
		must(t, plant(dirs.ConfigFile()))
		must(t, plant(dirs.ProfileFile("p")))
		_, errs := Opener{}.OpenAll(dirs)
		_, err := ReadConfig(dirs)
		for path, err := range map[string]error{dirs.ProfileFile("p"): errs["p"], dirs.ConfigFile(): err} {
			if !errors.Is(err, token.ErrInvalid) || !strings.Contains(err.Error(), path) ||
				!strings.Contains(err.Error(), "not a regular file") && !strings.Contains(err.Error(), "is longer than 1048576 bytes") {
				t.Errorf("%s at %s: %v", name, filepath.Base(path), err)
			}
		}
	}
}

// A file that calls itself regular can still block: root's /proc/kmsg.
func TestReadingConfigurationEnds(t *testing.T) {
	if _, err := token.ReadConfig("/proc/kmsg"); err == nil {
		t.Error("read")
	}
}
