//go:build unix

package ipcserver

import (
	"net"
	"syscall"
)

// readNow reads what has come over c already; 0 if nothing has.
func readNow(c net.Conn, b []byte) (n int) {
	socket, ok := c.(syscall.Conn)
	if !ok {
		return 0
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return 0
	}
	err = raw.Read(func(fd uintptr) bool {
		n, _ = syscall.Read(int(fd), b) // at the end of input, the next read says so again
		return true
	})
	if err != nil {
		return 0
	}
	return max(n, 0)
}
