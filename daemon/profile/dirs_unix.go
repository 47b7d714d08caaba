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

// replace makes text the content of a file, which keeps its owner and mode.
func replace(path string, text []byte) error {
	info, missing := os.Lstat(path)
	err := renameio.WriteFile(path, text, 0o600, renameio.WithExistingPermissions())
	if err == nil && missing == nil {
		st := info.Sys().(*syscall.Stat_t)
		_ = os.Lchown(path, int(st.Uid), int(st.Gid)) // not a group that tokend is not in
	}
	return err
}
