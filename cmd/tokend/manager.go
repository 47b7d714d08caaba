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
// in it while tokend restarts.
func listen(path string) (l net.Listener, held bool, err error) {
	files := activation.Files(true)
	if len(files) == 0 {
		l, err = ipcserver.Listen(path)
		return l, false, err
	}
	defer func() {
		for _, f := range files {
			_ = f.Close() // net.FileListener has a copy
		}
	}()
	l, err = net.FileListener(files[0])
	if unix, ok := l.(*net.UnixListener); ok && len(files) == 1 && unix.Addr().Network() == "unix" {
		return l, true, nil
	}
	if err == nil {
		_ = l.Close()
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
	every, err := sd.SdWatchdogEnabled(false)
	if err != nil {
		return 0
	}
	return every / 2
}

// notify tells systemd, if that started this process (sd_notify(3)). It ignores
// errors: a manager that does not listen changes nothing.
func notify(state string) { _, _ = sd.SdNotify(false, state) }
