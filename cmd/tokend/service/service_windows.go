package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"

	kardianos "github.com/kardianos/service"
	"golang.org/x/sys/windows"
	"golang.org/x/term"

	"tokend/daemon/profile"
	"tokend/providers/token"
)

// A Manager starts tokend as the service of the user who installs it. A machine has one
// of the name.
type Manager struct {
	kardianos kardianos.Service
	Definition
}

// New returns the service manager of this machine.
func New(d Definition) (Manager, error) {
	if d.System {
		return Manager{}, errors.New("on Windows tokend is a service of one user, whose pipe only that user can open: leave out --system")
	}
	s, err := kardianos.New(nil, d.windowsConfig("", ""))
	return Manager{s, d}, err
}

// Install replaces the service, and starts nothing.
func (w Manager) Install(ctx context.Context) ([]string, error) {
	me, err := user.Current()
	if err != nil {
		return nil, err
	}
	if _, err := w.Uninstall(ctx); err != nil {
		return nil, err
	}
	password, err := askPassword(me.Username)
	if err != nil {
		return nil, err
	}
	s, err := kardianos.New(nil, w.windowsConfig(me.Username, password.Reveal()))
	if err != nil {
		return nil, err
	}
	return []string{"service " + Name + ", as " + me.Username}, explain(s.Install())
}

func askPassword(account string) (token.Secret, error) {
	fmt.Fprintf(os.Stderr, "Password of %s, with which Windows starts the service as you: ", account)
	typed, err := term.ReadPassword(int(os.Stdin.Fd()))
	fmt.Fprintln(os.Stderr)
	return token.NewSecret(string(typed)), err
}

// Uninstall stops tokend and removes the service.
func (w Manager) Uninstall(ctx context.Context) ([]string, error) {
	st, err := w.State(ctx)
	if err != nil || st.File == "" {
		return nil, err
	}
	if err := w.Stop(ctx); err != nil {
		return nil, err
	}
	return []string{st.File}, explain(w.kardianos.Uninstall())
}

func (w Manager) Stop(ctx context.Context) error {
	if st, err := w.State(ctx); err != nil || !st.Running {
		return err
	}
	return explain(w.kardianos.Stop())
}

func (w Manager) Restart(ctx context.Context) error {
	if err := w.Stop(ctx); err != nil {
		return err
	}
	return explain(w.kardianos.Start())
}

func (w Manager) State(context.Context) (State, error) {
	st := State{Log: LogFile(w.Dirs)}
	status, err := w.kardianos.Status()
	if errors.Is(err, kardianos.ErrNotInstalled) {
		return st, nil
	}
	st.File, st.Enabled, st.Running = "service "+Name, true, status == kardianos.StatusRunning
	return st, explain(err)
}

// explain says what to do about what Windows refuses.
func explain(err error) error {
	switch {
	case errors.Is(err, windows.ERROR_ACCESS_DENIED):
		return fmt.Errorf("%w: type it in a terminal that was started as administrator", err)
	case errors.Is(err, windows.ERROR_SERVICE_LOGON_FAILED):
		return fmt.Errorf("%w: the password is another one, or the account lacks the right to log on as a service (secpol.msc, User Rights Assignment)", err)
	}
	return err
}

func checkSystemProgram(string) error { return nil } // there is no system service

// LogFile is the service's log file.
func LogFile(dirs profile.Dirs) string { return filepath.Join(dirs.State, "tokend.log") }

// Interactive reports whether a user started this process, not the service
// manager.
func Interactive() bool { return kardianos.Interactive() }

// Run has the service manager start and stop serve, which closes ready when it
// serves. exit ends the process when serve ends by itself.
func Run(serve func(context.Context) error, ready <-chan struct{}, exit func(error)) error {
	s, err := kardianos.New(&program{serve: serve, ready: ready, exit: exit}, Definition{}.windowsConfig("", ""))
	if err != nil {
		return err
	}
	return s.Run()
}

// StopProcess leaves it to the user: no signal asks a process to end.
func StopProcess(_ context.Context, _ string, pid int) error {
	return fmt.Errorf("end it with taskkill /F /PID %d, and repeat this command", pid)
}
