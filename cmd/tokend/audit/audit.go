// Package audit writes the audit log.
package audit

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gopkg.in/natefinch/lumberjack.v2"

	"tokend/ipc/ipcserver"
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
	// refusalBurst is how many refusals of a user are written at a time, and
	// refusalEvery when there may be one more; refusalUsers of them are kept apart.
	refusalBurst = 20
	refusalEvery = 3 * time.Second
	refusalUsers = 1024
)

// A Log is the audit log: JSON lines, for the owner alone. Refusals, which any
// user can cause, have a file of their own: they never push out a grant.
type Log struct {
	granted, refused *file
	leftOut          func() // counts refusals that are left out

	mu    sync.Mutex
	users map[int]*refusals // by uid
}

// refusals are those of one user.
type refusals struct {
	room float64 // for how many there is room
	at   time.Time
	left int // left out since the last one that was written
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
		leftOut: func() { missing("limit") }, users: map[int]*refusals{},
	}
	a.granted.write(nil) // which shows whether it can be written
	return a
}

// Report writes a line before its answer leaves.
func (a *Log) Report(e ipcserver.Event) {
	now := time.Now()
	if e.Code == "" {
		a.granted.write(line(now, e, 0))
	} else if left, ok := a.room(e.Caller.UID, now); ok {
		a.refused.write(line(now, e, left))
	}
}

// room reports whether one more refusal of a user is to be written, and how many
// were left out before it.
func (a *Log) room(uid int, now time.Time) (left int, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.users[uid]
	if r == nil && len(a.users) >= refusalUsers {
		uid = -1 // all others together
		r = a.users[uid]
	}
	if r == nil {
		r = &refusals{room: refusalBurst, at: now}
		a.users[uid] = r
	}
	r.fill(now)
	if r.room < 1 {
		r.left++
		a.leftOut()
		return 0, false
	}
	r.room--
	left, r.left = r.left, 0
	return left, true
}

func (r *refusals) fill(now time.Time) {
	r.room = min(refusalBurst, r.room+float64(now.Sub(r.at))/float64(refusalEvery))
	r.at = now
}

// Settle writes how many refusals were left out of those who make no more, tries
// again what failed, and begins a file again that another program moved away.
func (a *Log) Settle() {
	if a == nil {
		return
	}
	now := time.Now()
	a.mu.Lock()
	var lines [][]byte
	for uid, r := range a.users {
		r.fill(now)
		if r.left > 0 && r.room >= 1 {
			b := fmt.Appendf(nil, `{"time":%q,"msg":"left out","uid":%d,"left_out":%d}`, now.Format(time.RFC3339Nano), uid, r.left)
			lines = append(lines, append(b, '\n'))
			r.left = 0
		}
		if r.room == refusalBurst {
			delete(a.users, uid)
		}
	}
	a.mu.Unlock()
	for _, line := range lines {
		a.refused.write(line)
	}
	for _, l := range []*file{a.granted, a.refused} {
		if l.moved() || l.fault.Load() != nil {
			l.write(nil)
		}
	}
}

// Fault says what keeps lines out of the log, "" if nothing does. A nil Log has
// no lines.
func (a *Log) Fault() string {
	if a == nil {
		return ""
	}
	for _, l := range []*file{a.granted, a.refused} {
		if text := l.fault.Load(); text != nil {
			return *text
		}
	}
	return ""
}

// Close closes the files.
func (a *Log) Close() error {
	_ = a.granted.out.Close()
	return a.refused.out.Close()
}

// A file is one file of the audit log, and those before it.
type file struct {
	log    *slog.Logger
	missed func()
	fault  atomic.Pointer[string] // why the last line is not in the file, nil if it is

	mu      sync.Mutex
	out     lumberjack.Logger
	missing int         // lines since the last one that was written
	torn    bool        // the file ends within a line
	info    os.FileInfo // the file as it was last seen
}

// write writes a line; nil only tries whether that is possible. Without room on the disk the request goes on, and status,
// the log and the metrics say so.
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
	before := l.fault.Load()
	switch {
	case err == nil && before != nil:
		l.log.Info("the audit log can be written again", "file", l.out.Filename, "lines_missing", l.missing)
		l.fault.Store(nil)
	case err != nil && before == nil:
		fault := fmt.Sprintf("grants and refusals are not in the audit log since %s: %s", time.Now().UTC().Format(time.RFC3339), token.FileFault(err))
		l.fault.Store(&fault)
	}
	if err == nil {
		l.missing, l.torn = 0, false
		if l.info == nil {
			l.info, _ = os.Stat(l.out.Filename)
		}
		return
	}
	l.torn = l.torn || n > 0
	if line != nil {
		l.missing++
		l.missed()
	}
}

// moved lets go of a file that is no longer at its place.
func (l *file) moved() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	was := l.info
	l.info, _ = os.Stat(l.out.Filename) // nil if it is gone
	if was == nil || l.info != nil && os.SameFile(l.info, was) {
		return false
	}
	_ = l.out.Close()
	return true
}

// line returns the line of e. encoding/json would take a tenth of the whole get.
func line(now time.Time, e ipcserver.Event, left int) []byte {
	outcome, most := "grant", grantText
	if e.Code != "" {
		outcome, most = "refuse", refusalText
	}
	b := append(make([]byte, 0, 256), `{"time":"`...)
	b = append(now.AppendFormat(b, time.RFC3339Nano), '"')
	b = format.AppendMember(b, `,"msg":`, outcome)
	b = format.AppendMember(b, `,"do":`, e.Do)
	b = strconv.AppendInt(append(b, `,"uid":`...), int64(e.Caller.UID), 10)
	b = strconv.AppendInt(append(b, `,"pid":`...), int64(e.Caller.PID), 10)
	b = format.AppendString(append(b, `,"program_unverified":`...), e.Program)
	b = format.AppendMember(b, `,"profile":`, clip(e.Profile, most))
	b = format.AppendMember(b, `,"scope":`, clip(e.Target.Scope, most))
	b = format.AppendMember(b, `,"audience":`, clip(e.Target.Audience, most))
	b = format.AppendMember(b, `,"origin":`, clip(e.Origin, most))
	b = format.AppendMember(b, `,"code":`, string(e.Code))
	if left > 0 {
		b = strconv.AppendInt(append(b, `,"left_out":`...), int64(left), 10)
	}
	return append(b, "}\n"...)
}

// clip cuts what a caller said.
func clip(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return fmt.Sprintf("%s... (%d bytes)", text[:most], len(text))
}
