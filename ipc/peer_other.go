//go:build unix && !linux && !darwin

package ipc

import (
	"runtime"

	"tokend/providers/token"
)

// peerAt fails: tokend does not know how to ask this system who is at the other
// end, and without that it lets no caller in.
func peerAt(int) (Peer, error) {
	return Peer{}, &token.Error{Code: token.ErrDenied,
		Message: "tokend cannot ask this system (" + runtime.GOOS + ") who is at the other end of a socket"}
}
