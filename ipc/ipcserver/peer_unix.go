//go:build unix

package ipcserver

import (
	"fmt"
	"net"
	"syscall"

	"tokend/ipc"
)

func peerOf(c net.Conn) (ipc.Peer, error) {
	socket, ok := c.(syscall.Conn)
	if !ok {
		return ipc.Peer{}, fmt.Errorf("%T is not a socket", c)
	}
	return ipc.PeerOf(socket)
}
