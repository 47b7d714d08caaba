//go:build unix

package ipc

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"tokend/providers/token"
)

// maxPath is how long the path of a Unix socket may be, in bytes: 107 on
// Linux, 103 on macOS. The last byte of the field is for the final NUL.
const maxPath = len(unix.RawSockaddrUnix{}.Path) - 1

// PeerOf asks the kernel who is at the other end of a Unix socket: for the server
// who connected, for the client who listens. It fails for users that the kernel
// cannot name here.
func PeerOf(c syscall.Conn) (peer Peer, err error) {
	err = Control(c, func(fd int) (err error) {
		peer, err = peerAt(fd)
		return err
	})
	return peer, err
}

// ServerOf asks the kernel who serves a socket.
func ServerOf(ctx context.Context, socket string) (Peer, error) {
	conn, err := dial(ctx, socket)
	if err != nil {
		return Peer{}, err
	}
	defer func() { _ = conn.Close() }()
	return PeerOf(conn.(unixConn).File)
}

// checkServer refuses a server that is neither root nor this user: another user
// may have taken the place of the daemon, and would learn secrets.
func checkServer(conn connection, socket string) error {
	peer, err := PeerOf(conn.(unixConn).File)
	if err != nil {
		return err
	}
	if peer.UID != 0 && peer.UID != os.Geteuid() {
		return &token.Error{Code: token.ErrDenied, Message: fmt.Sprintf(
			"%s is served by uid %d, who is neither root nor you (uid %d)", socket, peer.UID, os.Geteuid())}
	}
	return nil
}

// CheckPath says early and clearly what bind and connect would call an invalid
// argument. It also keeps out "@name", Linux's abstract sockets, which know no
// permissions.
func CheckPath(socket string) error {
	switch {
	case !filepath.IsAbs(socket):
		return invalid("socket", "the socket's path must be absolute: %q", socket)
	case len(socket) > maxPath:
		return invalid("socket", "the socket's path has %d bytes, the system allows %d: %s", len(socket), maxPath, socket)
	}
	return nil
}
