//go:build linux || darwin

package main

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// ownerOf returns the uid that a file belongs to.
func ownerOf(info fs.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Uid) }

// checkPrivacy refuses a file that anybody but root and the owner of owned can
// use.
func checkPrivacy(path string, info fs.FileInfo, owned string, refused fs.FileMode) error {
	whose, err := os.Stat(owned)
	if err != nil {
		return err
	}
	if uid := ownerOf(info); uid != 0 && uid != ownerOf(whose) {
		return fmt.Errorf("%s belongs to uid %d, and %s to uid %d", path, uid, owned, ownerOf(whose))
	}
	if info.Mode().Perm()&refused != 0 {
		return fmt.Errorf("%s has mode %04o: others can use it", path, info.Mode().Perm())
	}
	return nil
}
