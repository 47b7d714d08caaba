package ipc

import (
	"fmt"

	"tokend/providers/token"
)

// A Peer is the process at the other end of a connection, as the kernel knew
// it when the connection was made: a process that connects and then hands the
// connection to another, or becomes another, is still the one that connected.
type Peer struct {
	// UID is the user. On Windows, where the pipe admits its owner alone, it
	// is os.Getuid's.
	UID int
	// PID is for logs, never for decisions; 0 where the kernel does not know
	// it (the peer lives in another PID namespace).
	PID int
	// Groups are the user's groups; macOS and Windows do not tell.
	Groups []int
}

// overflowUID is what the kernel shows for a uid that has no meaning in this
// user namespace. Every unmapped user has it, so it identifies no user.
const overflowUID = 65534

func newPeer(uid uint32, pid int) (Peer, error) {
	if uid == overflowUID || uid == ^uint32(0) {
		return Peer{}, &token.Error{Code: token.ErrDenied,
			Message: fmt.Sprintf("the other end of the socket has no user of its own (it shows as uid %d)", int32(uid))}
	}
	return Peer{UID: int(uid), PID: pid}, nil
}
