package main

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	sd "github.com/coreos/go-systemd/v22/daemon"

	"tokend/ipc"
	"tokend/providers/token"
)

// listen gives the socket that systemd opened for this process
// (sd_listen_fds(3)), or opens one. What systemd opened is there before tokend
// and after it: calls wait in it while tokend restarts, and it is never
// unlinked.
func listen(path string) (net.Listener, error) {
	files := activation.Files(true)
	if len(files) == 0 {
		return ipc.Listen(path)
	}
	defer func() {
		for _, f := range files {
			_ = f.Close() // net.FileListener has a copy
		}
	}()
	if len(files) > 1 {
		return nil, badSocket("%d sockets; tokend takes one", len(files))
	}
	l, err := net.FileListener(files[0])
	if err != nil {
		return nil, badSocket("no socket that listens: %v", err)
	}
	if unix, ok := l.(*net.UnixListener); !ok || unix.Addr().Network() != "unix" {
		return nil, errors.Join(badSocket("a %s socket; tokend takes ListenStream= with a path", l.Addr().Network()), l.Close())
	}
	return l, nil
}

func badSocket(text string, args ...any) error {
	return &token.Error{Code: token.ErrInvalid, Message: "the service manager passed " + fmt.Sprintf(text, args...)}
}

// A manager is the service manager that started this process, if one did.
// Outside of systemd its methods do nothing (sd_notify(3)).
type manager struct{}

func (manager) ready(status string) { notify(sd.SdNotifyReady + "\nSTATUS=" + status) }

// status tells those who ask how the service is.
func (manager) status(status string) { notify("STATUS=" + status) }

// failed tells them why tokend ends.
func (m manager) failed(err error) {
	line, _, _ := strings.Cut(err.Error(), "\n")
	m.status(line)
}

func (manager) reloading() {
	if at, err := sd.SdNotifyMonotonicUsec(), error(nil); err == nil {
		notify(sd.SdNotifyReloading + "\n" + at)
	}
}

func (manager) stopping() { notify(sd.SdNotifyStopping) }

func (manager) alive() { notify(sd.SdNotifyWatchdog) }

// pulse is how often the manager wants to hear that tokend is alive: half of
// what it waits for; zero if it does not.
func (manager) pulse() time.Duration {
	every, err := sd.SdWatchdogEnabled(false)
	if err != nil {
		return 0
	}
	return every / 2
}

// notify tells the manager; one that does not listen is none of our business.
func notify(state string) { _, _ = sd.SdNotify(false, state) }
