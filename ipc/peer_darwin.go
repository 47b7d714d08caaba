package ipc

import (
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// PeerOf asks the kernel who is at the other end of a Unix socket
// (LOCAL_PEERCRED): on the server's side who connected, on the client's who
// listens. It fails for users that the kernel cannot name here.
func PeerOf(c net.Conn) (p Peer, err error) {
	err = control(c, func(fd int) error {
		p, err = peerAt(fd)
		return err
	})
	return p, err
}

func peerAt(fd int) (Peer, error) {
	cred, err := unix.GetsockoptXucred(fd, unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
	if err != nil {
		return Peer{}, fmt.Errorf("asking who is at the other end of the socket: %w", err)
	}
	// The pid is for logs alone, and a peer may be gone already.
	pid, _ := unix.GetsockoptInt(fd, unix.SOL_LOCAL, unix.LOCAL_PEERPID)
	return newPeer(cred.Uid, pid)
}
