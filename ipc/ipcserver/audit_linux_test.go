package ipcserver

import (
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"

	. "tokend/providers/fixturetest"
	"tokend/providers/token"
)

// Every grant and refusal is reported, with who, what and why, and no secret.
func TestAudit(t *testing.T) {
	var mu sync.Mutex
	var events []token.AuditEntry
	b := newMemory()
	s := start(t, b, Options{Audit: func(e token.AuditEntry) {
		mu.Lock()
		defer mu.Unlock()
		events = append(events, e)
	}})
	ctx := t.Context()
	c := s.client
	target := token.Target{Scope: "x", Audience: "y"}
	_, _ = c.Get(ctx, "clms", token.Query{Target: target})
	_, _ = c.Get(ctx, "none", token.Query{})
	_, _ = c.Get(ctx, "", token.Query{URL: "https://clms.example/path?secret=CANARY"})
	_, _ = c.Sign(ctx, "none", token.Request{URL: "https://x.example/y?z"})
	_ = c.Invalidate(ctx, "clms", token.NewSecret("CANARY"))
	_ = c.Remove(ctx, "none")
	_ = c.Rename(ctx, "clms", "land")
	_ = c.Reload(ctx)
	_, _ = c.Migrate(ctx, token.KeystoreChoice{Keystore: "os"})
	b.fail = token.ErrDenied
	_ = c.Unlock(ctx)
	_, _ = c.Status(ctx) // hands nothing out

	mu.Lock()
	defer mu.Unlock()
	want := []token.AuditEntry{
		{Do: "get", Profile: "clms", Target: target},
		{Do: "get", Profile: "none", Code: token.ErrNotFound},
		{Do: "get", Profile: "clms", Origin: "https://clms.example:443"},
		{Do: "sign", Profile: "none", Origin: "https://x.example:443", Code: token.ErrNotFound},
		{Do: "invalidate", Profile: "clms"},
		{Do: "remove", Profile: "none", Code: token.ErrNotFound},
		{Do: "rename", Profile: "clms"}, {Do: "rename", Profile: "land"},
		{Do: "reload"},
		{Do: "migrate"},
		{Do: "unlock", Code: token.ErrDenied},
	}
	comm, err := os.ReadFile("/proc/self/comm")
	Must(t, err)
	for i, got := range events {
		if got.UID != os.Getuid() || got.PID != os.Getpid() || got.Program != strings.TrimSpace(string(comm)) {
			t.Errorf("%s: the caller is %+v %q", got.Do, got.UID, got.Program)
		}
		got.User = token.User{}
		if i < len(want) && !reflect.DeepEqual(got, want[i]) {
			t.Errorf("event %d: %+v, want %+v", i, got, want[i])
		}
	}
	if len(events) != len(want) {
		t.Errorf("%d events, want %d", len(events), len(want))
	}
}
