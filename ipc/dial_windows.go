package ipc

import (
	"context"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/Microsoft/go-winio"
	"golang.org/x/sys/windows"

	"tokend/providers/token"
)

// dial opens the pipe at Identification level: the server may learn who is
// calling and may not act in the caller's name.
func dial(socket string, wait time.Duration) (connection, error) {
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	conn, err := winio.DialPipeAccessImpLevel(ctx, socket,
		windows.GENERIC_READ|windows.GENERIC_WRITE, winio.PipeImpLevelIdentification)
	if err != nil {
		return nil, err
	}
	p := pipe{conn}
	p.timeout(wait)
	return p, nil
}

// A pipe is a connection to the daemon.
type pipe struct{ net.Conn }

func (p pipe) timeout(wait time.Duration) {
	deadline := time.Time{}
	if wait > 0 {
		deadline = time.Now().Add(wait)
	}
	_ = p.SetDeadline(deadline)
}

func (p pipe) interrupt() { _ = p.SetDeadline(time.Unix(1, 0)) }

// checkServer refuses a pipe that belongs neither to this user nor to the
// system: another user may have made it first, and would learn secrets.
func checkServer(conn connection, socket string) error {
	handle := conn.(pipe).Conn.(interface{ Fd() uintptr }).Fd() // winio's pipes have one
	sd, err := windows.GetSecurityInfo(windows.Handle(handle), windows.SE_KERNEL_OBJECT, windows.OWNER_SECURITY_INFORMATION)
	var owner *windows.SID
	if err == nil {
		owner, _, err = sd.Owner()
	}
	if err != nil {
		return fmt.Errorf("asking whose pipe %s is: %w", socket, err)
	}
	own, err := OwnSID()
	if err != nil {
		return err
	}
	if !owner.Equals(own) && !owner.IsWellKnown(windows.WinLocalSystemSid) {
		return &token.Error{Code: token.ErrDenied, Message: fmt.Sprintf(
			"%s belongs to %s, who is neither the system nor you (%s)", socket, owner, own)}
	}
	return nil
}

// PeerOf returns who connected to a pipe. Its security descriptor admits only
// its owner, so the user is known; the process is for logs.
func PeerOf(c any) (Peer, error) {
	pipe, ok := c.(interface{ Fd() uintptr })
	if !ok {
		return Peer{}, fmt.Errorf("%T is not a pipe", c)
	}
	var pid uint32
	if err := windows.GetNamedPipeClientProcessId(windows.Handle(pipe.Fd()), &pid); err != nil {
		return Peer{}, fmt.Errorf("finding out who serves the pipe: %w", err)
	}
	return Peer{UID: os.Getuid(), PID: int(pid)}, nil
}
