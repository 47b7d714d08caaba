//go:build unix

package sink

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/google/renameio/v2"

	"tokend/daemon/profile"
)

// replace writes a file next to the old one, which no one else can read before it
// has its owner and mode, and puts it in the old one's place.
func replace(s profile.Sink, text []byte) error {
	f, err := renameio.NewPendingFile(s.Path, renameio.WithTempDir(filepath.Dir(s.Path)), renameio.WithStaticPermissions(0o600))
	if err != nil {
		return withoutPath(err)
	}
	defer func() { _ = f.Cleanup() }()
	if err := giveAway(f.File, s); err != nil {
		return err
	}
	if _, err := f.Write(text); err != nil {
		return withoutPath(err)
	}
	return withoutPath(f.CloseAtomicallyReplace())
}

// giveAway gives a new file its owner, group and mode.
func giveAway(f *os.File, s profile.Sink) error {
	uid, gid, err := s.IDs()
	if err != nil {
		return err
	}
	if uid >= 0 || gid >= 0 {
		if err := f.Chown(uid, gid); err != nil {
			return fmt.Errorf("the file cannot be given to owner %q, group %q: %w", s.Owner, s.Group, withoutPath(err))
		}
	}
	return withoutPath(f.Chmod(s.Mode.FileMode))
}

// checkDir refuses a directory in which another user could replace our file,
// unless the file is for that user.
func checkDir(s profile.Sink) error {
	dir := filepath.Dir(s.Path)
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("directory %s: %w", dir, withoutPath(err))
	}
	owner := info.Sys().(*syscall.Stat_t).Uid
	uid, _, err := s.IDs()
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
