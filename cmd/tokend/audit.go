package main

import (
	"encoding/json"
	"io"
	"path/filepath"
	"time"

	"gopkg.in/natefinch/lumberjack.v2"

	"tokend/daemon/profile"
	"tokend/ipc/ipcserver"
	"tokend/providers/token"
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

// An auditLine is a line of the audit log.
type auditLine struct {
	Time     time.Time  `json:"time"`
	Outcome  string     `json:"msg"` // grant or refuse
	Do       string     `json:"do"`
	UID      int        `json:"uid"`
	PID      int        `json:"pid"`
	Program  string     `json:"program_unverified"`
	Profile  string     `json:"profile,omitempty"`
	Scope    string     `json:"scope,omitempty"`
	Audience string     `json:"audience,omitempty"`
	Origin   string     `json:"origin,omitempty"`
	Code     token.Code `json:"code,omitempty"`
}

// writeAudit writes the line of e before its answer leaves.
func writeAudit(out io.Writer, e ipcserver.Event) {
	line := auditLine{time.Now(), "grant", e.Do, e.Caller.UID, e.Caller.PID, e.Program,
		e.Profile, e.Target.Scope, e.Target.Audience, e.Origin, e.Code}
	if e.Code != "" {
		line.Outcome = "refuse"
	}
	_ = json.NewEncoder(out).Encode(line) // an error would repeat with every get
}
