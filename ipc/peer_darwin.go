package ipc

import (
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// PeerOf asks the kernel who is at the other end of a Unix socket
// (LOCAL_PEERCRED): on the server's side who connected, on the client's who
// listens. It fails for users that the kernel cannot name here.
func PeerOf(c net.Conn) (Peer, error) {
	var cred *unix.Xucred
	var pid int
	err := control(c, func(fd int) (err error) {
		if cred, err = unix.GetsockoptXucred(fd, unix.SOL_LOCAL, unix.LOCAL_PEERCRED); err != nil {
			return err
		}
		// The pid is for logs alone, and a peer may be gone already.
		pid, _ = unix.GetsockoptInt(fd, unix.SOL_LOCAL, unix.LOCAL_PEERPID)
		return nil
	})
	if err != nil {
		return Peer{}, fmt.Errorf("asking who is at the other end of the socket: %w", err)
	}
	return newPeer(cred.Uid, pid)
}
