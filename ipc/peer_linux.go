package ipc

import (
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// PeerOf asks the kernel who is at the other end of a Unix socket
// (SO_PEERCRED): on the server's side who connected, on the client's who
// listens. It fails for users that the kernel cannot name here.
func PeerOf(c net.Conn) (Peer, error) {
	var cred *unix.Ucred
	err := control(c, func(fd int) (err error) {
		cred, err = unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
		return err
	})
	if err != nil {
		return Peer{}, fmt.Errorf("asking who is at the other end of the socket: %w", err)
	}
	return newPeer(cred.Uid, int(cred.Pid))
}
