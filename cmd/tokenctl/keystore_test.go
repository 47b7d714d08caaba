package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"tokend/cmd/tokenctl/ui"
	"tokend/providers/token"
)

func (b *backend) Doctor(context.Context) (token.Report, error) { return b.diagnosis, b.err }

func (b *backend) Keystore(context.Context) (token.KeystoreStatus, error) { return b.keystore, nil }

func (b *backend) Unlock(context.Context) error {
	err := b.unlocks[0]
	b.unlocks = b.unlocks[1:]
	if err != nil { // the prompt is answered soon
		b.keystore.State = "ok"
	}
	return err
}

func (b *backend) Migrate(_ context.Context, to token.KeystoreChoice) (token.Migrated, error) {
	b.moveTo = to
	return b.moved, b.err
}

func sealedAt(file string) token.KeystoreStatus {
	return token.KeystoreStatus{KeystoreChoice: token.KeystoreChoice{Keystore: "sealed", KeyFile: file}, State: "ok", KeyID: "ab12",
		Since: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}
}

func TestKeystoreTellsWhereSecretsAre(t *testing.T) {
	k := newBackend()
	k.keystore = sealedAt("/etc/tokend/tokend.key")
	k.keystore.State, k.keystore.Leftovers, k.keystore.Moving = "locked", 4, &token.KeystoreMove{Doing: "copying", Done: 2, Total: 7}
	socket := serve(t, k)
	r := call(t, socket, nil, "keystore")
	for _, want := range []string{"sealed, files", "locked", "/etc/tokend/tokend.key (ab12)", "2026-11-23", "4 old copies", "copying 3 of 7"} {
		r.wants(t, ui.ExitOK, want, "")
	}
	call(t, socket, nil, "keystore", "--json").wants(t, ui.ExitOK, `"key_file": "/etc/tokend/tokend.key"`, "")
	call(t, socket, nil, "keystore", "migrated").wants(t, ui.ExitUsage, "", "did you mean migrate?")
}

func TestMigrateShowsWhatMoved(t *testing.T) {
	k := newBackend()
	k.keystore = token.KeystoreStatus{KeystoreChoice: token.KeystoreChoice{Keystore: "os"}, State: "ok"}
	k.moved = token.Migrated{Keystore: sealedAt("/home/me/new.key"), Moved: 7, NewKey: true}
	socket := serve(t, k)
	r := call(t, socket, nil, "keystore", "migrate", "--to", "sealed", "--key-file", "/home/me/new.key")
	if r.status != ui.ExitOK || r.err != "" || !strings.Contains(r.out, "Moved 7 secrets and read each back: from os") || !strings.Contains(r.out, "back it up") {
		t.Errorf("%+v", r)
	}
	if k.moveTo != (token.KeystoreChoice{Keystore: "sealed", KeyFile: "/home/me/new.key"}) {
		t.Errorf("it asked for %+v", k.moveTo)
	}
	// From one key to another: which one is of no use any more.
	k.keystore = sealedAt("/home/me/old.key")
	call(t, socket, nil, "keystore", "migrate", "--to", "sealed", "--key-file", "/home/me/new.key").wants(t, ui.ExitOK, "The key in /home/me/old.key is for old backups alone.", "")
	// A credential that the unit passes on: without its file the unit does not start.
	k.keystore = sealedAt("")
	k.keystore.Credential = "tokend-key"
	r = call(t, socket, nil, "keystore", "migrate", "--to", "sealed", "--key-file", "/home/me/new.key")
	r.wants(t, ui.ExitOK, "rm /etc/systemd/system/tokend.service.d/tokend-key.conf && systemctl daemon-reload", "")
	if strings.Contains(r.out, "you can delete it") {
		t.Errorf("it offers to delete what the unit needs: %s", r.out)
	}
	// The same key elsewhere opens as much as before; where it is, it stays.
	k.moved.Moved, k.moved.NewKey = 0, false
	k.keystore = sealedAt("/home/me/new.key")
	if r := call(t, socket, nil, "keystore", "migrate", "--to", "sealed", "--key-file", "/home/me/new.key", "--key-file-group-read"); strings.Contains(r.out, "deleted") {
		t.Errorf("it offers to delete the current key: %s", r.out)
	}

	k.err = &token.Error{Code: token.ErrLocked, Message: "the OS keyring is locked"}
	r = call(t, socket, nil, "keystore", "migrate", "--to", "os")
	r.wants(t, ui.ExitLocked, "", "All secrets are where they were.")
	r.wants(t, ui.ExitLocked, "", "tokenctl unlock")
	k.err = &token.Error{Code: token.ErrDenied, Field: "admin_users", Message: "uid 7 may not move secrets"}
	call(t, socket, nil, "keystore", "migrate", "--to", "os").wants(t, ui.ExitDenied, "", "uid 7")
}

func TestMigrateTypedWrongly(t *testing.T) {
	for want, args := range map[string][]string{
		"Where to? Say --to os or --to sealed\n  See: tokenctl keystore migrate --help\n": {},
		`keystore migrate takes no arguments and got "sealed"`:                            {"sealed"},
		"keystore migrate has no flag --too; did you mean --to?":                          {"--too", "os"},
	} {
		call(t, "/nowhere", nil, append([]string{"keystore", "migrate"}, args...)...).wants(t, ui.ExitUsage, "", want)
	}
}

func TestUnlockWaitsForThePrompt(t *testing.T) {
	prompt := &token.Error{Code: token.ErrLocked, Message: "the OS keyring waits for its prompt", Topic: "keyring-prompt"}
	k := newBackend()
	k.unlocks = []error{nil}
	socket := serve(t, k)
	call(t, socket, nil, "unlock").wants(t, ui.ExitOK, "unlocked", "")

	k.unlocks = []error{prompt, nil}
	if r := call(t, socket, nil, "unlock"); r.status != ui.ExitOK || !strings.Contains(r.err, "asks you, in a window") || !strings.Contains(r.out, "unlocked") {
		t.Errorf("%+v", r)
	}
	k.unlocks = []error{prompt}
	call(t, socket, nil, "unlock", "--timeout", "0").wants(t, ui.ExitLocked, "", "waits for its prompt")
	// Where no prompt can be shown there is nothing to wait for.
	k.unlocks = []error{&token.Error{Code: token.ErrLocked, Message: "the OS keyring is locked", Topic: "keyring-locked"}}
	call(t, socket, nil, "unlock").wants(t, ui.ExitLocked, "", "password manager")
}
