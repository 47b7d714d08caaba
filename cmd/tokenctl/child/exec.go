// Package child runs other programs with a credential: curl, and for exec any
// program.
package child

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/google/renameio/v2/maybe"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/ui"
	"tokend/ipc"
	"tokend/providers/token"
	"tokend/providers/token/format"
)

// GetToken obtains a token, and shows that it waits for one.
func GetToken(ctx context.Context, e *ui.Env, profile string, q token.Query, limit time.Duration) (g token.Grant, err error) {
	_, err = ui.AskFor(ctx, e, limit, "Waiting for a token", func(d *ipc.Client, ctx context.Context) (_ any, err error) {
		g, err = d.Get(ctx, profile, q) // which is large: a copy in each frame would make the stack grow
		return nil, err
	})
	return g, err
}

// CheckFormat refuses what is not among the names of formats.
func CheckFormat(name string, names []string) error {
	if slices.Contains(names, name) {
		return nil
	}
	return cli.Usage("there is no format %q; the formats are %s", name, strings.Join(names, ", "))
}

// catchSignals sends the signals that end programs to a channel, until stop is
// called. Signals that are ignored, as under nohup, stay ignored.
func catchSignals() (signals <-chan os.Signal, stop func()) {
	c := make(chan os.Signal, 1)
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT} {
		if !signal.Ignored(s) {
			signal.Notify(c, s)
		}
	}
	return c, func() { signal.Stop(c) }
}

// forward passes signals on to a process, and calls caught for each, until
// stop is called.
func forward(p *os.Process, signals <-chan os.Signal, caught func()) (stop func()) {
	ended := make(chan struct{})
	go func() {
		for {
			select {
			case s := <-signals:
				caught()
				if !reachesChild(s) {
					_ = p.Signal(s)
				}
			case <-ended:
				return
			}
		}
	}()
	return func() { close(ended) }
}

// wait waits for the end of a program that was started. The error is a *ui.Exit
// with the status that shells have for it, if the program did not succeed; it has
// reported why.
func wait(cmd *exec.Cmd) error {
	err := cmd.Wait()
	failed, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return err
	}
	if status, ok := failed.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return &ui.Exit{Status: bySignal + int(status.Signal())}
	}
	return &ui.Exit{Status: failed.ExitCode()}
}

// bySignal and the signal's number are a shell's status for the end by a signal.
const bySignal = 128

// dieAlike ends this process by the signal that ended the program, so that a
// shell sees what happened. It returns err if there was no such signal.
func dieAlike(err error) error {
	exit, ok := errors.AsType[*ui.Exit](err)
	if !ok {
		return err
	}
	s := syscall.Signal(exit.Status - bySignal)
	if s != syscall.SIGINT && s != syscall.SIGTERM && s != syscall.SIGHUP || signal.Ignored(s) {
		return err
	}
	signal.Reset(s)
	if self, failed := os.FindProcess(os.Getpid()); failed == nil && self.Signal(s) == nil {
		time.Sleep(time.Second) // until the signal arrives
	}
	return err
}

// A Request says what exec gives to a program.
type Request struct {
	Profile string
	// Env and Files are the variables for the token, and for the name of a file
	// with the token, which Format writes.
	Env, Files []string
	Format     string
	Query      token.Query
	// Git has git ask tokend.
	Git bool
	// MSI are the profiles of an endpoint for Azure SDKs.
	MSI []string
}

// check refuses requests that contradict themselves.
func (r Request) check() error {
	variables := slices.Concat(r.Env, r.Files)
	switch own := len(variables) > 0 || r.Git; {
	case !own && r.MSI == nil:
		return cli.Usage("how does the program get the token? Use --env VAR, --file VAR, --git or --azure-msi PROFILES")
	case r.Profile == "" && own:
		return cli.Usage("--env, --file and --git need a profile; name it before --")
	case r.Profile != "" && !own:
		return cli.Usage("--azure-msi names the profiles itself; leave out the one before --")
	}
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_"
	for _, name := range variables {
		if name == "" || strings.Trim(name, letters+"0123456789") != "" || !strings.Contains(letters, name[:1]) {
			return cli.Usage("%q is not the name of an environment variable", name)
		}
	}
	return nil
}

// Exec runs a command with what r says. The error is a *ui.Exit with the status
// to pass on if the command does not succeed, or cannot be run.
func Exec(ctx context.Context, e *ui.Env, r Request, command []string) error {
	return dieAlike(run(ctx, e, r, command))
}

func run(ctx context.Context, e *ui.Env, r Request, command []string) error {
	if err := r.check(); err != nil {
		return err
	}
	write := format.Named(r.Format)
	if err := CheckFormat(r.Format, format.Names[:]); err != nil {
		return err
	}
	cmd := exec.Command(command[0], command[1:]...)
	if cmd.Err != nil {
		return cannotRun(command[0], cmd.Err)
	}
	d, err := e.Client()
	if err != nil {
		return err
	}
	// From here on a signal must not leave a file behind.
	signals, stop := catchSignals()
	defer stop()
	l := &loan{Env: e, client: d, request: r, format: write, env: os.Environ(), remove: func() {}}
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		cancel()
		l.keepers.Wait()
		l.remove()
	}()
	for _, lend := range []func(context.Context) error{l.lendToken, l.lendToGit, l.lendEndpoint} {
		if err := lend(ctx); err != nil {
			return err
		}
	}
	cmd.Env = l.env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = e.In, e.Out.W, e.Err.W
	if err := cmd.Start(); err != nil {
		return cannotRun(command[0], err)
	}
	defer forward(cmd.Process, signals, func() {})()
	return wait(cmd)
}

// cannotRun is the error for a program that cannot be run, with the exit
// status of shells.
func cannotRun(name string, why error) error {
	if errors.Is(why, exec.ErrNotFound) || errors.Is(why, fs.ErrNotExist) {
		return &ui.Exit{Status: ui.ExitNotFoundToRun, Err: errors.New(name + " was not found")}
	}
	return &ui.Exit{Status: ui.ExitCannotRun, Err: fmt.Errorf("cannot run %s: %w", name, why)}
}

// A loan is what a program has while it runs.
type loan struct {
	*ui.Env
	client  *ipc.Client
	request Request
	format  format.Format
	env     []string       // the program's environment
	keepers sync.WaitGroup // keep file and endpoint fresh

	// The private file with a token, which token it has, and what removes it.
	file   string
	held   token.Grant
	remove func()
}

// lendToken puts a token into variables and into a file that is kept fresh.
func (l *loan) lendToken(ctx context.Context) error {
	r := l.request
	if len(r.Env)+len(r.Files) == 0 {
		return nil
	}
	g, err := GetToken(ctx, l.Env, r.Profile, r.Query, ui.Patience)
	if err != nil {
		return err
	}
	text, err := l.text(g)
	if err != nil {
		return err
	}
	for _, name := range r.Env {
		l.env = append(l.env, name+"="+text)
	}
	if len(r.Files) == 0 {
		return nil
	}
	dir, remove, err := makePlace()
	if err != nil {
		return fmt.Errorf("cannot make a directory for the token's file: %w", err)
	}
	l.file, l.remove = filepath.Join(dir, "token"), remove
	if err := l.writeFile(g); err != nil {
		return fmt.Errorf("cannot write the token's file: %w", err)
	}
	l.keepers.Go(func() { l.keepFile(ctx) })
	for _, name := range r.Files {
		l.env = append(l.env, name+"="+l.file)
	}
	return nil
}

// text is the token in its format, without a newline at its end.
func (l *loan) text(g token.Grant) (string, error) {
	text, err := l.format(g, time.Now())
	return strings.TrimSuffix(string(text), "\n"), err
}

// lendToGit configures git for the program alone, as git -c does, to ask tokend
// and no other helper for the profile's hosts.
func (l *loan) lendToGit(ctx context.Context) error {
	if !l.request.Git {
		return nil
	}
	p, err := l.ProfileStatus(ctx, l.request.Profile)
	if err != nil {
		return err
	}
	hosts := p.AllHosts()
	if len(hosts) == 0 {
		return &token.Error{Code: token.ErrInvalid, Message: fmt.Sprintf(
			"profile %q has no hosts; set hosts = [\"https://...\"] in %s and run tokenctl reload", p.Name, p.File)}
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	helper := "!" + format.ShellQuote(self) + " helper git --profile " + format.ShellQuote(l.request.Profile)
	if l.Socket != "" {
		helper += " --socket " + format.ShellQuote(l.client.Socket)
	}
	count, _ := strconv.Atoi(os.Getenv("GIT_CONFIG_COUNT"))
	set := func(key, value string) {
		n := strconv.Itoa(count)
		l.env = append(l.env, "GIT_CONFIG_KEY_"+n+"="+key, "GIT_CONFIG_VALUE_"+n+"="+value)
		count++
	}
	for _, host := range hosts {
		set("credential."+host+".helper", "") // forgets the helpers before
		set("credential."+host+".helper", helper)
		set("credential."+host+".useHttpPath", "true")
	}
	l.env = append(l.env, "GIT_CONFIG_COUNT="+strconv.Itoa(count))
	return nil
}

// writeFile replaces the token's file in one step.
func (l *loan) writeFile(g token.Grant) error {
	text, err := l.text(g)
	if err == nil {
		err = maybe.WriteFile(l.file, []byte(text), 0o600)
	}
	if err == nil {
		l.held = g
	}
	return err
}

const (
	// A file's token is compared with tokend's each tenth of its life, within
	// these bounds. tokend answers from its cache, and has renewed by then.
	minInterval = time.Second
	maxInterval = 30 * time.Second
)

// keepFile has the file hold tokend's token until ctx ends. It removes a token that
// has expired and that tokend could not renew.
func (l *loan) keepFile(ctx context.Context) {
	for {
		end := l.held.ServeUntil()
		select {
		case <-ctx.Done():
			return
		case <-time.After(min(max(time.Until(end)/10, minInterval), maxInterval)):
		}
		asking, cancel := context.WithTimeout(ctx, maxInterval)
		g, err := l.client.Get(asking, l.request.Profile, l.request.Query)
		cancel()
		if err == nil && !g.Secret.Equal(l.held.Secret) {
			err = l.writeFile(g)
		}
		if err != nil && !time.Now().Round(0).Before(end.Round(0)) {
			_ = os.Remove(l.file)
		}
	}
}

// lendEndpoint points the SDKs to an endpoint for them, and away from any other.
func (l *loan) lendEndpoint(ctx context.Context) error {
	if l.request.MSI == nil {
		return nil
	}
	lease, err := l.client.LeaseMSI(ctx, ipc.MSIRequest{Profiles: l.request.MSI})
	if err != nil {
		return err
	}
	others := []string{"IDENTITY_SERVER_THUMBPRINT", "IMDS_ENDPOINT", "MSI_ENDPOINT", "MSI_SECRET", "IDENTITY_ENDPOINT", "IDENTITY_HEADER"}
	l.env = slices.DeleteFunc(l.env, func(e string) bool {
		name, _, _ := strings.Cut(e, "=")
		return slices.Contains(others, name)
	})
	l.env = append(append(l.env, loopbackPastProxies()...), "IDENTITY_ENDPOINT="+lease.Endpoint, "IDENTITY_HEADER="+lease.Header.Reveal())
	l.keepers.Go(func() { keepLease(ctx, l.client, lease, l.request.MSI) })
	return nil
}

// loopbackPastProxies are the variables that keep requests to what a program is lent
// on loopback away from the user's proxies. Of the two a program reads one: some
// prefer the lower-case one, others the upper-case one.
func loopbackPastProxies() (env []string) {
	for _, names := range [][2]string{{"NO_PROXY", "no_proxy"}, {"no_proxy", "NO_PROXY"}} {
		value := cmp.Or(os.Getenv(names[0]), os.Getenv(names[1]))
		if value == "*" { // all hosts, if it is alone; .NET and wget do not know that
			env = append(env, "http_proxy=", "HTTP_PROXY=", "all_proxy=", "ALL_PROXY=")
		} else {
			value = strings.TrimPrefix(value+",127.0.0.1", ",") // where tokend lends endpoints (ipc/ipcserver/msi.go)
		}
		env = append(env, names[0]+"="+value)
	}
	return env
}

// leaseRetry is the pause between questions for an endpoint while tokend is gone.
const leaseRetry = 500 * time.Millisecond

// keepLease keeps the endpoint until ctx ends: after a restart of tokend, it
// asks for the same endpoint again.
func keepLease(ctx context.Context, d *ipc.Client, lease *ipc.MSILease, profiles []string) {
	again := ipc.MSIRequest{Profiles: profiles, Endpoint: lease.Endpoint, Header: lease.Header.Reveal()}
	for err := error(nil); ctx.Err() == nil; lease, err = d.LeaseMSI(ctx, again) {
		if err == nil {
			lease.Wait(ctx)
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(leaseRetry):
		}
	}
}
