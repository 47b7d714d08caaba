//go:build unix

package ipc

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"tokend/providers/token"
)

// maxPath is how long the path of a Unix socket may be, in bytes: 107 on
// Linux, 103 on macOS. The last byte of the field is for the final NUL.
const maxPath = len(unix.RawSockaddrUnix{}.Path) - 1

// checkServer refuses a server that is neither root nor this user: somebody
// else may have taken the place of the daemon, and would be told secrets.
func checkServer(conn connection, socket string) error {
	peer, err := peerAt(conn.(*unixConn).fd)
	if err != nil {
		return err
	}
	if peer.UID != 0 && peer.UID != os.Geteuid() {
		return &token.Error{Code: token.ErrDenied, Message: fmt.Sprintf(
			"%s is served by uid %d, who is neither root nor you (uid %d)", socket, peer.UID, os.Geteuid())}
	}
	return nil
}

// checkPath says early and clearly what bind and connect would call an invalid
// argument. It also keeps out "@name", Linux's abstract sockets, which know no
// permissions.
func checkPath(socket string) error {
	switch {
	case !filepath.IsAbs(socket):
		return badSocket("the socket's path must be absolute: %q", socket)
	case len(socket) > maxPath:
		return badSocket("the socket's path has %d bytes, the system allows %d: %s", len(socket), maxPath, socket)
	}
	return nil
}

func badSocket(format string, args ...any) error {
	return &token.Error{Code: token.ErrInvalid, Field: "socket", Message: fmt.Sprintf(format, args...)}
}

func control(c net.Conn, ask func(fd int) error) error {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return fmt.Errorf("%T is no socket", c)
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	var asked error
	if err := raw.Control(func(fd uintptr) { asked = ask(int(fd)) }); err != nil {
		return err
	}
	return asked
}
