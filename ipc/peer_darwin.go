package ipc

import "golang.org/x/sys/unix"

// peerAt asks by LOCAL_PEERCRED.
func peerAt(fd int) (Peer, error) {
	cred, err := unix.GetsockoptXucred(fd, unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
	if err != nil {
		return Peer{}, err
	}
	// The pid is for logs alone, and a peer may be gone already.
	pid, _ := unix.GetsockoptInt(fd, unix.SOL_LOCAL, unix.LOCAL_PEERPID)
	return newPeer(cred.Uid, pid)
}
