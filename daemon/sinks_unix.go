//go:build unix

package daemon

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"
)

func checkOwner(s *Sink) error {
	_, _, err := s.ids()
	return err
}

// replaceSink writes the file beside the other, unseen by others until it has
// its owner and mode, and puts it in the other's place.
func replaceSink(s Sink, text []byte) error {
	f, err := renameio.NewPendingFile(s.Path, renameio.WithTempDir(filepath.Dir(s.Path)), renameio.WithStaticPermissions(0o600))
	if err != nil {
		return plainPathError(err)
	}
	defer func() { _ = f.Cleanup() }()
	if err := giveAway(f.File, s); err != nil {
		return err
	}
	if _, err := f.Write(text); err != nil {
		return plainPathError(err)
	}
	return plainPathError(f.CloseAtomicallyReplace())
}

// giveAway gives a new file its owner, group and mode.
func giveAway(f *os.File, s Sink) error {
	uid, gid, err := s.ids()
	if err != nil {
		return err
	}
	if uid >= 0 || gid >= 0 {
		if err := f.Chown(uid, gid); err != nil {
			return fmt.Errorf("the file cannot be given to owner %q, group %q: %w", s.Owner, s.Group, plainPathError(err))
		}
	}
	return plainPathError(f.Chmod(s.Mode.FileMode))
}

// checkSinkDir refuses a directory in which somebody else could put another
// file in the place of ours, unless that is who the file is for.
func checkSinkDir(s Sink) error {
	dir := filepath.Dir(s.Path)
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("directory %s: %w", dir, plainPathError(err))
	}
	owner := info.Sys().(*syscall.Stat_t).Uid
	uid, _, err := s.ids()
	switch {
	case err != nil:
		return err
	case owner != 0 && int(owner) != os.Geteuid() && int(owner) != uid:
		return fmt.Errorf("directory %s belongs to uid %d", dir, owner)
	case info.Mode()&0o002 != 0 && info.Mode()&os.ModeSticky == 0:
		return errors.New("everybody can write directory " + dir)
	}
	return nil
}

// mayWrite tells whether owner and mode of a directory let tokend write there.
// access(2) knows nothing of Landlock.
func mayWrite(dir string) bool { return unix.Access(dir, unix.W_OK|unix.X_OK) == nil }
