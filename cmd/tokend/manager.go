package main

import (
	"net"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	sd "github.com/coreos/go-systemd/v22/daemon"

	"tokend/ipc/ipcserver"
	"tokend/providers/token"
)

// listen returns the socket that systemd opened for this process
// (sd_listen_fds(3)), or opens one. systemd's is never unlinked, and calls wait
// in it while tokend restarts. listen calls before with the socket's path, as
// ipcserver.Listen does.
func listen(path string, before func(path string) error) (l net.Listener, held bool, err error) {
	passed, err := activation.Listeners()
	if err == nil && len(passed) == 0 {
		l, err = ipcserver.Listen(path, func() error { return before(path) })
		return l, false, err
	}
	if len(passed) == 1 {
		if unix, ok := passed[0].(*net.UnixListener); ok && unix.Addr().Network() == "unix" {
			return unix, true, before(unix.Addr().String())
		}
	}
	return nil, true, &token.Error{Code: token.ErrInvalid, Message: "the service manager passed something else than one Unix socket that listens: ListenStream= takes a path"}
}

var (
	served   = make(chan struct{}) // closed when this process serves, for Windows
	isServed = sync.OnceFunc(func() { close(served) })
)

// ready tells the service manager that this process serves.
func ready(status string) {
	isServed()
	notify(sd.SdNotifyReady + "\nSTATUS=" + status)
}

// pulse is how often systemd wants a sign of life: half of its patience, or zero
// for never.
func pulse() time.Duration {
	every, _ := sd.SdWatchdogEnabled(false) // zero also at an error
	return every / 2
}

// notify tells systemd, if that started this process (sd_notify(3)). It ignores
// errors: a manager that does not listen changes nothing.
func notify(state string) { _, _ = sd.SdNotify(false, state) }
