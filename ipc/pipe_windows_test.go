package ipc

import (
	"strings"
	"testing"

	"golang.org/x/sys/windows"
)

// Windows reads the descriptor as it is meant, and the pipe has it.
func TestWindowsKnowsWhoMayOpenThePipe(t *testing.T) {
	own, err := ownSID()
	if err != nil {
		t.Fatal(err)
	}
	sd, err := windows.SecurityDescriptorFromString(ownerAlone(own.String()))
	if err != nil {
		t.Fatal(err)
	}
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
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			defer func() { _ = conn.Close() }()
		}
	}()
	conn, err := dial(t.Context(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := checkServer(conn, l.Addr().String()); err != nil {
		t.Error(err)
	}
}
