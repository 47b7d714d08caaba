package confine

import (
	"errors"
	"io/fs"
	"os"
	"slices"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
)

const (
	mayRead   = ll.AccessFSReadFile | ll.AccessFSReadDir
	mayRemove = ll.AccessFSRemoveFile
	mayWrite  = mayRead | mayRemove | ll.AccessFSRemoveDir | ll.AccessFSWriteFile | ll.AccessFSTruncate | ll.AccessFSMakeReg | ll.AccessFSMakeDir
	ofFiles   = ll.AccessFSReadFile | ll.AccessFSWriteFile | ll.AccessFSTruncate
)

// Enter confines this process for good, and returns the outcome: "landlock: ok",
// or why not. The process cannot start programs from then on. Landlock restricts
// only files here, not sockets.
func (f Files) Enter() string {
	rules := slices.Concat(allow(mayRead, f.read), allow(mayWrite, f.write), allow(mayRemove, f.remove))
	if err := landlock.V5.BestEffort().RestrictPaths(rules...); err != nil {
		return "landlock: not active: " + err.Error()
	}
	// A kernel without Landlock, and a filter of system calls that hides it, make
	// the same impression as success: so try something forbidden.
	if root, err := os.Open("/"); !errors.Is(err, fs.ErrPermission) {
		if err == nil {
			_ = root.Close()
		}
		return "landlock: not active: the kernel does not offer it, or the service's SystemCallFilter= forbids it"
	}
	return "landlock: ok"
}

// allow returns rules for the paths that exist, for a file with those rights that
// files can have.
func allow(rights landlock.AccessFSSet, paths []string) (rules []landlock.Rule) {
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			continue
		}
		granted := rights
		if !info.IsDir() {
			granted &= ofFiles
		}
		rules = append(rules, landlock.PathAccess(granted, path).IgnoreIfMissing())
	}
	return rules
}
