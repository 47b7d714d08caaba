package ipc

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// PeerAt asks the kernel who is at the other end of a Unix socket
// (SO_PEERCRED): for the server who connected, for the client who listens. It
// fails for users that the kernel cannot name here.
func PeerAt(fd int) (Peer, error) {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return Peer{}, fmt.Errorf("asking who is at the other end of the socket: %w", err)
	}
	return newPeer(cred.Uid, int(cred.Pid))
}
