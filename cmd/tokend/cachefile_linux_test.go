package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tokend/providers/token"
)

// cacheSays waits until status says this of the cache.
func (h *home) cacheSays(want string) {
	h.t.Helper()
	h.waitForStatus("the cache is "+want, func(st token.Status) bool { return strings.Contains(st.Cache, want) })
}

// sealedHome is a home with a running daemon and one profile.
func sealedHome(t *testing.T) *home {
	h := newHome(t)
	h.setupSealed()
	h.start()
	h.add(h.clms("clms", 2048))
	h.cacheSays("ok")
	return h
}

// Case 37: whatever happens to the cache file of a running daemon, the daemon goes
// on serving, and with the next token all its tokens are in a good file.
func TestCacheFileIsHarmedWhileTokendRuns(t *testing.T) {
	t.Parallel()
	harms := map[string]func(path string) error{
		"truncated to nothing":    func(path string) error { return os.Truncate(path, 0) },
		"truncated within a page": func(path string) error { return os.Truncate(path, 5000) },
		"deleted":                 os.Remove,
		"mode 000":                func(path string) error { return os.Chmod(path, 0) },
		"another file in its place": func(path string) error {
			return errors.Join(os.WriteFile(path+".new", []byte("no database"), 0o600), os.Rename(path+".new", path))
		},
	}
	for name, harm := range harms {
		t.Run(name, func(t *testing.T) {
			h := sealedHome(t)
			path := filepath.Join(h.dir, "state", "cache.db")
			pid := h.daemon.Process.Pid
			first := h.get("clms", token.Query{})
			check(t, harm(path))
			if h.get("clms", token.Query{}) != first {
				t.Error("another token")
			}
			h.add(h.clms("second", 2048))
			second := h.get("second", token.Query{})
			h.cacheSays("ok")
			if st, err := h.client.Status(t.Context()); err != nil || st.PID != pid {
				t.Errorf("process %d, %v; it was %d", st.PID, err, pid)
			}
			check(t, os.Chmod(path, 0o600))
			h.kill()
			check(t, h.issuers.Stop())
			h.start()
			if h.get("clms", token.Query{}) != first || h.get("second", token.Query{}) != second {
				t.Error("after a restart there are other tokens")
			}
		})
	}
}

// Case 36, for the whole program: tokend starts as fast with a file that is not a
// cache, puts the file aside, and logs that.
func TestTokendStartsWithADamagedCacheFile(t *testing.T) {
	t.Parallel()
	h := sealedHome(t)
	h.kill()
	path := filepath.Join(h.dir, "state", "cache.db")
	for _, content := range []string{"x", strings.Repeat("\x00", 32<<10), strings.Repeat("text\n", 10_000)} {
		check(t, os.WriteFile(path, []byte(content), 0o600))
		h.start()
		h.get("clms", token.Query{})
		h.cacheSays("ok")
		h.kill()
	}
	if _, err := os.Stat(path + ".corrupt"); err != nil {
		t.Error(err)
	}
	if n := strings.Count(h.log.String(), "was damaged"); n != 3 {
		t.Errorf("the log names %d damaged files", n)
	}
}

// tokend also starts with a cache file that it cannot open.
func TestTokendStartsWithoutACacheFile(t *testing.T) {
	t.Parallel()
	h := sealedHome(t)
	h.kill()
	path := filepath.Join(h.dir, "state", "cache.db")
	check(t, errors.Join(os.Remove(path), os.Mkdir(path, 0o700)))
	h.start()
	h.get("clms", token.Query{})
	h.cacheSays("cache.db")
	check(t, os.Remove(path))
	h.add(h.clms("second", 2048)) // so that there is something to write
	h.cacheSays("ok")
}
