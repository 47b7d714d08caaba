package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// logged is what a log writes to a file that the journal reads, or not.
func logged(t *testing.T, format string, journal bool) string {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var st syscall.Stat_t
	if err := syscall.Fstat(int(file.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	inode := st.Ino
	if !journal {
		inode++ // the variable was inherited and the output goes elsewhere
	}
	t.Setenv("JOURNAL_STREAM", fmt.Sprintf("%d:%d", st.Dev, inode))
	log := slog.New(newLog(file, format, slog.LevelInfo)).With("a", 1)
	log.Debug("not told")
	log.Info("one", "time", "b")
	log.Warn("two\nlines")
	log.WithGroup("g").Error("three", "level", "c")
	text, err := os.ReadFile(file.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestLogForTheJournal(t *testing.T) {
	if got, want := logged(t, "text", true), "<6>msg=one a=1 time=b\n<4>msg=\"two\\nlines\" a=1\n<3>msg=three a=1 g.level=c\n"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if got := logged(t, "json", true); !strings.HasPrefix(got, `<6>{"msg":"one","a":1,"time":"b"}`) {
		t.Errorf("JSON: %s", got)
	}
	if got := logged(t, "text", false); !strings.HasPrefix(got, "time=") || !strings.Contains(got, " level=WARN msg=") || strings.Contains(got, "<4>") {
		t.Errorf("elsewhere: %s", got)
	}
}
