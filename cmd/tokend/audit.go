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
	return func(e ipcserver.Event) { writeAudit(out, e) }, out
}

// writeAudit writes the line of e before its answer leaves. encoding/json would take
// a tenth of the whole get.
func writeAudit(out io.Writer, e ipcserver.Event) {
	outcome := "grant"
	if e.Code != "" {
		outcome = "refuse"
	}
	b := append(make([]byte, 0, 256), `{"time":"`...)
	b = append(time.Now().AppendFormat(b, time.RFC3339Nano), '"')
	b = format.AppendMember(b, `,"msg":`, outcome)
	b = format.AppendMember(b, `,"do":`, e.Do)
	b = strconv.AppendInt(append(b, `,"uid":`...), int64(e.Caller.UID), 10)
	b = strconv.AppendInt(append(b, `,"pid":`...), int64(e.Caller.PID), 10)
	b = format.AppendString(append(b, `,"program_unverified":`...), e.Program)
	b = format.AppendMember(b, `,"profile":`, e.Profile)
	b = format.AppendMember(b, `,"scope":`, e.Target.Scope)
	b = format.AppendMember(b, `,"audience":`, e.Target.Audience)
	b = format.AppendMember(b, `,"origin":`, e.Origin)
	b = format.AppendMember(b, `,"code":`, string(e.Code))
	_, _ = out.Write(append(b, "}\n"...)) // an error would repeat with every get
}
