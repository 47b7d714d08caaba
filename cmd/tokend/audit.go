package main

import (
	"context"
	"io"
	"log/slog"
	"path/filepath"

	"gopkg.in/natefinch/lumberjack.v2"

	"tokend/daemon"
	"tokend/ipc/ipcserver"
)

const (
	// auditSize is when the audit log begins a new file, in MiB; auditFiles is
	// how many old ones are kept.
	auditSize  = 16
	auditFiles = 4
)

// auditFile is where the audit log is, "" if the configuration wants none.
func auditFile(dirs daemon.Dirs, c daemon.Config) string {
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
func openAudit(dirs daemon.Dirs, c daemon.Config) (tell func(ipcserver.Event), closer io.Closer) {
	file := auditFile(dirs, c)
	if file == "" {
		return nil, io.NopCloser(nil)
	}
	out := &lumberjack.Logger{Filename: file, MaxSize: auditSize, MaxBackups: auditFiles}
	log := slog.New(slog.NewJSONHandler(out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.LevelKey {
			return slog.Attr{}
		}
		return a
	}}))
	return func(e ipcserver.Event) {
		log.LogAttrs(context.Background(), slog.LevelInfo, outcome(e), auditAttrs(e)...)
	}, out
}

func outcome(e ipcserver.Event) string {
	if e.Code == "" {
		return "grant"
	}
	return "refuse"
}

func auditAttrs(e ipcserver.Event) []slog.Attr {
	attrs := []slog.Attr{
		slog.String("do", e.Do), slog.Int("uid", e.Caller.UID), slog.Int("pid", e.Caller.PID),
		slog.String("program_unverified", e.Program),
	}
	for _, a := range []slog.Attr{
		slog.String("profile", e.Profile), slog.String("scope", e.Target.Scope), slog.String("audience", e.Target.Audience),
		slog.String("origin", e.Origin), slog.String("code", string(e.Code)),
	} {
		if a.Value.String() != "" {
			attrs = append(attrs, a)
		}
	}
	return attrs
}
