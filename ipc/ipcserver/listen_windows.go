package ipcserver

import (
	"errors"
	"fmt"
	"net"

	"github.com/Microsoft/go-winio"
	"golang.org/x/sys/windows"

	"tokend/ipc"
	"tokend/providers/token"
)

// Listen makes the named pipe. It belongs to this user, who alone may open it,
// and only on this machine. Windows makes no second pipe of a name; then
// Listen returns ErrExists. It calls before first, and stops at its error.
func Listen(path string, before ...func() error) (net.Listener, error) {
	sid, err := ipc.OwnSID()
	for _, do := range before {
		if err == nil {
			err = do()
		}
	}
	if err != nil {
		return nil, err
	}
	l, err := winio.ListenPipe(path, &winio.PipeConfig{SecurityDescriptor: ownerAlone(sid.String())})
	if errors.Is(err, windows.ERROR_ACCESS_DENIED) || errors.Is(err, windows.ERROR_PIPE_BUSY) || errors.Is(err, windows.ERROR_ALREADY_EXISTS) {
		return nil, &token.Error{Code: token.ErrExists, Message: "tokend is already running at " + path, Cause: err}
	}
	return l, err
}

// ownerAlone is the security descriptor of a named pipe that belongs to a user
// and that no other user may open, in Windows's own language (SDDL). Owner: the
// user, also of an elevated process, whose objects otherwise belong to the
// administrators. DACL: protected, so nothing is inherited; all rights to the
// user.
func ownerAlone(sid string) string { return fmt.Sprintf("O:%[1]sD:P(A;;GA;;;%[1]s)", sid) }
