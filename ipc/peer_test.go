package ipc

import (
	"errors"
	"testing"

	"tokend/providers/token"
)

// Case 13 of the threat model.
func TestUsersThatTheKernelCannotName(t *testing.T) {
	for _, uid := range []uint32{65534, ^uint32(0)} {
		if _, err := newPeer(uid, 1); !errors.Is(err, token.ErrDenied) {
			t.Errorf("uid %d: got %v, want ErrDenied", uid, err)
		}
	}
	if p, err := newPeer(1000, 0); err != nil || p.UID != 1000 || p.PID != 0 {
		t.Errorf("an unknown pid is not a reason to refuse: %v, %v", p, err)
	}
}
