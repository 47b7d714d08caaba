package store

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

func openNoFollow(path string) (*os.File, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	return os.Open(path)
}

// replaceFile makes data the content of path. Windows promises no atomic
// renaming, but MoveFileEx within one NTFS volume is.
func replaceFile(path string, data []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path))
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// syncDir: NTFS journals names by itself.
func syncDir(string) error { return nil }

// checkOwner and checkPerm check nothing: a file inherits its access list from the
// user's profile directory.
func checkOwner(string, fs.FileInfo) error             { return nil }
func checkPerm(string, fs.FileInfo, fs.FileMode) error { return nil }
