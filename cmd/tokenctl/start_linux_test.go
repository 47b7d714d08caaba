package main

import (
	"context"
	"path/filepath"
	"testing"
	"time"
)

// A start waits for another one, but not for ever.
func TestAnotherStartIsWaitedFor(t *testing.T) {
	file := filepath.Join(t.TempDir(), "start.lock")
	unlock, err := lockStart(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := lockStart(ctx, file); err == nil || err.Error() != "another start takes too long" {
		t.Errorf("a second start while the first is under way: %v", err)
	}
	unlock()
	again, err := lockStart(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	again()
}
