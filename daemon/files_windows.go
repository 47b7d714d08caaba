package daemon

import (
	"os"
	"path/filepath"
)

// readIn reads a file of a directory.
func readIn(dir *os.File, name string) ([]byte, error) {
	return os.ReadFile(filepath.Join(dir.Name(), name))
}
