//go:build unix

package profile

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/google/renameio/v2"
)

// checkHome refuses a directory if it, or its nearest existing ancestor, belongs
// to a user other than this one or root.
func checkHome(dir string) error {
	info, err := os.Stat(dir)
	for err != nil && filepath.Dir(dir) != dir {
		dir = filepath.Dir(dir)
		info, err = os.Stat(dir)
	}
	if err != nil {
		return err
	}
	if uid := int(info.Sys().(*syscall.Stat_t).Uid); uid != 0 && uid != os.Geteuid() {
		return fmt.Errorf("%s belongs to uid %d, and you are uid %d", dir, uid, os.Geteuid())
	}
	return nil
}

// replace makes text the content of a file.
func replace(path string, text []byte) error {
	f, err := renameio.NewPendingFile(path, renameio.WithPermissions(0o600), renameio.WithExistingPermissions())
	if err != nil {
		return err
	}
	defer func() { _ = f.Cleanup() }()
	if info, err := os.Lstat(path); err == nil {
		st := info.Sys().(*syscall.Stat_t)
		if err := f.Chown(int(st.Uid), int(st.Gid)); err != nil {
			return err
		}
	}
	if _, err = f.Write(text); err != nil {
		return err
	}
	return f.CloseAtomicallyReplace()
}
