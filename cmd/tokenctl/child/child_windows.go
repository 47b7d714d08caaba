package child

import "os"

// makePlace makes a directory for a file with a token. %TEMP% is the user's own.
func makePlace() (dir string, remove func(), err error) {
	dir, err = os.MkdirTemp("", "tokenctl-file-")
	return dir, func() { _ = os.RemoveAll(dir) }, err
}

// privatePlaces returns %TEMP%.
func privatePlaces(...string) ([]string, error) { return []string{os.TempDir()}, nil }

// reachesChild reports whether s is Ctrl-C, which a console sends to all its
// processes.
func reachesChild(s os.Signal) bool { return s == os.Interrupt }
