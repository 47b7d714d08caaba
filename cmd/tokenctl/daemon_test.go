package main

import (
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tokend/cmd/tokenctl/ui"
	"tokend/providers/token"
)

func TestDoctorReportsAndAdvises(t *testing.T) {
	b := newBackend()
	b.diagnosis = token.Report{Version: ownVersion(), Checks: []token.Check{
		{Name: "cache", Result: token.CheckOK, Text: "tokens outlive a restart"},
		{Name: "clock", Result: token.CheckWarn, Text: "off \x1b[2J", Advice: "set it"},
	}}
	t.Setenv("HTTPS_PROXY", "")
	t.Setenv("https_proxy", "")
	socket := serve(t, b)
	r := call(t, socket, nil, "doctor")
	r.wants(t, ui.ExitOK, "ok    socket: tokend answers at "+socket+"\n", "")
	r.wants(t, ui.ExitOK, "ok    version: ", "")
	r.wants(t, ui.ExitOK, "ok    cache: tokens outlive a restart\nwarn  clock: off \\x1b[2J\n      -> set it\n", "")
	r.lacks(t, "environment")

	// What failed, failed: by its exit status too, and in JSON.
	b.diagnosis.Checks[1].Result = token.CheckFail
	for _, args := range [][]string{{"doctor"}, {"doctor", "--json"}} {
		if r := call(t, socket, nil, args...); r.status != ui.ExitFailure || r.err != "" || !strings.Contains(r.out, "fail") {
			t.Errorf("%q: %+v", args, r)
		}
	}
	var found token.Report
	if err := json.Unmarshal([]byte(call(t, socket, nil, "doctor", "--json").out), &found); err != nil || len(found.Checks) != 4 {
		t.Errorf("%v: %+v", err, found)
	}
}

func TestDoctorSeesWhatDiffersHere(t *testing.T) {
	b, socket := served(t, newBackend())
	b.diagnosis = token.Report{Version: "0.0.1", Proxy: "http://theirs.example:1"}
	t.Setenv("HTTPS_PROXY", "http://me:CANARY@ours.example:3128")
	r := call(t, socket, nil, "doctor")
	r.wants(t, ui.ExitOK, "warn  version: tokend is 0.0.1, tokenctl ", "")
	r.wants(t, ui.ExitOK, "this shell's proxy is http://ours.example:3128, tokend's is\n      http://theirs.example:1", "")
	if strings.Contains(r.out, "CANARY") {
		t.Error("it prints the proxy's password")
	}
}

func TestDoctorWithoutADaemon(t *testing.T) {
	r := call(t, "/nonexistent/socket", nil, "doctor")
	if r.status != ui.ExitFailure || !strings.HasPrefix(r.out, "fail  socket: no tokend answers at /nonexistent/socket\n      -> Start it: ") || r.err != "" {
		t.Errorf("%+v", r)
	}
}

func TestEventsArePrintedAsLines(t *testing.T) {
	b := newBackend()
	b.events = []token.Event{
		{Time: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), Kind: token.EventObtained, Profile: "clms", Target: token.Target{Scope: "a"}},
		{Kind: token.EventRefused, Profile: "azure", Error: &token.Error{Code: token.ErrRejected, Message: "no \x1b[2J", Topic: "AADSTS7000215"}},
	}
	socket := filepath.Join(t.TempDir(), "s")
	stop := serveAt(t, socket, b)
	b.drained = func() { go stop() }
	r := call(t, socket, nil, "events", "clms", "azure")
	r.wants(t, ui.ExitOK, `{"time":"2026-11-23T12:00:00Z","event":"obtained","profile":"clms","scope":"a"}`+"\n", "")
	var kinds []string
	for line := range strings.Lines(r.out) {
		var e token.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil || strings.Contains(line, "\x1b") {
			t.Errorf("%q: %v", line, err)
		}
		kinds = append(kinds, string(e.Kind))
	}
	if got := strings.Join(kinds, " "); got != "obtained refused stopping" {
		t.Errorf("got %s", got)
	}
	b.asked(t, "watch clms azure")
}

func TestEventsWithoutADaemon(t *testing.T) {
	for _, args := range [][]string{{"events"}, {"events", "--follow"}} {
		call(t, "/nonexistent/s", nil, args...).wants(t, ui.ExitNoDaemon, "", "no tokend answers")
	}
	b := newBackend()
	b.err = &token.Error{Code: token.ErrNotFound, Message: `no profile "clsm"`}
	call(t, serve(t, b), nil, "events", "clsm", "--follow").wants(t, ui.ExitNotFound, "", `Did you mean "clms"?`)
}

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
	k, socket := served(t, newBackend())
	k.keystore = sealedAt("/etc/tokend/tokend.key")
	k.keystore.State, k.keystore.Leftovers, k.keystore.Moving = "locked", 4, &token.KeystoreMove{Doing: "copying", Done: 2, Total: 7}
	r := call(t, socket, nil, "keystore")
	for _, want := range []string{"sealed, files", "locked", "/etc/tokend/tokend.key (ab12)", "2026-11-23", "4 old copies", "copying 3 of 7"} {
		r.wants(t, ui.ExitOK, want, "")
	}
	call(t, socket, nil, "keystore", "--json").wants(t, ui.ExitOK, `"key_file": "/etc/tokend/tokend.key"`, "")
	call(t, socket, nil, "keystore", "migrated").wants(t, ui.ExitUsage, "", "did you mean migrate?")
}

func TestMigrateShowsWhatMoved(t *testing.T) {
	k, socket := served(t, newBackend())
	k.keystore = token.KeystoreStatus{KeystoreChoice: token.KeystoreChoice{Keystore: "os"}, State: "ok"}
	k.moved = token.Migrated{Keystore: sealedAt("/home/me/new.key"), Moved: 7, NewKey: true}
	migrate := func(more ...string) result {
		return call(t, socket, nil, append([]string{"keystore", "migrate", "--to", "sealed", "--key-file", "/home/me/new.key"}, more...)...)
	}
	r := migrate()
	if r.status != ui.ExitOK || r.err != "" || !strings.Contains(r.out, "Moved 7 secrets and read each back: from os") || !strings.Contains(r.out, "back it up") {
		t.Errorf("%+v", r)
	}
	if k.moveTo != (token.KeystoreChoice{Keystore: "sealed", KeyFile: "/home/me/new.key"}) {
		t.Errorf("it asked for %+v", k.moveTo)
	}
	// From one key to another: which one is of no use any more.
	k.keystore = sealedAt("/home/me/old.key")
	migrate().wants(t, ui.ExitOK, "Only old backups need the key in /home/me/old.key.", "")
	// A credential that the unit passes on: without its file the unit does not start.
	k.keystore = sealedAt("")
	k.keystore.Credential = "tokend-key"
	r = migrate()
	r.wants(t, ui.ExitOK, "rm /etc/systemd/system/tokend.service.d/tokend-key.conf && systemctl daemon-reload", "")
	r.lacks(t, "you can delete it")
	// The same key elsewhere opens as much as before; where it is, it stays.
	k.moved.Moved, k.moved.NewKey = 0, false
	k.keystore = sealedAt("/home/me/new.key")
	migrate("--key-file-group-read").lacks(t, "deleted")

	k.err = &token.Error{Code: token.ErrLocked, Message: "the OS keyring is locked"}
	r = call(t, socket, nil, "keystore", "migrate", "--to", "os")
	r.wants(t, ui.ExitLocked, "", "All secrets are where they were.")
	r.wants(t, ui.ExitLocked, "", "tokenctl unlock")
	k.err = &token.Error{Code: token.ErrDenied, Field: "admin_users", Message: "uid 7 may not move secrets"}
	call(t, socket, nil, "keystore", "migrate", "--to", "os").wants(t, ui.ExitDenied, "", "uid 7")
}

func TestMigrateTypedWrongly(t *testing.T) {
	for want, args := range map[string][]string{
		"To which keystore? Use --to os or --to sealed\n  See: tokenctl keystore migrate --help\n": {},
		`keystore migrate takes no arguments, but got "sealed"`:                                    {"sealed"},
		"keystore migrate has no flag --too; did you mean --to?":                                   {"--too", "os"},
	} {
		call(t, "/nowhere", nil, append([]string{"keystore", "migrate"}, args...)...).wants(t, ui.ExitUsage, "", want)
	}
}

func TestUnlockWaitsForThePrompt(t *testing.T) {
	prompt := &token.Error{Code: token.ErrLocked, Message: "the OS keyring waits for its prompt", Topic: "keyring-prompt"}
	k, socket := served(t, newBackend())
	k.unlocks = []error{nil}
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
