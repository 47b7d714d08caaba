package ipc

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// peerAt asks by SO_PEERCRED.
func peerAt(fd int) (Peer, error) {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return Peer{}, fmt.Errorf("asking who is at the other end of the socket: %w", err)
	}
	peer, err := newPeer(cred.Uid, int(cred.Pid))
	peer.Groups = []int{int(cred.Gid)}
	return peer, err
}
