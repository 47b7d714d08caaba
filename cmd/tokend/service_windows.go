package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"sync"

	kardianos "github.com/kardianos/service"
	"golang.org/x/sys/windows"
	"golang.org/x/term"
	"gopkg.in/natefinch/lumberjack.v2"

	"tokend/daemon"
	"tokend/providers/token"
)

// newServiceManager is that of Windows.
func newServiceManager(d definition) (serviceManager, error) {
	if d.system {
		return nil, usageError{errors.New("on Windows tokend is a service of one user, whose pipe nobody else can open: leave out --system")}
	}
	s, err := kardianos.New(nil, d.windowsConfig("", ""))
	return windowsServices{s, d}, err
}

// windowsServices is the service of the user who installs it. Windows has one
// of the name on a machine.
type windowsServices struct {
	service kardianos.Service
	of      definition
}

// install replaces the service: kardianos/service changes none.
func (w windowsServices) install(ctx context.Context, d definition) ([]string, error) {
	me, err := user.Current()
	if err != nil {
		return nil, err
	}
	if _, err := w.uninstall(ctx); err != nil {
		return nil, err
	}
	password, err := askPassword(me.Username)
	if err != nil {
		return nil, err
	}
	s, err := kardianos.New(nil, d.windowsConfig(me.Username, password.Reveal()))
	if err != nil {
		return nil, err
	}
	return []string{"service " + serviceName + ", as " + me.Username}, explainWindows(s.Install())
}

func askPassword(account string) (token.Secret, error) {
	fmt.Fprintf(os.Stderr, "Password of %s, with which Windows starts the service as you: ", account)
	if stdin := int(os.Stdin.Fd()); term.IsTerminal(stdin) {
		typed, err := term.ReadPassword(stdin)
		fmt.Fprintln(os.Stderr)
		return token.NewSecret(string(typed)), err
	}
	line, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return token.NewSecret(strings.TrimRight(line, "\r\n")), err
}

func (w windowsServices) uninstall(ctx context.Context) ([]string, error) {
	now, err := w.state(ctx)
	if err != nil || now.definition == "" {
		return nil, err
	}
	if now.running {
		if err := w.stop(ctx); err != nil {
			return nil, err
		}
	}
	return []string{now.definition}, explainWindows(w.service.Uninstall())
}

func (w windowsServices) start(context.Context) error { return explainWindows(w.service.Start()) }

func (w windowsServices) stop(ctx context.Context) error {
	if now, err := w.state(ctx); err != nil || !now.running {
		return err
	}
	return explainWindows(w.service.Stop())
}

func (w windowsServices) restart(ctx context.Context) error {
	if err := w.stop(ctx); err != nil {
		return err
	}
	return w.start(ctx)
}

func (w windowsServices) state(context.Context) (serviceState, error) {
	now := serviceState{log: serviceLog(w.of.dirs)}
	status, err := w.service.Status()
	if errors.Is(err, kardianos.ErrNotInstalled) {
		return now, nil
	}
	now.definition, now.enabled, now.running = "service "+serviceName, true, status == kardianos.StatusRunning
	return now, explainWindows(err)
}

// explainWindows says what to do about what Windows refuses.
func explainWindows(err error) error {
	switch {
	case errors.Is(err, windows.ERROR_ACCESS_DENIED):
		return fmt.Errorf("%w: type it in a terminal that was started as administrator", err)
	case errors.Is(err, windows.ERROR_SERVICE_LOGON_FAILED):
		return fmt.Errorf("%w: the password is another one, or the account lacks the right to log on as a service (secpol.msc, User Rights Assignment)", err)
	}
	return err
}

// checkSystemProgram: there is no system service.
func checkSystemProgram(string) error { return nil }

// serveManaged serves as the service manager wants it, if that started this
// process, and writes the log to a file then: nobody sees what a service
// prints.
func serveManaged(ctx context.Context, at places, log io.Writer) error {
	if kardianos.Interactive() {
		return serve(ctx, at, log)
	}
	dirs, err := at.dirs()
	if err != nil {
		return err
	}
	file := &lumberjack.Logger{Filename: serviceLog(dirs), MaxSize: auditSize, MaxBackups: auditFiles}
	defer func() { _ = file.Close() }()
	p := &program{
		serve: func(ctx context.Context) error {
			err := serve(ctx, at, file)
			if err != nil {
				fmt.Fprintf(file, "tokend: %v\n", err)
			}
			return err
		},
		ready: served,
		exit:  func(err error) { os.Exit(statusOf(err)) },
	}
	s, err := kardianos.New(p, definition{dirs: dirs}.windowsConfig("", ""))
	if err != nil {
		return err
	}
	return s.Run()
}

// served is closed when this process serves.
var (
	served    = make(chan struct{})
	serveOnce sync.Once
)

func (manager) ready(string) { serveOnce.Do(func() { close(served) }) }

// serviceLog is the file of the service's log.
func serviceLog(dirs daemon.Dirs) string { return filepath.Join(dirs.State, "tokend.log") }

// end leaves it to people to end a process: there is no signal that asks.
func end(context.Context, string, int) error { return errors.New("stop it, and type the same again") }
