//go:build unix

package ipcserver

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"tokend/ipc"
	"tokend/providers/token"
)

// backlog is how many connections may wait to be accepted. The kernel lowers
// it to its own limit.
const backlog = 4096

// Listen makes the socket at path and listens. Only this user can connect to
// it, whatever the umask. Listen makes missing directories for this user alone,
// and refuses, with ErrInvalid, a place that another user could take away or has
// taken. It replaces the socket of a daemon that died; while another daemon
// listens at path it returns ErrExists. It calls before once the place is ours, and
// lets no caller connect until before returns, if not an error. Closing the listener
// removes the socket.
func Listen(path string, before ...func() error) (net.Listener, error) {
	path = filepath.Clean(path)
	if err := ipc.CheckPath(path); err != nil {
		return nil, err
	}
	if err := prepare(filepath.Dir(path), 0); err != nil {
		return nil, err
	}
	lock, err := takeLock(path)
	if err != nil {
		return nil, err
	}
	l, err := listenLocked(path, before)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	info, _ := os.Lstat(path)
	return &listener{UnixListener: l, path: path, info: info, lock: lock}, nil
}

// A listener owns its socket's path for as long as it holds the lock.
type listener struct {
	*net.UnixListener
	path string
	info fs.FileInfo // of the socket
	lock *os.File
}

// Close stops listening and removes the socket. The lock file stays: removing
// it would let a second daemon lock a file that a third no longer sees.
func (l *listener) Close() error {
	if err := l.UnixListener.Close(); err != nil {
		return err // closed before: the path may be another daemon's now
	}
	if info, err := os.Lstat(l.path); err == nil && os.SameFile(info, l.info) {
		_ = os.Remove(l.path) // one that stays is replaced
	}
	return l.lock.Close()
}

// prepare makes sure that only this user (or root) can write to dir, and that no
// other user can put another directory in its place. Others may write to a
// directory above the socket's if it has the excuse: the sticky bit keeps them
// from renaming what is not theirs (/tmp). The socket's own directory has none,
// for there the first to come has the socket's name. A directory that does not exist
// is made for this user alone.
func prepare(dir string, excuse fs.FileMode) error {
	if parent := filepath.Dir(dir); parent != dir {
		if err := prepare(parent, fs.ModeSticky); err != nil {
			return err
		}
	}
	info, err := os.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if above, err := os.Stat(filepath.Dir(dir)); err == nil && above.Mode().Perm()&0o022 != 0 {
			return badSocket("%s does not exist, and tokend does not make it where others may write", dir)
		}
		if err = os.Mkdir(dir, 0o700); err == nil || errors.Is(err, fs.ErrExist) { // another daemon may be making it just now
			info, err = os.Lstat(dir)
		}
	}
	switch {
	case err != nil:
		return err
	case ipc.OwnerOf(info) != 0 && ipc.OwnerOf(info) != os.Geteuid():
		return badSocket("%s belongs to uid %d, who is neither root nor you (uid %d)", dir, ipc.OwnerOf(info), os.Geteuid())
	case info.Mode()&fs.ModeSymlink != 0 && excuse != 0:
		// Root's links (/var on macOS) and our own lead where they should. The
		// path they lead to has no links any more.
		real, err := filepath.EvalSymlinks(dir)
		if err != nil {
			return badSocket("the socket's directory: %v", err)
		}
		return prepare(real, fs.ModeSticky)
	case !info.IsDir():
		return badSocket("%s is not a directory (mode %v)", dir, info.Mode())
	case info.Mode().Perm()&0o022 != 0 && info.Mode()&excuse == 0:
		return badSocket("others may write to %s (mode %04o), and could replace the socket", dir, info.Mode().Perm())
	}
	return nil
}

// takeLock proves that no other daemon uses the socket: the kernel drops a
// lock together with its process, however that ends.
func takeLock(socket string) (*os.File, error) {
	path := socket + ".lock"
	lock, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, badSocket("the socket's lock: %v", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, &token.Error{Code: token.ErrExists, Message: "tokend is already running at " + socket}
		}
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	return lock, nil
}

// listenLocked makes the socket. Between bind and listen no caller can
// connect, so the mode is right before it matters, and the umask, which belongs to
// the whole process, need not be touched.
func listenLocked(path string, before []func() error) (l *net.UnixListener, err error) {
	if err := clearStale(path); err != nil {
		return nil, err
	}
	for _, do := range before {
		if err := do(); err != nil {
			return nil, err
		}
	}
	fd, err := ipc.NewSocket()
	if err != nil {
		return nil, fmt.Errorf("making the socket: %w", err)
	}
	socket := os.NewFile(uintptr(fd), path)
	defer func() { _ = socket.Close() }() // FileListener works on a copy
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		return nil, fmt.Errorf("making the socket %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(path)
		}
	}()
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, err
	}
	if err := unix.Listen(fd, backlog); err != nil {
		return nil, fmt.Errorf("listening at %s: %w", path, err)
	}
	made, err := net.FileListener(socket)
	if err == nil {
		l = made.(*net.UnixListener)
	}
	return l, err
}

// clearStale removes the socket of a daemon that died. Anything else at path
// stays, as does a socket on which a process listens without our lock: a service
// manager does.
func clearStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode()&fs.ModeSocket == 0:
		return badSocket("%s is in the way: it is not a socket (mode %v)", path, info.Mode())
	case ipc.OwnerOf(info) != os.Geteuid():
		return badSocket("%s is in the way: it belongs to uid %d", path, ipc.OwnerOf(info))
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	switch {
	case errors.Is(err, unix.ECONNREFUSED):
		return os.Remove(path)
	case err == nil:
		_ = conn.Close()
	}
	return &token.Error{Code: token.ErrExists, Message: "tokend is already running, or held ready by the service manager, at " + path, Cause: err}
}

func badSocket(format string, args ...any) error { return invalid("socket", format, args...) }
