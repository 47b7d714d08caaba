package ipcserver

import (
	"bytes"
	"fmt"
	"net"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"

	"tokend/ipc"
)

// peerOf adds the supplementary groups of a Unix socket's peer (SO_PEERGROUPS), as
// they were when it connected.
func peerOf(c net.Conn) (ipc.Peer, error) {
	peer, err := ipc.PeerOf(c)
	if err != nil {
		return peer, err
	}
	err = ipc.Control(c, func(fd int) error {
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
					peer.Groups = append(peer.Groups, int(gid))
				}
				return nil
			}
		}
	})
	if err != nil {
		err = fmt.Errorf("asking for the groups of the caller: %w", err)
	}
	return peer, err
}

// programOf is the name of a process, as it says itself; empty if there is
// none. It is a label: any process can call itself anything.
//
// Each connection is asked about, so the file is read with three calls to the
// system and no more, where os.ReadFile makes nine.
func programOf(pid int) string {
	if pid <= 0 {
		return ""
	}
	fd, err := unix.Open("/proc/"+strconv.Itoa(pid)+"/comm", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer func() { _ = unix.Close(fd) }()
	var name [64]byte // the kernel cuts it at 15 bytes
	n, err := unix.Read(fd, name[:])
	if err != nil {
		return ""
	}
	return string(bytes.TrimSpace(name[:n]))
}
