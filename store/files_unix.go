//go:build unix

package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// openNoFollow follows no symbolic link and waits for no FIFO.
func openNoFollow(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
}

// syncDir puts a directory's names on disk, which renaming a file does not.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) {
		return err
	}
	return nil
}

// Owner returns the uid that a file belongs to.
func Owner(info fs.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Uid) }

// CheckPrivacy checks that a file belongs to root or to uid, and that its mode
// has none of the refused bits.
func CheckPrivacy(path string, info fs.FileInfo, uid int, refused fs.FileMode) error {
	if owner := Owner(info); owner != 0 && owner != uid {
		return fmt.Errorf("%s belongs to uid %d, neither root nor %d", path, owner, uid)
	}
	if info.Mode().Perm()&refused != 0 {
		return fmt.Errorf("%s has mode %04o: others can use it", path, info.Mode().Perm())
	}
	return nil
}
