//go:build unix

package ipcserver

import (
	"fmt"
	"net"
	"syscall"

	"tokend/ipc"
)

// PeerOf asks the kernel who is at the other end of a Unix socket.
func PeerOf(c net.Conn) (p ipc.Peer, err error) {
	err = control(c, func(fd int) error {
		p, err = ipc.PeerAt(fd)
		return err
	})
	return p, err
}

func control(c net.Conn, ask func(fd int) error) error {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return fmt.Errorf("%T is not a socket", c)
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	var asked error
	if err := raw.Control(func(fd uintptr) { asked = ask(int(fd)) }); err != nil {
		return err
	}
	return asked
}
