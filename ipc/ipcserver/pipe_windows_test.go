package ipcserver

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/windows"

	"tokend/ipc"
	. "tokend/providers/fixturetest"
	"tokend/providers/token"
)

// Windows reads the descriptor as it is meant, and the pipe has it.
func TestWindowsKnowsWhoMayOpenThePipe(t *testing.T) {
	own, err := ipc.OwnSID()
	Must(t, err)
	sd, err := windows.SecurityDescriptorFromString(ownerAlone(own.String()))
	Must(t, err)
	if owner, _, err := sd.Owner(); err != nil || !owner.Equals(own) {
		t.Errorf("owner %v, %v", owner, err)
	}
	if control, _, err := sd.Control(); err != nil || control&windows.SE_DACL_PROTECTED == 0 {
		t.Errorf("control %x, %v", control, err)
	}
	if dacl, _, err := sd.DACL(); err != nil || dacl.AceCount != 1 {
		t.Errorf("access control list %+v, %v", dacl, err)
	}

	l, err := Listen(`\\.\pipe\tokend-test-` + strings.ReplaceAll(t.Name(), "/", "-"))
	Must(t, err)
	defer func() { _ = l.Close() }()
	go AnswerAll(l, "")
	c := &ipc.Client{Socket: l.Addr().String()}
	if err := c.Reload(t.Context()); !errors.Is(err, token.ErrNoDaemon) { // the client trusts the pipe
		t.Error(err)
	}
}
