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

// The words of a need, for those who may act and for others.
func TestNeeds(t *testing.T) {
	for may, want := range map[bool]string{true: "tokenctl --socket /s status b: ‹b›no + never‹/b›", false: "Tell those who manage tokend."} {
		p := token.ProfileStatus{Name: "b", Tokens: []token.TokenStatus{{Error: &token.Error{Code: token.ErrRejected, Message: "<b>no & never</b>"}}}}
		needs := (&follower{socket: "/s"}).needs(token.Status{MayManage: may, Profiles: []token.ProfileStatus{p}}, time.Now())
		if n := needs["refused b"]; n.title != "b: the issuer refuses the credential" || plain(n.text) != want {
			t.Errorf("%q: %q", n.title, plain(n.text))
		}
	}
}

// A hook that hangs ends after its time, with what it started.
func TestAHookThatHangs(t *testing.T) {
	hook, pipe := filepath.Join(t.TempDir(), "hook"), filepath.Join(t.TempDir(), "pipe")
	checktest.NoError(t, errors.Join(syscall.Mkfifo(pipe, 0o600), os.WriteFile(hook, []byte("#!/bin/sh\nsleep 60 >"+pipe+"\n"), 0o700)))
	h, said := Hook{Path: hook, Limit: 2 * time.Second}, ""
	h.run(t.Context(), token.Event{}, func(format string, _ ...any) { said = format })
	_, err := os.ReadFile(pipe) // until no process has it open
	checktest.NoError(t, err)
	h.running.Wait()
	if !strings.Contains(said, "the hook") || len(h.last) != 1 {
		t.Errorf("it says %q", said)
	}
}
