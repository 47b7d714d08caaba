package audit

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"tokend/providers/token"
)

// maxLine bounds a line, in bytes: what it quotes can be six times as long in JSON.
const maxLine = 64 << 10

// Entries returns the entries whose lines hold part, the oldest first.
func (a *Log) Entries(part string) iter.Seq[token.AuditEntry] {
	return func(yield func(token.AuditEntry) bool) {
		next, stop := iter.Pull(a.refused.entries(part))
		defer stop()
		refused, ok := next()
		for granted := range a.granted.entries(part) {
			for ; ok && refused.Time.Before(granted.Time); refused, ok = next() {
				if !yield(refused) {
					return
				}
			}
			if !yield(granted) {
				return
			}
		}
		for ; ok && yield(refused); refused, ok = next() {
		}
	}
}

// entries returns those of the file and of those before it.
func (l *file) entries(part string) iter.Seq[token.AuditEntry] {
	return func(yield func(token.AuditEntry) bool) {
		for _, f := range l.open() {
			defer f.Close()
			lines := bufio.NewScanner(f)
			for lines.Buffer(nil, maxLine); lines.Scan(); {
				var e token.AuditEntry
				isEntry := bytes.Contains(lines.Bytes(), []byte(part)) && json.Unmarshal(lines.Bytes(), &e) == nil
				if isEntry && !yield(e) { // no entry is also what a full disk cut
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
	names, _ := fs.Glob(os.DirFS(dir), strings.TrimSuffix(name, ext)+"-[0-9]*"+ext)
	for _, name := range append(names, name) {
		if f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDONLY|syscall.O_NONBLOCK, 0); err == nil {
			files = append(files, f)
		}
	}
	return files
}
