package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"gopkg.in/natefinch/lumberjack.v2"

	"tokend/cmd/tokend/service"
	"tokend/ipc/ipcserver"
)

func listen(path string) (net.Listener, error) { return ipcserver.Listen(path) }

// A manager is the service manager, which wants to know when tokend serves.
type manager struct{}

// served is closed when this process serves.
var (
	served    = make(chan struct{})
	serveOnce sync.Once
)

func (manager) ready(string)         { serveOnce.Do(func() { close(served) }) }
func (manager) status(string)        {}
func (manager) reloading()           {}
func (manager) stopping()            {}
func (manager) alive()               {}
func (manager) pulse() time.Duration { return 0 }

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
	file := &lumberjack.Logger{Filename: service.LogFile(dirs), MaxSize: auditSize, MaxBackups: auditFiles}
	defer func() { _ = file.Close() }()
	return service.Run(func(ctx context.Context) error {
		err := serve(ctx, at, file)
		if err != nil {
			fmt.Fprintf(file, "tokend: %v\n", err)
		}
		return err
	}, served, func(err error) { os.Exit(statusOf(err)) })
}
