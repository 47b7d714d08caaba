package main

import (
	"path/filepath"
	"strings"
	"testing"

	"tokend/cmd/tokenctl/ui"
	"tokend/providers/token"
)

func TestWithoutArgumentsItSaysHowThingsStand(t *testing.T) {
	b := newBackend()
	socket := serve(t, b)
	call(t, socket, nil).wants(t, ui.ExitOK, "tokend 1.2.3 is running, started 3 h ago; its keystore is os: ok.\n"+
		"Needs attention: tokenctl status azure\nSee all 2: tokenctl status; one at length: tokenctl status NAME\nAll commands: tokenctl --help\n", "")

	b.status.Profiles = b.status.Profiles[1:]
	call(t, socket, nil).wants(t, ui.ExitOK, "\nUse one: tokenctl get clms\n", "")

	b.status.Profiles = []token.ProfileStatus{{Name: "rock", Does: "signs"}}
	call(t, socket, nil).wants(t, ui.ExitOK, "\nUse one: tokenctl sign rock URL\n", "")

	b.status.Profiles = nil
	r := call(t, socket, nil)
	r.wants(t, ui.ExitOK, "There is no profile yet. Make one: tokenctl add\n", "")
	if n := strings.Count(r.out, "\n"); n > 5 || strings.Contains(r.out, "\n\n") {
		t.Errorf("%d lines:\n%s", n, r.out)
	}
	b.status.MayManage = false
	for _, args := range [][]string{nil, {"status"}, {"list"}} {
		call(t, socket, nil, args...).wants(t, ui.ExitOK, "There is no profile that you may use. Ask the person who manages them.\n", "")
	}
	b.status.State = "/var/lib/tokend"
	call(t, socket, nil).wants(t, ui.ExitOK, "This is the system's tokend.", "")
	call(t, socket, nil).wants(t, ui.ExitOK, "The system's tokend 1.2.3 is running", "")
}

func TestWithoutADaemonItSaysHowToStartIt(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "none")
	r := call(t, socket, nil)
	r.wants(t, ui.ExitOK, "tokend is not running: no tokend answers at\n"+socket, "")
	if !strings.Contains(r.out, "tokend run --socket "+ui.Word(socket)) || !strings.Contains(r.out, "tokenctl --help") {
		t.Error(r.out)
	}
}
