package main

import (
	"fmt"
	"io"
	"os"
	"syscall"
)

// isJournal reports whether out is systemd's journal: JOURNAL_STREAM names its
// device and inode (systemd.exec(5)). The variable alone proves nothing: processes
// whose output goes elsewhere inherit it.
func isJournal(out io.Writer) bool {
	file, ok := out.(*os.File)
	stream := os.Getenv("JOURNAL_STREAM")
	if !ok || stream == "" {
		return false
	}
	info, err := file.Stat()
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && fmt.Sprintf("%d:%d", st.Dev, st.Ino) == stream
}
