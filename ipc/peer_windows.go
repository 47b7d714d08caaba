package ipc

import (
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/windows"
)

// PeerOf tells who connected to the pipe. Its security descriptor lets nobody
// but its owner in, so the user is known; the process is for logs.
func PeerOf(c net.Conn) (Peer, error) {
	handle, err := pipeHandle(c)
	if err != nil {
		return Peer{}, err
	}
	var pid uint32
	if err := windows.GetNamedPipeClientProcessId(handle, &pid); err != nil {
		return Peer{}, fmt.Errorf("asking who is at the other end of the pipe: %w", err)
	}
	return Peer{UID: os.Getuid(), PID: int(pid)}, nil
}

func pipeHandle(c net.Conn) (windows.Handle, error) {
	pipe, ok := c.(interface{ Fd() uintptr })
	if !ok {
		return 0, fmt.Errorf("asking who is at the other end of the pipe: %T is no pipe", c)
	}
	return windows.Handle(pipe.Fd()), nil
}
