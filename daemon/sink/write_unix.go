//go:build unix

package sink

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"tokend/daemon/profile"
)

// replace writes a file next to the old one, which no one else can read before it
// has its owner and mode, and puts it in the old one's place. It calls made with the
// new file's inode before there is something in it, and refuses to replace a file
// that isOurs does not know.
func replace(s profile.Sink, text []byte, isOurs func(uint64) bool, made func(uint64)) error {
	dir, err := openDir(filepath.Dir(s.Path), maxLinks)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := checkDir(dir, s); err != nil {
		return err
	}
	at, name := int(dir.Fd()), filepath.Base(s.Path)
	if id, err := identify(at, name); err != unix.ENOENT && (err != nil || !isOurs(id)) {
		return errForeign
	}
	_ = unix.Unlinkat(at, newName(name), 0) // of a tokend that was killed
	fd, err := unix.Openat(at, newName(name), unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), s.Path) // which its errors name
	defer f.Close()
	id, err := identify(at, newName(name))
	if err != nil {
		return err
	}
	made(id)
	if err := fill(f, s, text); err != nil {
		return err
	}
	return unix.Renameat(at, newName(name), at, name)
}

// fill gives a new file its owner, group, mode and content.
func fill(f *os.File, s profile.Sink, text []byte) error {
	uid, gid, err := s.IDs()
	if err == nil && (uid >= 0 || gid >= 0) {
		err = f.Chown(uid, gid)
	}
	if err != nil {
		return fmt.Errorf("the file cannot be given to owner %q, group %q: %w", s.Owner, s.Group, err)
	}
	if err := f.Chmod(s.Perm()); err != nil {
		return err
	}
	if _, err := f.Write(text); err != nil {
		return err
	}
	return f.Sync()
}

// remove removes the file at path if isOurs knows it, and what replace left there.
func remove(path string, isOurs func(uint64) bool) error {
	dir, err := openDir(filepath.Dir(path), maxLinks)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	at, name := int(dir.Fd()), filepath.Base(path)
	_ = unix.Unlinkat(at, newName(name), 0)
	if id, err := identify(at, name); err != nil || !isOurs(id) {
		return nil
	}
	return unix.Unlinkat(at, name, 0)
}

// newName is the name of a sink's next file while it is written.
func newName(name string) string { return "." + name + ".tokend" }

// identify returns the inode of a regular file in a directory. Its device is that of
// the directory, or it can neither be replaced nor removed.
func identify(dir int, name string) (uint64, error) {
	var st unix.Stat_t
	err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		err = errForeign
	}
	return st.Ino, err
}

// openDir opens a directory, whatever becomes of its path meanwhile. It follows a
// link only where no other user can have put it.
func openDir(path string, links int) (*os.File, error) {
	if path == "/" {
		return os.OpenFile("/", walk, 0)
	}
	parent, err := openDir(filepath.Dir(path), links)
	if err != nil {
		return nil, err
	}
	defer parent.Close()
	at, name, target := int(parent.Fd()), filepath.Base(path), make([]byte, unix.PathMax)
	path = filepath.Join(parent.Name(), name) // now without links
	fd, err := unix.Openat(at, name, walk, 0)
	if err == nil {
		return os.NewFile(uintptr(fd), path), nil
	}
	n, failed := unix.Readlinkat(at, name, target)
	if failed != nil || links == 0 {
		return nil, fmt.Errorf("directory %s: %w", path, err)
	}
	if owner, mode := whoWrites(parent); owner != 0 && owner != os.Geteuid() || mode&0o022 != 0 {
		return nil, fmt.Errorf("%s is a link where another user can put one; write the path without it", path)
	}
	link := string(target[:n])
	if !filepath.IsAbs(link) {
		link = filepath.Join(parent.Name(), link)
	}
	return openDir(filepath.Clean(link), links-1)
}

// checkDir refuses a directory in which another user could replace our file,
// unless the file is for that user.
func checkDir(dir *os.File, s profile.Sink) error {
	uid, _, err := s.IDs()
	switch owner, mode := whoWrites(dir); {
	case err != nil:
		return err
	case owner != 0 && owner != os.Geteuid() && owner != uid:
		return fmt.Errorf("directory %s belongs to uid %d", dir.Name(), owner)
	case mode&0o022 != 0 && mode&os.ModeSticky == 0:
		return fmt.Errorf("others can write directory %[1]s: chmod go-w %[1]s", dir.Name())
	}
	return nil
}

// whoWrites returns the owner and the mode of an open directory.
func whoWrites(dir *os.File) (owner int, mode os.FileMode) {
	info, err := dir.Stat()
	if err != nil {
		return -1, 0o777
	}
	return int(info.Sys().(*syscall.Stat_t).Uid), info.Mode()
}
