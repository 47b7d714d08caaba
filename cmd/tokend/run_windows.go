package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"gopkg.in/natefinch/lumberjack.v2"

	"tokend/cmd/tokend/audit"
	"tokend/cmd/tokend/service"
)

// serveManaged serves as the service manager wants it, if that started this
// process. The log goes to a file then: a service has no standard error.
func serveManaged(ctx context.Context, at places, log io.Writer) error {
	if service.Interactive() {
		return serve(ctx, at, log)
	}
	dirs, err := at.dirs()
	if err != nil {
		return err
	}
	file := &lumberjack.Logger{Filename: service.LogFile(dirs), MaxSize: audit.Size, MaxBackups: audit.Files}
	defer func() { _ = file.Close() }()
	return service.Run(func(ctx context.Context) error {
		err := serve(ctx, at, file)
		if err != nil {
			fmt.Fprintf(file, "tokend: %v\n", err)
		}
		return err
	}, served, func(err error) { os.Exit(statusOf(err)) })
}

// steady is the time since the start: Windows does not slew it.
func steady() time.Duration { return time.Since(started) }

var started = time.Now()
