package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"tokend/daemon"
	"tokend/ipc"
	"tokend/providers/token"
	"tokend/store"
)

// serviceName is tokend's name among the services.
const serviceName = "tokend"

// A serviceManager has tokend run at boot or at login: systemd, launchd, the
// service manager of Windows. kardianos/service says which one there is, and
// does all of it on Windows. For systemd and launchd we have our own: there it
// replaces no definition, loses what systemctl says, knows neither sockets nor
// a user's default.target, and uses launchctl's legacy commands.
type serviceManager interface {
	// install has tokend started from now on at boot or login, whatever was
	// there before, and names the definitions that count. It starts nothing.
	install(ctx context.Context, d definition) (files []string, err error)
	// uninstall stops tokend, takes back what install did, and names what was
	// removed. Where nothing is installed it does nothing.
	uninstall(ctx context.Context) (removed []string, err error)
	// start starts tokend, also after failures, and returns when it serves.
	start(ctx context.Context) error
	stop(ctx context.Context) error
	// restart starts tokend anew, as the definition now says.
	restart(ctx context.Context) error
	state(ctx context.Context) (serviceState, error)
}

// A serviceState tells how a service is.
type serviceState struct {
	definition string // where it is defined, empty if it is not installed
	enabled    bool   // it starts at boot or login
	running    bool
	held       bool     // its socket is held ready, also while it does not run
	pid        int      // of what runs, 0 if that is not known
	says       string   // what the manager says of it
	notes      []string // what people should know of it
	log        string   // how to read its log
}

// A definition says what a service manager is to run.
type definition struct {
	system  bool
	program string // absolute path of tokend
	dirs    daemon.Dirs
	socket  string
}

// A startError is why tokend ended when it was started as a service, with the
// status that it ended with.
type startError struct {
	status int
	text   string
}

func (e startError) Error() string { return e.text }

// A serviceRequest is one of the commands about the service.
type serviceRequest struct {
	at   *places
	user bool
	out  io.Writer
}

func serviceCommands(at *places) []*cobra.Command {
	r := &serviceRequest{at: at}
	var purge purgeRequest
	uninstall := r.command("uninstall", "Take the service away again", `  tokend uninstall
  tokend uninstall --purge          with keys, configuration and tokens

Stops the service, and has it started no more. Configuration, keys and tokens
stay, unless --purge says otherwise: it tells what it will delete, and asks.`,
		func(ctx context.Context) error {
			purge.in = os.Stdin
			return r.uninstall(ctx, purge)
		})
	uninstall.Flags().BoolVar(&purge.wanted, "purge", false, "delete configuration, keys and tokens too")
	uninstall.Flags().BoolVar(&purge.yes, "yes", false, "with --purge: do not ask")
	return []*cobra.Command{
		r.command("install", "Have tokend run as a service", `  tokend install                    for you, from your login on
  sudo tokend install --system      for the whole machine, from boot on

Has systemd, launchd or Windows start this program, restart it after failures,
and, with systemd, keep it in a sandbox and its calls waiting while it restarts.
It starts at once if it is set up (tokend setup). Install as often as you like:
a newer program, other directories and what an installation left half done are
put right, and a tokend that was started by hand makes place.`, r.install),
		uninstall,
		r.command("start", "Start the service", `  tokend start

Returns when it serves, or tells why it does not, with the exit status that it
ended with.`, r.start),
		r.command("stop", "Stop the service until its next start", `  tokend stop

It starts again by itself at the next boot or login; tokend uninstall ends that.`, r.stop),
		r.command("restart", "Start the service anew", `  tokend restart

With systemd no call is lost: those that come meanwhile wait.`, r.restart),
		r.command("service-status", "Tell how the service is", `  tokend service-status

Tells whether it is installed, starts by itself, and runs. Exit status 1 if it
does not run. tokenctl status tells how the tokens are.`, r.status),
	}
}

func (r *serviceRequest) command(name, short, long string, run func(context.Context) error) *cobra.Command {
	c := &cobra.Command{Use: name, Short: short, Long: long, Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			r.out = c.OutOrStdout()
			if err := r.decideWhose(name, os.Geteuid() == 0); err != nil {
				return err
			}
			return run(c.Context())
		}}
	c.Flags().BoolVar(&r.user, "user", false, "your own service (what counts without --system, unless you are root)")
	return c
}

// decideWhose is about the system's service or the user's own. Root has to say
// which: most who are root mean the system's, and some do not.
func (r *serviceRequest) decideWhose(command string, root bool) error {
	switch {
	case r.user && r.at.system:
		return usageError{errors.New("--user and --system: say one of them")}
	case root && !r.user && !r.at.system:
		return usageError{errors.New("you are root: say --system for the service of the machine, --user for one of root's own")}
	case r.at.system && !root && runtime.GOOS != "windows" && command != "service-status":
		return fmt.Errorf("the service of the machine is root's to change: sudo tokend %s --system", command)
	}
	return nil
}

func (r *serviceRequest) install(ctx context.Context) error {
	d, err := r.definition()
	if err != nil {
		return err
	}
	m, err := newServiceManager(d)
	if err != nil {
		return err
	}
	before, err := m.state(ctx)
	if err != nil {
		return err
	}
	files, err := m.install(ctx, d)
	if err != nil {
		return err
	}
	for _, file := range files {
		fmt.Fprintln(r.out, "Installed:", file)
	}
	if dir := filepath.Dir(d.program); runtime.GOOS == "linux" && !exists(filepath.Join(dir, "tokenctl")) {
		fmt.Fprintf(r.out, "tokenctl is not in %s: systemctl reload takes it from there.\n", dir)
	}
	if _, err := store.ReadKeystoreConfig(d.dirs.State); errors.Is(err, token.ErrNotFound) {
		fmt.Fprintf(r.out, "It starts %s once it is set up.\nNext: %s, then: %s\n", r.when(), r.line("setup"), r.line("start"))
		return nil
	}
	if pid := d.other(ctx, before); pid != 0 {
		if err := end(ctx, d.socket, pid); err != nil {
			return d.runs(pid, err)
		}
		fmt.Fprintf(r.out, "The tokend that ran already, process %d, was stopped: the service takes its place.\n", pid)
	}
	begin := m.start
	if before.running {
		begin = m.restart
	}
	if err := begin(ctx); err != nil {
		return err
	}
	now, err := m.state(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(r.out, "It runs, and starts %s. Its log: %s\n", r.when(), now.log)
	for _, note := range now.notes {
		fmt.Fprintln(r.out, note)
	}
	if elsewhere := os.Getenv(ipc.SocketEnv); elsewhere != "" && elsewhere != d.socket {
		fmt.Fprintf(r.out, "$%s is set to %s, and tokenctl asks there, not at %s.\n", ipc.SocketEnv, elsewhere, d.socket)
	}
	fmt.Fprintln(r.out, "Next: tokenctl add --help, or: tokenctl status")
	return nil
}

func (r *serviceRequest) uninstall(ctx context.Context, purge purgeRequest) error {
	if purge.yes && !purge.wanted {
		return usageError{errors.New("--yes goes with --purge: nothing else is asked")}
	}
	dirs, err := r.at.dirs()
	if err != nil {
		return err
	}
	m, noManager := newServiceManager(definition{system: r.at.system, dirs: dirs})
	if noManager != nil && !purge.wanted { // where there can be no service there can be files
		return noManager
	}
	if purge.wanted {
		if err := purge.ask(dirs, r.out); err != nil {
			return err
		}
	}
	if noManager == nil {
		if err := r.takeAway(ctx, m); err != nil {
			return err
		}
	}
	if purge.wanted {
		return r.purge(ctx, dirs)
	}
	fmt.Fprintf(r.out, "Kept: the configuration in %s, keys and tokens in %s. To delete them too: %s\n",
		dirs.Config, dirs.State, r.line("uninstall --purge"))
	return nil
}

func (r *serviceRequest) takeAway(ctx context.Context, m serviceManager) error {
	removed, err := m.uninstall(ctx)
	for _, file := range removed {
		fmt.Fprintln(r.out, "Removed:", file)
	}
	if err == nil && len(removed) == 0 {
		fmt.Fprintln(r.out, "No service is installed.")
	}
	return err
}

func (r *serviceRequest) start(ctx context.Context) error {
	return r.begin(ctx, func(m serviceManager, now serviceState) error {
		if now.running {
			fmt.Fprintln(r.out, "It runs already.")
			return nil
		}
		return m.start(ctx)
	})
}

func (r *serviceRequest) restart(ctx context.Context) error {
	return r.begin(ctx, func(m serviceManager, _ serviceState) error { return m.restart(ctx) })
}

// begin starts the service that is installed, in one way or another.
func (r *serviceRequest) begin(ctx context.Context, do func(serviceManager, serviceState) error) error {
	d := definition{system: r.at.system}
	if err := r.complete(&d); err != nil {
		return err
	}
	return r.drive(ctx, d, func(m serviceManager, now serviceState) error {
		if err := d.refuseOther(ctx, now); err != nil {
			return err
		}
		return do(m, now)
	})
}

func (r *serviceRequest) stop(ctx context.Context) error {
	return r.drive(ctx, definition{system: r.at.system}, func(m serviceManager, _ serviceState) error { return m.stop(ctx) })
}

func (r *serviceRequest) status(ctx context.Context) error {
	d := definition{system: r.at.system}
	var err error
	if d.dirs, err = r.at.dirs(); err != nil {
		return err
	}
	return r.drive(ctx, d, func(_ serviceManager, now serviceState) error { return r.tell(now) })
}

// drive does something with the service that is installed.
func (r *serviceRequest) drive(ctx context.Context, d definition, do func(serviceManager, serviceState) error) error {
	m, err := newServiceManager(d)
	if err != nil {
		return err
	}
	now, err := m.state(ctx)
	if err != nil {
		return err
	}
	if now.definition == "" {
		return fmt.Errorf("no service is installed: %s", r.line("install"))
	}
	return do(m, now)
}

func (r *serviceRequest) tell(s serviceState) error {
	starts := r.when()
	if !s.enabled {
		starts = "not by itself: " + r.line("install")
	}
	state := "does not run"
	if s.running {
		state = "runs"
	}
	if s.pid != 0 {
		state += fmt.Sprintf(", process %d", s.pid)
	}
	if s.says != "" {
		state += ": " + printable(s.says)
	}
	fmt.Fprintf(r.out, "service   %s\nstarts    %s\nstate     %s\nlog       %s\n", s.definition, starts, state, s.log)
	for _, note := range s.notes {
		fmt.Fprintln(r.out, "note      "+note)
	}
	if !s.running {
		return fmt.Errorf("the service does not run: %s", r.line("start"))
	}
	return nil
}

// when the service starts.
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

// definition is what to install: this program, for these places.
func (r *serviceRequest) definition() (definition, error) {
	d := definition{system: r.at.system}
	var err error
	if d.program, err = os.Executable(); err != nil {
		return d, err
	}
	if err := checkProgram(d.program, d.system); err != nil {
		return d, err
	}
	return d, r.complete(&d)
}

// complete fills in where the service keeps its files and listens.
func (r *serviceRequest) complete(d *definition) (err error) {
	at := *r.at
	for _, dir := range []*string{&at.config, &at.state, &at.socket} {
		if *dir == "" {
			continue
		}
		if *dir, err = filepath.Abs(*dir); err != nil {
			return err
		}
	}
	if d.dirs, err = at.dirs(); err != nil {
		return err
	}
	if d.system && d.dirs != daemon.SystemDirs() {
		return usageError{fmt.Errorf("the system service lives in %s and %s; another place is made with a drop-in of yours", daemon.SystemDirs().Config, daemon.SystemDirs().State)}
	}
	config, err := daemon.ReadConfig(d.dirs)
	if err != nil {
		return err
	}
	if d.socket, err = at.serviceSocket(config); err != nil {
		return err
	}
	for _, path := range []string{d.program, d.dirs.Config, d.dirs.State, d.socket} {
		if err := checkPlain(path); err != nil {
			return err
		}
	}
	return nil
}

// serviceSocket is where a service listens. $TOKEND_SOCKET is not asked: it says
// where this shell's clients look.
func (p places) serviceSocket(c daemon.Config) (string, error) {
	switch {
	case p.socket != "":
		return p.socket, nil
	case c.Socket != "":
		return c.Socket, nil
	case p.system:
		return ipc.SystemSocket(), nil
	}
	return ipc.UserSocket()
}

// checkPlain refuses a path that a line of a definition cannot hold.
func checkPlain(path string) error {
	if !utf8.ValidString(path) || strings.ContainsFunc(path, unicode.IsControl) {
		return &token.Error{Code: token.ErrInvalid, Message: fmt.Sprintf("%q: a path with such characters cannot be written into the definition of a service", path)}
	}
	return nil
}

// checkProgram refuses to install a program that will not be there, or that
// somebody else than root could replace although the machine relies on it.
func checkProgram(path string, system bool) error {
	for _, dir := range []string{os.TempDir(), "/tmp", "/var/tmp"} {
		if strings.HasPrefix(path, filepath.Clean(dir)+string(filepath.Separator)) {
			return fmt.Errorf("this program is %s, where it will not stay: go install ./cmd/tokend ./cmd/tokenctl, and run that one", path)
		}
	}
	if !system {
		return nil
	}
	if err := checkSystemProgram(path); err != nil {
		return fmt.Errorf("%w: install -m 0755 tokend tokenctl /usr/local/bin/, and run that one", err)
	}
	return nil
}

// refuseOther refuses to go on beside a tokend that was started by hand, which
// would keep the files, and lose its socket.
func (d definition) refuseOther(ctx context.Context, now serviceState) error {
	if pid := d.other(ctx, now); pid != 0 {
		return d.runs(pid, errors.New("stop it, and type the same again"))
	}
	return nil
}

func (d definition) runs(pid int, why error) error {
	return runningError{fmt.Errorf("another tokend, process %d, serves at %s already: %w", pid, d.socket, why)}
}

// other is the process that serves here and is not the service, 0 if there is
// none.
func (d definition) other(ctx context.Context, now serviceState) int {
	if !now.running && now.held {
		return 0 // asking would start it
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	st, err := (&ipc.Client{Socket: d.socket}).Status(ctx)
	if err != nil || now.running && (now.pid == 0 || st.PID == now.pid) {
		return 0
	}
	return st.PID
}
