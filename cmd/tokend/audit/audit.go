// Package audit writes the audit log.
package audit

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gopkg.in/natefinch/lumberjack.v2"

	"tokend/providers/token"
	"tokend/providers/token/format"
)

const (
	// Size is when a file of the audit log is followed by a new one, in MiB;
	// Files is how many old ones are kept.
	Size  = 16
	Files = 4
	// grantText and refusalText bound what a line quotes of a caller, in bytes.
	grantText   = 1024
	refusalText = 128
	// refusalsPerMinute is how many refusals of a user are written; refusalUsers of
	// them are kept apart.
	refusalsPerMinute = 20
	refusalUsers      = 1024
)

// A Log is the audit log: JSON lines, for the owner alone. Refusals, which any
// user can cause, have a file of their own: they never push out a grant.
type Log struct {
	granted, refused *file
	missing          func(why string)

	mu       sync.Mutex
	refusals map[int]int // by uid, since began
	began    time.Time
}

// Open opens the audit log at path. missing counts lines that are not in it, for an
// "error" or the "limit" for refusals.
func Open(path string, log *slog.Logger, missing func(why string)) *Log {
	open := func(path string) *file {
		return &file{out: lumberjack.Logger{Filename: path, MaxSize: Size, MaxBackups: Files}, log: log, missed: func() { missing("error") }}
	}
	ext := filepath.Ext(path)
	a := &Log{
		granted: open(path), refused: open(strings.TrimSuffix(path, ext) + "-refused" + ext),
		missing: missing, refusals: map[int]int{}, began: time.Now(),
	}
	a.granted.write(nil) // which shows whether it can be written
	return a
}

// Report writes a line before its answer leaves.
func (a *Log) Report(e token.AuditEntry) {
	switch {
	case e.Code == "":
		a.granted.write(line(time.Now(), e))
	case a.hasRoom(e.UID):
		a.refused.write(line(time.Now(), e))
	default:
		a.missing("limit")
	}
}

// hasRoom counts a refusal of a user, and reports whether to write it.
func (a *Log) hasRoom(uid int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.refusals[uid] == 0 && len(a.refusals) >= refusalUsers {
		uid = -1 // all others together
	}
	a.refusals[uid]++
	return a.refusals[uid] <= refusalsPerMinute
}

// Settle writes each minute how many refusals were left out, opens the files again,
// which another program may have moved away, and tries again what failed.
func (a *Log) Settle() {
	now, counted := time.Now(), map[int]int(nil)
	a.mu.Lock()
	if now.Sub(a.began) >= time.Minute {
		counted, a.refusals, a.began = a.refusals, map[int]int{}, now
	}
	a.mu.Unlock()
	for uid, n := range counted {
		if left := n - refusalsPerMinute; left > 0 {
			a.refused.write(fmt.Appendf(nil, `{"time":%q,"msg":"left out","uid":%d,"left_out":%d}`+"\n", now.Format(time.RFC3339Nano), uid, left))
		}
	}
	_ = a.Close() // the next line opens them
	for _, l := range []*file{a.granted, a.refused} {
		if l.fault.Load() != nil {
			l.write(nil)
		}
	}
}

// Fault says what keeps lines out of the log, "" if nothing does. A nil Log has
// no lines.
func (a *Log) Fault() string {
	if a != nil {
		if text := cmp.Or(a.granted.fault.Load(), a.refused.fault.Load()); text != nil {
			return *text
		}
	}
	return ""
}

// Close closes the files.
func (a *Log) Close() error { return errors.Join(a.granted.out.Close(), a.refused.out.Close()) }

// A file is one file of the audit log, and those before it.
type file struct {
	log    *slog.Logger
	missed func()
	fault  atomic.Pointer[string] // why the last line is not in the file, nil if it is

	mu      sync.Mutex
	out     lumberjack.Logger
	missing int  // lines since the last one that was written
	torn    bool // the file ends within a line
}

// write writes a line; nil only tries whether that is possible. Without room on the
// disk the request goes on, and status, the log and the metrics say so.
func (l *file) write(line []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := line
	if l.missing > 0 {
		text = append(fmt.Appendf(nil, `{"time":%q,"msg":"missing","lines":%d}`+"\n", time.Now().Format(time.RFC3339Nano), l.missing), line...)
	}
	if l.torn {
		text = append([]byte("\n"), text...)
	}
	n, err := l.out.Write(text)
	if err != nil {
		fault := fmt.Sprintf("grants and refusals are not in the audit log since %s: %s", time.Now().UTC().Format(time.RFC3339), token.FileFault(err))
		l.fault.CompareAndSwap(nil, &fault)
		l.torn = l.torn || n > 0
		if line != nil {
			l.missing++
			l.missed()
		}
		return
	}
	if l.fault.Swap(nil) != nil {
		l.log.Info("the audit log can be written again", "file", l.out.Filename, "lines_missing", l.missing)
	}
	l.missing, l.torn = 0, false
}

// line returns the line of e. encoding/json would take a tenth of the whole get.
func line(now time.Time, e token.AuditEntry) []byte {
	outcome, most := "grant", grantText
	if e.Code != "" {
		outcome, most = "refuse", refusalText
	}
	b := append(make([]byte, 0, 256), `{"time":"`...)
	b = append(now.AppendFormat(b, time.RFC3339Nano), '"')
	b = format.AppendMember(b, `,"msg":`, outcome)
	b = format.AppendMember(b, `,"do":`, e.Do)
	b = strconv.AppendInt(append(b, `,"uid":`...), int64(e.UID), 10)
	b = strconv.AppendInt(append(b, `,"pid":`...), int64(e.PID), 10)
	b = format.AppendString(append(b, `,"program_unverified":`...), e.Program)
	b = format.AppendMember(b, `,"profile":`, clip(e.Profile, most))
	b = format.AppendMember(b, `,"scope":`, clip(e.Scope, most))
	b = format.AppendMember(b, `,"audience":`, clip(e.Audience, most))
	b = format.AppendMember(b, `,"origin":`, clip(e.Origin, most))
	b = format.AppendMember(b, `,"settings":`, clip(e.Settings, most))
	b = format.AppendMember(b, `,"code":`, string(e.Code))
	return append(b, "}\n"...)
}

// clip cuts what a caller said.
func clip(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return fmt.Sprintf("%s... (%d bytes)", text[:most], len(text))
}
