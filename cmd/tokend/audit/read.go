package audit

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"tokend/providers/token"
)

// maxLine bounds a line, in bytes: what a line quotes can be six times as long in JSON.
const maxLine = 64 << 10

// Entries returns the entries of the log as it is now, the oldest first, whose lines
// hold part.
func (a *Log) Entries(ctx context.Context, part string) iter.Seq[token.AuditEntry] {
	return func(yield func(token.AuditEntry) bool) {
		next, stop := iter.Pull(a.refused.entries(part))
		defer stop()
		refused, ok := next()
		emit := func(e token.AuditEntry) bool { return ctx.Err() == nil && yield(e) }
		for granted := range a.granted.entries(part) {
			for ok && refused.Time.Before(granted.Time) {
				if !emit(refused) {
					return
				}
				refused, ok = next()
			}
			if !emit(granted) {
				return
			}
		}
		for ok && emit(refused) {
			refused, ok = next()
		}
	}
}

// entries returns those of the file and of those before it.
func (l *file) entries(part string) iter.Seq[token.AuditEntry] {
	return func(yield func(token.AuditEntry) bool) {
		files := l.open()
		defer func() {
			for _, f := range files {
				_ = f.Close()
			}
		}()
		for _, f := range files {
			lines := bufio.NewScanner(f)
			for lines.Buffer(nil, maxLine); lines.Scan(); {
				var e token.AuditEntry
				if !bytes.Contains(lines.Bytes(), []byte(part)) || json.Unmarshal(lines.Bytes(), &e) != nil {
					continue // a line that a full disk cut
				}
				if !yield(e) {
					return
				}
			}
		}
	}
}

// open opens the files before this one, whose names say when they ended, and this one.
// None of them ends meanwhile.
func (l *file) open() (files []*os.File) {
	l.mu.Lock()
	defer l.mu.Unlock()
	dir, name := filepath.Split(l.out.Filename)
	ext := filepath.Ext(name)
	entries, _ := os.ReadDir(dir) // sorted; what cannot be read is left out
	var names []string
	for _, e := range entries {
		stamp, ok := strings.CutPrefix(strings.TrimSuffix(e.Name(), ext), strings.TrimSuffix(name, ext)+"-")
		if _, err := time.Parse("2006-01-02T15-04-05.000", stamp); ok && err == nil {
			names = append(names, e.Name())
		}
	}
	for _, name := range append(names, name) {
		if f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDONLY|syscall.O_NONBLOCK, 0); err == nil {
			files = append(files, f)
		}
	}
	return files
}
