package notify

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tokend/packaging/checktest"
	"tokend/providers/token"
)

// What a status needs a person for, in words.
func TestNeeds(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	fails := func(code token.Code) []token.TokenStatus {
		return []token.TokenStatus{{Error: &token.Error{Code: code, Message: "<b>no & never</b>"}}}
	}
	st := token.Status{Keystore: "os: locked", MayManage: true, Profiles: []token.ProfileStatus{
		{Name: "a", CredentialExpires: now.Add(9 * 24 * time.Hour), CredentialState: token.CredentialExpiring, Tokens: fails(token.ErrUnavailable)},
		{Name: "b", Tokens: fails(token.ErrRejected)}, {Name: "c", Tokens: fails(token.ErrLocked)}, {Name: "d", Tokens: fails(token.ErrLocked)},
	}}
	f := &follower{socket: "/s"}
	for _, c := range []struct{ key, title, text string }{
		{"credential a", "a: the credential expires in 9 days, on 2026-12-07", "tokenctl --socket /s rotate a"},
		{"refused b", "b: the issuer refuses the credential", "tokenctl --socket /s status b: ‹b›no + never‹/b›"},
		{"locked ", "The keyring is locked", "tokenctl --socket /s unlock"},
	} {
		if n := f.needs(st, now)[c.key]; n.title != c.title || plain(n.text) != c.text {
			t.Errorf("%s: %q, %q", c.key, n.title, plain(n.text))
		}
	}
	st.Keystore, st.MayManage = "os: ok", false
	if needs := f.needs(st, now); len(needs) != 2 || !strings.HasPrefix(needs["refused b"].text, "Tell") {
		t.Errorf("unlocked, to a user: %+v", needs)
	}
}

// A hook that hangs ends after its time, with what it started.
func TestAHookThatHangs(t *testing.T) {
	hook, pipe := filepath.Join(t.TempDir(), "hook"), filepath.Join(t.TempDir(), "pipe")
	check(t, errors.Join(syscall.Mkfifo(pipe, 0o600), os.WriteFile(hook, []byte("#!/bin/sh\nsleep 60 >"+pipe+"\n"), 0o700)))
	said := ""
	h := Hook{Path: hook, Limit: 2 * time.Second}
	h.run(t.Context(), token.Event{}, func(format string, _ ...any) { said = format })
	_, err := os.ReadFile(pipe) // until no process has it open
	check(t, err)
	h.running.Wait()
	if !strings.Contains(said, "the hook") || len(h.last) != 1 {
		t.Errorf("it says %q", said)
	}
}

var check = checktest.NoError
