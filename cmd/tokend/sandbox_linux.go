package main

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

// enter confines this process, for good, and says what came of it. The process
// may start no program from then on. Landlock knows files alone here: sockets
// are as before.
func (s sandbox) enter() string {
	rules := slices.Concat(allow(mayRead, s.read), allow(mayWrite, s.write), allow(mayRemove, s.remove))
	if err := landlock.V5.BestEffort().RestrictPaths(rules...); err != nil {
		return "landlock: not in force: " + err.Error()
	}
	// A kernel without Landlock, and a filter of system calls that hides it,
	// look the same: as if all went well. So something forbidden is tried.
	if root, err := os.Open("/"); !errors.Is(err, fs.ErrPermission) {
		if err == nil {
			_ = root.Close()
		}
		return "landlock: not in force: the kernel does not offer it, or the service's SystemCallFilter= forbids it"
	}
	return "landlock: ok"
}

// allow gives the rights for the paths that are there; those that a file can
// have, for a file.
func allow(rights landlock.AccessFSSet, paths []string) (rules []landlock.Rule) {
	for _, path := range paths {
		info, err := os.Stat(path)
		switch {
		case err != nil:
		case info.IsDir():
			rules = append(rules, landlock.PathAccess(rights, path).IgnoreIfMissing())
		default:
			rules = append(rules, landlock.PathAccess(rights&ofFiles, path).IgnoreIfMissing())
		}
	}
	return rules
}
