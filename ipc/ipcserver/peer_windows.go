package ipcserver

import (
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/windows"

	"tokend/ipc"
)

// peerOf returns who connected to the pipe. Its security descriptor admits only
// its owner, so the user is known; the process is for logs.
func peerOf(c net.Conn) (ipc.Peer, error) {
	pipe, ok := c.(interface{ Fd() uintptr })
	if !ok {
		return ipc.Peer{}, fmt.Errorf("asking who is at the other end of the pipe: %T is not a pipe", c)
	}
	var pid uint32
	if err := windows.GetNamedPipeClientProcessId(windows.Handle(pipe.Fd()), &pid); err != nil {
		return ipc.Peer{}, fmt.Errorf("asking who is at the other end of the pipe: %w", err)
	}
	return ipc.Peer{UID: os.Getuid(), PID: int(pid)}, nil
}

// programOf returns no name: Windows does not know it cheaply.
func programOf(int) string { return "" }
