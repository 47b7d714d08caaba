//go:build unix

package profile

import (
	"fmt"
	"io/fs"
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

// checkOwner refuses a file that this process cannot give to its owner.
func checkOwner(info fs.FileInfo) error {
	if uid, own := int(info.Sys().(*syscall.Stat_t).Uid), os.Geteuid(); own != 0 && uid != own {
		return fmt.Errorf("it belongs to uid %d, and tokend runs as uid %d", uid, own)
	}
	return nil
}

// keepOwner gives f the owner and group of another file.
func keepOwner(f *os.File, info fs.FileInfo) error {
	st := info.Sys().(*syscall.Stat_t)
	return f.Chown(int(st.Uid), int(st.Gid))
}
