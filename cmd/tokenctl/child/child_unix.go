//go:build unix

package child

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// lent is what the directories of exec's files are named after.
const lent = "tokenctl-file-"

// makePlace makes a directory for a file with a token, in memory where the system
// has such a place. It first removes what tokenctl left behind where it was killed.
// The directory is locked until remove removes it.
func makePlace() (dir string, remove func(), err error) {
	places, err := privatePlaces("/tmp", os.TempDir(), os.Getenv("XDG_RUNTIME_DIR"))
	if err != nil {
		return "", nil, err
	}
	for _, place := range places {
		removeLeft(place)
	}
	place := places[len(places)-1]
	made, err := os.MkdirTemp(place, ".tokenctl-") // mode 0700
	if err != nil {
		return "", nil, err
	}
	lock, err := os.Open(made)
	if err == nil { // without locks on this file system, removeLeft removes nothing there
		_ = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	dir = filepath.Join(place, lent+strings.TrimPrefix(filepath.Base(made), ".tokenctl-"))
	remove = func() {
		_ = os.RemoveAll(dir)
		_ = lock.Close()
	}
	return dir, remove, os.Rename(made, dir)
}

// privatePlaces returns those of the directories in which no other user can replace what
// this one makes. After su, variables may name another user's directories.
func privatePlaces(dirs ...string) (places []string, err error) {
	for _, dir := range dirs {
		if dir, err := filepath.EvalSymlinks(dir); err == nil && isPrivate(dir) {
			places = append(places, dir)
		}
	}
	if places == nil {
		err = errors.New("others can write to $XDG_RUNTIME_DIR, $TMPDIR and /tmp, or to a directory above them")
	}
	return places, err
}

// isPrivate reports whether no other user can replace what this one makes in dir, a
// path without links.
func isPrivate(dir string) bool {
	for ; filepath.IsAbs(dir); dir = filepath.Dir(dir) {
		info, err := os.Lstat(dir)
		if err != nil || !info.IsDir() || info.Mode()&0o022 != 0 && info.Mode()&fs.ModeSticky == 0 {
			return false
		}
		if owner := int(info.Sys().(*syscall.Stat_t).Uid); owner != 0 && owner != os.Geteuid() {
			return false
		}
		if dir == "/" {
			return true
		}
	}
	return false
}

// removeLeft removes the directories in place whose tokenctl is gone: they are not
// locked.
func removeLeft(place string) {
	dirs, _ := filepath.Glob(filepath.Join(place, lent+"*"))
	for _, dir := range dirs {
		f, err := os.OpenFile(dir, unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
		if err == nil && unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			_ = os.RemoveAll(dir)
		}
		_ = f.Close()
	}
}

// reachesChild reports whether a terminal sends s to its whole foreground
// process group, the child included. Passed on, the signal would arrive twice,
// which many programs take for impatience.
func reachesChild(s os.Signal) bool {
	if s != os.Interrupt && s != syscall.SIGQUIT {
		return false
	}
	tty, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	defer tty.Close()
	group, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}
