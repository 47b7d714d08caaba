//go:build unix

package daemon

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// readIn gives what os.ReadFile gives, in the same words, but for a FIFO that
// nobody writes to: that is empty.
func TestReadInIsReadFile(t *testing.T) {
	at := t.TempDir()
	for name, size := range map[string]int{"empty": 0, "small": 300, "even": 4096, "large": 10_001} {
		if err := os.WriteFile(filepath.Join(at, name), bytes.Repeat([]byte("x"), size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, err := range []error{
		os.Mkdir(filepath.Join(at, "directory"), 0o700),
		os.Symlink("small", filepath.Join(at, "link")),
		os.Symlink("nowhere", filepath.Join(at, "dangling")),
		unix.Mkfifo(filepath.Join(at, "fifo"), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	dir, err := os.Open(at)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	for _, name := range []string{"empty", "small", "even", "large", "directory", "link", "dangling", "none"} {
		want, wantErr := os.ReadFile(filepath.Join(at, name))
		got, err := readIn(dir, name)
		if !bytes.Equal(got, want) || fmt.Sprint(err) != fmt.Sprint(wantErr) {
			t.Errorf("%s: %d bytes, %v, want %d, %v", name, len(got), err, len(want), wantErr)
		}
	}
	if got, err := readIn(dir, "fifo"); len(got) > 0 || err != nil {
		t.Errorf("a FIFO: %q, %v", got, err)
	}
}
