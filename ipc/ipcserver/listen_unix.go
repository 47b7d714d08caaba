//go:build unix

package ipcserver

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
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
// listens at path it returns ErrExists. Closing the listener removes the socket.
func Listen(path string) (net.Listener, error) {
	path = filepath.Clean(path)
	if err := ipc.CheckPath(path); err != nil {
		return nil, err
	}
	if err := prepareDir(filepath.Dir(path)); err != nil {
		return nil, err
	}
	lock, err := takeLock(path)
	if err != nil {
		return nil, err
	}
	l, err := listenLocked(path)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return &listener{Listener: l, path: path, lock: lock}, nil
}

// A listener owns its socket's path for as long as it holds the lock.
type listener struct {
	net.Listener
	path string
	lock *os.File
	once sync.Once
}

// Close stops listening and removes the socket. The lock file stays: removing
// it would let a second daemon lock a file that a third no longer sees.
func (l *listener) Close() error {
	err := net.ErrClosed
	l.once.Do(func() {
		err = os.Remove(l.path)
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		err = errors.Join(err, l.Listener.Close(), l.lock.Close())
	})
	return err
}

// prepareDir makes sure that only this user (or root) can write to dir, where the
// socket goes, and that no other user can put another directory in its place.
// Others may write to a directory above it if the sticky bit keeps them from
// renaming what is not theirs (/tmp). It is no excuse for dir itself, where the
// first to come has the socket's name.
func prepareDir(dir string) error { return prepare(dir, 0) }

func prepareParent(dir string) error { return prepare(dir, fs.ModeSticky) }

func prepare(dir string, excuse fs.FileMode) error {
	if parent := filepath.Dir(dir); parent != dir {
		if err := prepareParent(parent); err != nil {
			return err
		}
	}
	info, err := makeDir(dir)
	if err == nil {
		err = checkOwner(dir, info)
	}
	switch {
	case err != nil:
		return err
	case info.Mode()&fs.ModeSymlink != 0 && excuse != 0:
		// Root's links (/var on macOS) and our own lead where they should. The
		// path they lead to has no links any more.
		real, err := filepath.EvalSymlinks(dir)
		if err != nil {
			return badSocket("the socket's directory: %v", err)
		}
		return prepareParent(real)
	case !info.IsDir():
		return badSocket("%s is %s, not a directory", dir, kindOf(info))
	case info.Mode().Perm()&0o022 != 0 && info.Mode()&excuse == 0:
		return badSocket("others may write to %s (mode %04o), and could replace the socket", dir, info.Mode().Perm())
	}
	return nil
}

// makeDir makes dir for this user alone if it is not there, and returns what is
// there then. It makes none in a directory that others may write to.
func makeDir(dir string) (fs.FileInfo, error) {
	info, err := os.Lstat(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return info, err
	}
	parent, err := os.Stat(filepath.Dir(dir))
	if err != nil {
		return nil, err
	}
	if parent.Mode().Perm()&0o022 != 0 {
		return nil, badSocket("%s does not exist, and tokend does not make it where others may write", dir)
	}
	// Another daemon may be making it just now.
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return os.Lstat(dir)
}

func checkOwner(path string, info fs.FileInfo) error {
	if uid := ownerOf(info); uid != 0 && uid != os.Geteuid() {
		return badSocket("%s belongs to uid %d, who is neither root nor you (uid %d)", path, uid, os.Geteuid())
	}
	return nil
}

func ownerOf(info fs.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Uid) }

func kindOf(info fs.FileInfo) string {
	switch mode := info.Mode(); {
	case mode.IsRegular():
		return "a file"
	case mode.IsDir():
		return "a directory"
	case mode&fs.ModeSymlink != 0:
		return "a symbolic link"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	case mode&fs.ModeNamedPipe != 0:
		return "a FIFO"
	}
	return "a device"
}

// takeLock proves that no other daemon uses the socket: the kernel drops a
// lock together with its process, however that ends.
func takeLock(socket string) (*os.File, error) {
	path := socket + ".lock"
	lock, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, badSocket("the socket's lock: %v", err)
	}
	if err := tryLock(lock); err != nil {
		_ = lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, &token.Error{Code: token.ErrExists, Message: "tokend is already running at " + socket}
		}
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	return lock, nil
}

func tryLock(f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// listenLocked makes the socket. Between bind and listen no caller can
// connect, so the mode is right before it matters, and the umask, which belongs to
// the whole process, need not be touched.
func listenLocked(path string) (_ net.Listener, err error) {
	if err := clearStale(path); err != nil {
		return nil, err
	}
	socket, err := newSocket(path)
	if err != nil {
		return nil, fmt.Errorf("making the socket: %w", err)
	}
	defer func() { _ = socket.Close() }() // FileListener works on a copy
	fd := int(socket.Fd())
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
	return net.FileListener(socket)
}

func newSocket(name string) (*os.File, error) {
	// macOS has no SOCK_CLOEXEC; the lock keeps children from being started
	// between the two calls.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return nil, err
	}
	unix.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), name), nil
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
		return badSocket("%s is in the way: it is %s, not a socket", path, kindOf(info))
	case ownerOf(info) != os.Geteuid():
		return badSocket("%s is in the way: it belongs to uid %d", path, ownerOf(info))
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
