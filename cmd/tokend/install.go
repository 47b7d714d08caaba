package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/ui"
	"tokend/cmd/tokend/service"
	"tokend/daemon/profile"
	"tokend/ipc"
	"tokend/providers/token"
	"tokend/store"
)

// A serviceRequest is one of the commands about the service.
type serviceRequest struct {
	at     *places
	user   bool
	notify bool
	out    io.Writer
}

func (p *program) serviceCommands() []*cli.Command {
	r := &serviceRequest{at: &p.at, out: cli.Prose(p.out)}
	var purge purgeRequest
	status := r.command("status", "Show the service's state", `  tokend status

Shows whether the service is installed, starts by itself, and runs. The exit
status is 1 if it does not run. For the tokens: tokenctl status.`, r.status)
	oldStatus := *status
	oldStatus.Name, oldStatus.Hidden = "service-status", true // its name in the first release
	return []*cli.Command{
		r.command("install", "Run tokend as a service", `  tokend install                    for you, from your login on
  sudo tokend install --system      for the whole machine, from boot on
  tokend install --notify           with desktop notifications: tokend notify

systemd, launchd or Windows then starts this program, and restarts it after
failures. systemd also keeps it in a sandbox, and lets calls wait while it
restarts. If tokend is set up (tokend setup), it starts at once. Install again
to change the program or the directories, or to repair an installation. This
stops a tokend that you started by hand.`, r.install, func(f *cli.Flags) {
			f.BoolVar(&r.notify, "notify", false, "also start tokend notify with your desktop session (systemd)")
		}),
		r.command("uninstall", "Remove the service", `  tokend uninstall
  tokend uninstall --purge          with keys, configuration and tokens

Stops the service and removes its definition. Configuration, keys and tokens
stay, unless you use --purge: it lists what it will delete, and asks.`,
			func(ctx context.Context) error { return r.uninstall(ctx, purge) }, func(f *cli.Flags) {
				f.BoolVar(&purge.wanted, "purge", false, "delete configuration, keys and tokens too")
				f.BoolVar(&purge.yes, "yes", false, "with --purge: do not ask")
			}),
		r.command("start", "Start the service", `  tokend start

Returns when the service is ready. If the service ends instead, prints why, and
exits with its exit status.`, func(ctx context.Context) error { return r.restart(ctx, false) }),
		r.command("stop", "Stop the service until its next start", `  tokend stop

It starts again at the next boot or login, until you run tokend uninstall. If no
service runs, this stops the tokend that you or tokenctl --start started.`, r.stop),
		r.command("restart", "Restart the service", `  tokend restart

With systemd no call is lost: calls wait until it serves again.`, func(ctx context.Context) error { return r.restart(ctx, true) }),
		status, &oldStatus,
	}
}

func (r *serviceRequest) command(name, short, long string, run func(context.Context) error, more ...func(*cli.Flags)) *cli.Command {
	return &cli.Command{
		Name: name, Short: short, Long: long,
		Flags: func(f *cli.Flags) {
			f.BoolVar(&r.user, "user", false, "your own service (the default without --system, unless you are root)")
			for _, flags := range more {
				flags(f)
			}
		},
		Run: func(ctx context.Context, _ *cli.Call) error {
			if err := r.checkUser(name, os.Geteuid() == 0); err != nil {
				return err
			}
			return run(ctx)
		},
	}
}

// checkUser makes root choose between the system's service and its own, and
// leaves the system's to root.
func (r *serviceRequest) checkUser(command string, root bool) error {
	switch {
	case r.user && r.at.system:
		return cli.Usage("--user or --system, not both")
	case root && !r.user && !r.at.system:
		return cli.Usage("you are root: use --system for the machine's service, --user for root's own")
	case r.at.system && !root && runtime.GOOS != "windows" && command != "status":
		return fmt.Errorf("only root can change the machine's service: sudo tokend %s --system", command)
	}
	return nil
}

func (r *serviceRequest) install(ctx context.Context) error {
	d, err := r.definition()
	if err != nil {
		return err
	}
	if d.Notify = r.notify; d.Notify && (d.System || runtime.GOOS != "linux") {
		return cli.Usage("--notify is for your own service, where systemd runs it")
	}
	if err := d.Check(); err != nil {
		return err
	}
	m, err := service.New(d)
	if err != nil {
		return err
	}
	before, err := m.State(ctx)
	if err != nil {
		return err
	}
	files, err := m.Install(ctx)
	if err != nil {
		return err
	}
	for _, file := range files {
		fmt.Fprintln(r.out, "Installed:", file)
	}
	if _, err := store.ReadKeystoreConfig(d.Dirs.State); errors.Is(err, token.ErrNotFound) {
		fmt.Fprintf(r.out, "It starts %s once it is set up.\nNext: %s, then: %s\n", r.when(), r.line("setup"), r.line("start"))
		return nil
	}
	pid, err := stopOther(ctx, d.Socket, before)
	if err != nil {
		return err
	}
	if pid != 0 {
		fmt.Fprintf(r.out, "Stopped the tokend that ran already, process %d: the service takes its place.\n", pid)
	}
	if err = m.Restart(ctx); err == nil {
		err = r.status(ctx)
	}
	if err == nil {
		fmt.Fprintln(r.out, nextLine)
	}
	return err
}

func (r *serviceRequest) uninstall(ctx context.Context, purge purgeRequest) error {
	if purge.yes && !purge.wanted {
		return cli.Usage("use --yes with --purge: nothing else asks")
	}
	dirs, err := r.at.dirs()
	if err != nil {
		return err
	}
	m, noManager := service.New(service.Definition{System: r.at.system, Dirs: dirs})
	if noManager != nil && !purge.wanted { // without a service manager there can still be files
		return noManager
	}
	if purge.wanted {
		if err := purge.ask(ctx, dirs, r.out); err != nil {
			return err
		}
	}
	if noManager == nil {
		removed, err := m.Uninstall(ctx)
		for _, file := range removed {
			fmt.Fprintln(r.out, "Removed:", file)
		}
		if err != nil {
			return err
		}
		if len(removed) == 0 {
			fmt.Fprintln(r.out, "tokend does not start by itself any more.")
		}
	}
	if purge.wanted {
		return r.purge(ctx, dirs)
	}
	fmt.Fprintf(r.out, "Kept: the configuration in %s, keys and tokens in %s. To delete them too: %s\n",
		dirs.Config, dirs.State, r.line("uninstall --purge"))
	return nil
}

// restart starts the service, again if it runs and again is set. A tokend that was
// started by hand keeps it from that: it holds the files, and would lose its socket.
func (r *serviceRequest) restart(ctx context.Context, again bool) error {
	d, err := r.definition()
	if err != nil {
		return err
	}
	m, st, err := r.installed(ctx, d)
	if err != nil {
		return err
	}
	if pid := otherProcess(ctx, d.Socket, st); pid != 0 {
		return otherRuns(pid, d.Socket, errors.New("stop it, and repeat this command"))
	}
	if st.Running && !again {
		fmt.Fprintln(r.out, "It runs already.")
		return nil
	}
	return m.Restart(ctx)
}

// stop stops the service or, if that does not run, the tokend that was started by
// hand or by tokenctl --start.
func (r *serviceRequest) stop(ctx context.Context) error {
	m, st, failed := r.installed(ctx, service.Definition{System: r.at.system})
	d, err := r.definition()
	if err == nil && !st.Running {
		elsewhere := ""
		if !r.at.system && r.at.socket == "" {
			elsewhere = os.Getenv(ipc.SocketEnv)
		}
		for _, socket := range []string{d.Socket, elsewhere, ipc.ReadHolder(d.Dirs.State).Socket} {
			pid, err := stopOther(ctx, socket, st)
			if pid != 0 {
				fmt.Fprintf(r.out, "Stopped the tokend that served at %s, process %d.\n", socket, pid)
			}
			if pid != 0 || err != nil {
				return err
			}
		}
	}
	if failed != nil {
		return failed
	}
	return m.Stop(ctx)
}

// installed returns the service that is installed, and its state.
func (r *serviceRequest) installed(ctx context.Context, d service.Definition) (service.Manager, service.State, error) {
	m, err := service.New(d)
	if err != nil {
		return m, service.State{}, err
	}
	st, err := m.State(ctx)
	if err == nil && st.File == "" {
		err = fmt.Errorf("no service is installed: %s", r.line("install"))
	}
	return m, st, err
}

func (r *serviceRequest) status(ctx context.Context) error {
	d, _ := r.definition() // whatever is wrong with the configuration
	_, st, err := r.installed(ctx, d)
	if err != nil {
		return err
	}
	starts, state := r.when(), "does not run"
	if !st.Enabled {
		starts = "not by itself: " + r.line("install")
	}
	if st.Running {
		state = "runs"
	}
	if st.PID != 0 {
		state += fmt.Sprintf(", process %d", st.PID)
	}
	if st.Status != "" {
		state += ": " + ui.Printable(st.Status)
	}
	fmt.Fprintf(r.out, "service   %s\nstarts    %s\nstate     %s\nlog       %s\n", st.File, starts, state, st.Log)
	if st.Failure != "" {
		fmt.Fprintln(r.out, "failure   "+ui.Printable(st.Failure))
	}
	for _, note := range st.Notes {
		fmt.Fprintln(r.out, "note      "+note)
	}
	if !st.Running {
		return fmt.Errorf("the service does not run: %s", r.line("start"))
	}
	return nil
}

// when says when the service starts.
func (r *serviceRequest) when() string {
	if r.at.system || runtime.GOOS == "windows" {
		return "at boot"
	}
	return "when you log in"
}

// line is a command about the same service.
func (r *serviceRequest) line(command string) string {
	line := r.at.line(command)
	if r.user && os.Geteuid() == 0 && command != "setup" {
		line += " --user"
	}
	if r.at.system && os.Geteuid() > 0 {
		line = "sudo " + line
	}
	return line
}

// definition is the service for these places, run by this program.
func (r *serviceRequest) definition() (d service.Definition, err error) {
	d.System = r.at.system
	if d.Program, err = os.Executable(); err != nil {
		return d, err
	}
	if d.Dirs, err = r.at.dirs(); err != nil {
		return d, err
	}
	if usual := profile.SystemDirs(); d.System && d.Dirs != usual {
		return d, cli.Usage("the system service keeps its files in %s and %s; change that with your own drop-in", usual.Config, usual.State)
	}
	config, err := profile.ReadConfig(d.Dirs)
	if err != nil {
		return d, err
	}
	d.Socket, err = r.at.serviceSocket(config)
	return d, err
}

// stopOther stops the tokend that serves at socket and is not the service, and
// returns its process, 0 if there is none.
func stopOther(ctx context.Context, socket string, st service.State) (pid int, err error) {
	if pid = otherProcess(ctx, socket, st); pid == 0 {
		return 0, nil
	}
	if err := service.StopProcess(ctx, socket, pid); err != nil {
		return 0, otherRuns(pid, socket, err)
	}
	return pid, nil
}

func otherRuns(pid int, socket string, why error) error {
	return &ui.Exit{Status: exitRunning, Err: fmt.Errorf("another tokend, process %d, serves at %s already: %w", pid, socket, why)}
}

// otherProcess returns the process that serves at socket and is not the service,
// or 0.
func otherProcess(ctx context.Context, socket string, st service.State) int {
	if socket == "" || !st.Running && st.SocketHeld {
		return 0 // asking would start the service
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	status, err := (&ipc.Client{Socket: socket}).Status(ctx)
	if err != nil || st.Running && (st.PID == 0 || status.PID == st.PID) {
		return 0
	}
	return status.PID
}
