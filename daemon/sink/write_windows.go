package sink

import (
	"errors"
	"io/fs"
	"os"

	"github.com/google/renameio/v2/maybe"

	"tokend/daemon/profile"
)

// On Windows, where files inherit the rights of their directory, they are known by
// their path alone.

func replace(s profile.Sink, text []byte, isOurs func(uint64) bool, made func(uint64)) error {
	if _, err := os.Lstat(s.Path); err == nil && !isOurs(anyInode) {
		return errForeign
	}
	made(anyInode)
	return maybe.WriteFile(s.Path, text, s.Perm())
}

func remove(path string, _ func(uint64) bool) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func openDir(path string, _ int) (*os.File, error) { return os.Open(path) }
