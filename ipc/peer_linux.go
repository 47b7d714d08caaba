package ipc

import (
	"fmt"
	"net"
	"unsafe"

	"golang.org/x/sys/unix"
)

// PeerOf asks the kernel who is at the other end of a Unix socket
// (SO_PEERCRED): on the server's side who connected, on the client's who
// listens. It fails for users that the kernel cannot name here.
func PeerOf(c net.Conn) (p Peer, err error) {
	err = control(c, func(fd int) error {
		p, err = peerAt(fd)
		return err
	})
	return p, err
}

func peerAt(fd int) (Peer, error) {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return Peer{}, fmt.Errorf("asking who is at the other end of the socket: %w", err)
	}
	return newPeer(cred.Uid, int(cred.Pid))
}

// GroupsOf asks the kernel for the groups of who is at the other end of a Unix
// socket: the primary one (SO_PEERCRED) and the supplementary ones
// (SO_PEERGROUPS), as they were when it connected.
func GroupsOf(c net.Conn) (groups []int, err error) {
	err = control(c, func(fd int) error {
		cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
		if err != nil {
			return err
		}
		groups = []int{int(cred.Gid)}
		raw := make([]uint32, 64)
		for {
			size := uint32(len(raw) * 4)
			_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERGROUPS,
				uintptr(unsafe.Pointer(&raw[0])), uintptr(unsafe.Pointer(&size)), 0)
			switch {
			case errno == unix.ERANGE && int(size) > len(raw)*4: // size is what it takes
				raw = make([]uint32, size/4)
			case errno != 0:
				return errno
			default:
				for _, gid := range raw[:size/4] {
					groups = append(groups, int(gid))
				}
				return nil
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("asking for the groups of who is at the other end of the socket: %w", err)
	}
	return groups, nil
}
