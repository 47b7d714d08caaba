//go:build !linux && !windows

package main

import (
	"context"
	"io"
	"net"
	"time"

	"tokend/ipc/ipcserver"
)

func listen(path string) (net.Listener, error) { return ipcserver.Listen(path) }

// A manager is the service manager, which is not interested here.
type manager struct{}

func (manager) ready(string)         {}
func (manager) status(string)        {}
func (manager) reloading()           {}
func (manager) stopping()            {}
func (manager) alive()               {}
func (manager) pulse() time.Duration { return 0 }

func serveManaged(ctx context.Context, at places, log io.Writer) error { return serve(ctx, at, log) }
