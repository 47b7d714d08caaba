package ipc

import (
	"context"
	"fmt"
	"net"

	"github.com/Microsoft/go-winio"
	"golang.org/x/sys/windows"

	"tokend/providers/token"
)

// dial opens the pipe at Identification level: the server may learn who is
// calling and may not act in the caller's name.
func dial(ctx context.Context, socket string) (net.Conn, error) {
	return winio.DialPipeAccessImpLevel(ctx, socket,
		windows.GENERIC_READ|windows.GENERIC_WRITE, winio.PipeImpLevelIdentification)
}

// checkServer refuses a pipe that belongs neither to this user nor to the
// system: somebody else may have made it first, and would be told secrets.
func checkServer(conn net.Conn, socket string) error {
	handle, err := pipeHandle(conn)
	if err != nil {
		return err
	}
	sd, err := windows.GetSecurityInfo(handle, windows.SE_KERNEL_OBJECT, windows.OWNER_SECURITY_INFORMATION)
	if err != nil {
		return fmt.Errorf("asking whose pipe %s is: %w", socket, err)
	}
	owner, _, err := sd.Owner()
	if err != nil {
		return fmt.Errorf("asking whose pipe %s is: %w", socket, err)
	}
	own, err := ownSID()
	if err != nil {
		return err
	}
	if !owner.Equals(own) && !owner.IsWellKnown(windows.WinLocalSystemSid) {
		return &token.Error{Code: token.ErrDenied, Message: fmt.Sprintf(
			"%s belongs to %s, who is neither the system nor you (%s)", socket, owner, own)}
	}
	return nil
}
