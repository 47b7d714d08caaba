//go:build unix

package profile

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
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
