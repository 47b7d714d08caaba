package ipc

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// peerAt asks by SO_PEERCRED, and by SO_PEERGROUPS for the supplementary groups as
// they were when the peer connected.
func peerAt(fd int) (Peer, error) {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return Peer{}, err
	}
	peer, err := newPeer(cred.Uid, int(cred.Pid))
	if err != nil {
		return peer, err
	}
	peer.Groups = []int{int(cred.Gid)}
	for raw := make([]uint32, 64); ; {
		size := uint32(len(raw) * 4)
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&raw[0])), uintptr(unsafe.Pointer(&size)), 0)
		switch {
		case errno == unix.ERANGE && int(size) > len(raw)*4: // size is what it takes
			raw = make([]uint32, size/4)
			continue
		case errno != 0:
			return peer, errno
		}
		for _, gid := range raw[:size/4] {
			peer.Groups = append(peer.Groups, int(gid))
		}
		return peer, nil
	}
}
