package launch

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestALargeLogIsSetAside(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "tokend.log")
	for i, c := range []struct {
		before int
		begin  int64
	}{{0, 0}, {100, 100}, {largestLog + 1, 0}, {largestLog + 1, 0}} {
		if err := os.WriteFile(file, make([]byte, c.before), 0o600); err != nil {
			t.Fatal(err)
		}
		log, begin, err := openLog(file)
		if err != nil || begin != c.begin {
			t.Errorf("%d: what is new begins at %d, want %d (%v)", i, begin, c.begin, err)
		}
		_, _ = log.WriteString("x")
		_ = log.Close()
		if info, err := os.Stat(file); err != nil || info.Size() != c.begin+1 || info.Mode().Perm() != 0o600 {
			t.Errorf("%d: %v, %v", i, info, err)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, "tokend-old.log")); err != nil || info.Size() != largestLog+1 {
		t.Errorf("the old log: %v, %v", info, err)
	}
}

func TestTheLogSaysWhyItEnded(t *testing.T) {
	const before = "tokend: of an earlier start\n"
	for text, want := range map[string]string{
		"time=x level=INFO msg=y\ntokend: the configuration is bad\n  See: tokend --help\n": "the configuration is bad",
		"panic: x\n": "it ended; its log is FILE", "": "it ended; its log is FILE",
	} {
		file := filepath.Join(t.TempDir(), "tokend.log")
		if err := os.WriteFile(file, []byte(before+text), 0o600); err != nil {
			t.Fatal(err)
		}
		log, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		if got := strings.ReplaceAll(lastWords(log, int64(len(before))), log.Name(), "FILE"); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
