package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	kardianos "github.com/kardianos/service"

	"tokend/ipc"
)

// startTimeout is how long a job may take to answer.
const startTimeout = 15 * time.Second

// A Manager starts tokend as a job of launchd: an agent of this user, who must be logged in on
// the screen, where the keychain is, or a daemon of the machine.
type Manager struct {
	kardianos kardianos.Service
	Definition
	file, log string
	text      string // of the job
}

// New returns the service manager of this machine.
func New(d Definition) (Manager, error) {
	l := Manager{Definition: d, file: "/Library/LaunchDaemons/" + Name + ".plist", log: "/var/log/" + Name + ".log"}
	if !d.System {
		home, err := os.UserHomeDir()
		if err != nil {
			return l, err
		}
		l.file = filepath.Join(home, "Library", "LaunchAgents", Name+".plist")
		l.log = filepath.Join(home, "Library", "Logs", Name+".log")
	}
	var err error
	if l.text, err = d.plist(l.log); err != nil {
		return l, err
	}
	l.kardianos, err = kardianos.New(nil, d.config(kardianos.KeyValue{"UserService": !d.System, "LaunchdConfig": l.text}))
	return l, err
}

// Install replaces the job, and starts nothing.
func (l Manager) Install(ctx context.Context) ([]string, error) {
	if Holds(l.file, l.text) {
		return []string{l.file}, nil
	}
	if _, err := l.Uninstall(ctx); err != nil { // launchd keeps the definition that it has loaded
		return nil, err
	}
	if err := makeDir(filepath.Dir(l.file)); err != nil {
		return nil, err
	}
	if err := l.kardianos.Install(); err != nil {
		return nil, err
	}
	return []string{l.file}, os.Chmod(l.file, 0o644) // launchd refuses what others may change
}

// Uninstall stops tokend and removes the job.
func (l Manager) Uninstall(ctx context.Context) ([]string, error) {
	if err := l.Stop(ctx); err != nil || !Exists(l.file) {
		return nil, err
	}
	return []string{l.file}, l.kardianos.Uninstall()
}

// Restart loads the current definition, and waits until tokend serves, which launchd
// does not.
func (l Manager) Restart(ctx context.Context) error {
	if err := l.Stop(ctx); err != nil { // a job that ended stays loaded
		return err
	}
	if err := l.kardianos.Start(); err != nil {
		return err
	}
	serves := func() bool {
		_, err := (&ipc.Client{Socket: l.Socket}).Status(ctx)
		return err == nil
	}
	if !waitFor(ctx, startTimeout, serves) {
		return fmt.Errorf("the service does not answer at %s after %v: see the end of %s", l.Socket, startTimeout, l.log)
	}
	return nil
}

// Stop unloads the job: launchd would start one that is loaded again.
func (l Manager) Stop(ctx context.Context) error {
	err := l.kardianos.Stop()
	stopped := func() bool {
		st, err := l.State(ctx)
		return err == nil && !st.Running
	}
	if !waitFor(ctx, stopTimeout, stopped) {
		return errors.Join(errors.New("launchd does not stop "+Name), err)
	}
	return nil
}

// State returns the state of the job.
func (l Manager) State(context.Context) (State, error) {
	status, err := l.kardianos.Status()
	if errors.Is(err, kardianos.ErrNotInstalled) {
		return State{Log: l.log}, nil
	}
	return State{File: l.file, Enabled: true, Running: status == kardianos.StatusRunning, Log: l.log}, err
}
