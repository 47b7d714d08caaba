package main

import (
	"io"
	"path/filepath"
	"strconv"
	"time"

	"gopkg.in/natefinch/lumberjack.v2"

	"tokend/daemon/profile"
	"tokend/ipc/ipcserver"
	"tokend/providers/token/format"
)

const (
	// auditSize is when the audit log begins a new file, in MiB; auditFiles is
	// how many old ones are kept.
	auditSize  = 16
	auditFiles = 4
)

// auditFile returns the audit log's file, "" if the configuration wants none.
func auditFile(dirs profile.Dirs, c profile.Config) string {
	switch c.Audit {
	case "none":
		return ""
	case "":
		return filepath.Join(dirs.State, "audit.log")
	}
	return c.Audit
}

// openAudit opens the audit log: JSON lines, for the owner alone. It is nil if
// the configuration wants none.
func openAudit(dirs profile.Dirs, c profile.Config) (write func(ipcserver.Event), closer io.Closer) {
	file := auditFile(dirs, c)
	if file == "" {
		return nil, io.NopCloser(nil)
	}
	out := &lumberjack.Logger{Filename: file, MaxSize: auditSize, MaxBackups: auditFiles}
	return writeAudit(out), out
}

// auditLine is enough for most lines, in bytes.
const auditLine = 512

// writeAudit returns what writes a line for each event before its answer leaves.
// Every get waits for it, so it does without log/slog, which takes three times as
// long as the write.
func writeAudit(out io.Writer) func(ipcserver.Event) {
	return func(e ipcserver.Event) {
		line := appendAudit(make([]byte, 0, auditLine), e, time.Now())
		_, _ = out.Write(line) // an error would repeat with every get
	}
}

// appendAudit appends the line of e to b.
func appendAudit(b []byte, e ipcserver.Event, now time.Time) []byte {
	b = append(b, `{"time":"`...)
	b = now.AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","msg":"`...)
	b = append(b, outcome(e)...)
	b = append(b, `","do":`...)
	b = format.AppendString(b, e.Do)
	b = append(b, `,"uid":`...)
	b = strconv.AppendInt(b, int64(e.Caller.UID), 10)
	b = append(b, `,"pid":`...)
	b = strconv.AppendInt(b, int64(e.Caller.PID), 10)
	b = append(b, `,"program_unverified":`...)
	b = format.AppendString(b, e.Program)
	for _, said := range [...]struct{ member, text string }{
		{`,"profile":`, e.Profile}, {`,"scope":`, e.Target.Scope}, {`,"audience":`, e.Target.Audience},
		{`,"origin":`, e.Origin}, {`,"code":`, string(e.Code)},
	} {
		if said.text != "" {
			b = format.AppendString(append(b, said.member...), said.text)
		}
	}
	return append(b, "}\n"...)
}

func outcome(e ipcserver.Event) string {
	if e.Code == "" {
		return "grant"
	}
	return "refuse"
}
