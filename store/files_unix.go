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

// checkOwner checks that a file belongs to root or to us.
func checkOwner(path string, info fs.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || st.Uid == 0 || int(st.Uid) == os.Geteuid() {
		return nil
	}
	return fmt.Errorf("%s belongs to uid %d, neither root nor %d", path, st.Uid, os.Geteuid())
}

// checkPerm checks that a file's mode has none of the refused bits.
func checkPerm(path string, info fs.FileInfo, refused fs.FileMode) error {
	if info.Mode().Perm()&refused == 0 {
		return nil
	}
	return fmt.Errorf("%s has mode %04o: others may use it", path, info.Mode().Perm())
}
