package ipc

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// PeerAt asks the kernel who is at the other end of a Unix socket
// (LOCAL_PEERCRED): for the server who connected, for the client who listens. It
// fails for users that the kernel cannot name here.
func PeerAt(fd int) (Peer, error) {
	cred, err := unix.GetsockoptXucred(fd, unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
	if err != nil {
		return Peer{}, fmt.Errorf("asking who is at the other end of the socket: %w", err)
	}
	// The pid is for logs alone, and a peer may be gone already.
	pid, _ := unix.GetsockoptInt(fd, unix.SOL_LOCAL, unix.LOCAL_PEERPID)
	return newPeer(cred.Uid, pid)
}
