package child

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/ui"
	"tokend/ipc"
	"tokend/providers/token"
	"tokend/providers/token/format"
)

// The exit statuses of shells for a program that cannot be run.
const (
	exitCannotRun = 126
	exitNotFound  = 127
)

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
	for i, name := range variables {
		if name == "" || strings.Trim(name, letters+"0123456789") != "" || !strings.Contains(letters, name[:1]) {
			return cli.Usage("%q is not the name of an environment variable", name)
		}
		if slices.Contains(variables[:i], name) {
			return cli.Usage("the variable %s is named twice", name)
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
	switch {
	case write == nil:
		return cli.Usage("there is no format %q; the formats are %s", r.Format, strings.Join(format.Names[:], ", "))
	case r.Format == format.Names[0]:
		write = withoutNewline
	}
	program, err := findProgram(command[0])
	if err != nil {
		return err
	}
	d, err := e.Client()
	if err != nil {
		return err
	}
	// From here on a signal must not leave a file behind.
	signals, stop := catchSignals()
	defer stop()
	l := &loan{Env: e, client: d, request: r, write: write, env: os.Environ()}
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		cancel()
		l.keepers.Wait()
		l.file.remove()
	}()
	if err := l.lend(ctx); err != nil {
		return err
	}
	cmd := exec.Command(program)
	cmd.Args, cmd.Env = command, l.env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = e.In, e.Out.W, e.Err.W
	if err := cmd.Start(); err != nil {
		return cannotRun(command[0], err)
	}
	defer forward(cmd.Process, signals, func() {})()
	return wait(cmd)
}

// withoutNewline is the token as programs expect it in a file or variable.
func withoutNewline(g token.Grant, now time.Time) ([]byte, error) {
	text, err := format.Token(g, now)
	return bytes.TrimSuffix(text, []byte("\n")), err
}

// findProgram looks a command up as a shell does.
func findProgram(name string) (string, error) {
	path, err := exec.LookPath(name)
	if errors.Is(err, exec.ErrDot) {
		err = errors.New("it is in the current directory; write ./ before it")
	}
	if err != nil {
		return "", cannotRun(name, err)
	}
	return path, nil
}

// cannotRun is the error for a program that cannot be run, with the exit
// status of shells.
func cannotRun(name string, why error) error {
	if errors.Is(why, exec.ErrNotFound) || errors.Is(why, fs.ErrNotExist) {
		return &ui.Exit{Status: exitNotFound, Err: errors.New(name + " was not found")}
	}
	for inner := why; inner != nil; inner = errors.Unwrap(inner) {
		why = inner // it does not name the program again
	}
	return &ui.Exit{Status: exitCannotRun, Err: fmt.Errorf("cannot run %s: %w", name, why)}
}

// A loan is what a program has while it runs.
type loan struct {
	*ui.Env
	client  *ipc.Client
	request Request
	write   format.Format
	env     []string // the program's environment
	file    *tokenFile
	keepers sync.WaitGroup // keep file and endpoint fresh
}

// lend obtains all that the request names.
func (l *loan) lend(ctx context.Context) error {
	r := l.request
	if len(r.Env)+len(r.Files) > 0 {
		if err := l.lendToken(ctx); err != nil {
			return err
		}
	}
	if r.Git {
		if err := l.lendToGit(ctx); err != nil {
			return err
		}
	}
	if r.MSI == nil {
		return nil
	}
	lease, err := l.client.LeaseMSI(ctx, ipc.MSIRequest{Profiles: r.MSI})
	if err != nil {
		return err
	}
	l.env = msiEnv(l.env, lease)
	l.keepers.Go(func() { keepLease(ctx, l.client, lease, r.MSI) })
	return nil
}

// lendToken puts a token into variables and into a file that is kept fresh.
func (l *loan) lendToken(ctx context.Context) error {
	r := l.request
	g, err := getToken(ctx, l.Env, r.Profile, r.Query)
	if err != nil {
		return err
	}
	text, err := l.write(g, time.Now())
	if err != nil {
		return err
	}
	for _, name := range r.Env {
		l.env = append(l.env, name+"="+strings.TrimSuffix(string(text), "\n"))
	}
	if len(r.Files) == 0 {
		return nil
	}
	l.file = &tokenFile{fetch: func(ctx context.Context) (token.Grant, error) { return l.client.Get(ctx, r.Profile, r.Query) }, format: l.write}
	if err := l.file.create(g, text); err != nil {
		return err
	}
	l.keepers.Go(func() { l.file.keep(ctx) })
	for _, name := range r.Files {
		l.env = append(l.env, name+"="+l.file.path)
	}
	return nil
}

// lendToGit configures git for the program alone, as git -c does, to ask tokend
// and no other helper for the profile's hosts.
func (l *loan) lendToGit(ctx context.Context) error {
	p, err := l.ProfileStatus(ctx, l.request.Profile)
	if err != nil {
		return err
	}
	if len(p.Hosts) == 0 {
		return &token.Error{Code: token.ErrInvalid, Message: fmt.Sprintf(
			"profile %q has no hosts; set hosts = [\"https://...\"] in %s and run tokenctl reload", p.Name, p.File)}
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	helper := "!" + format.ShellQuote(self) + " helper git --profile " + format.ShellQuote(p.Name)
	if l.Socket != "" {
		helper += " --socket " + format.ShellQuote(l.client.Socket)
	}
	count, _ := strconv.Atoi(os.Getenv("GIT_CONFIG_COUNT"))
	set := func(key, value string) {
		n := strconv.Itoa(count)
		l.env = append(l.env, "GIT_CONFIG_KEY_"+n+"="+key, "GIT_CONFIG_VALUE_"+n+"="+value)
		count++
	}
	for _, host := range p.Hosts {
		set("credential."+host+".helper", "") // forgets the helpers before
		set("credential."+host+".helper", helper)
		set("credential."+host+".useHttpPath", "true")
	}
	l.env = append(l.env, "GIT_CONFIG_COUNT="+strconv.Itoa(count))
	return nil
}

// A tokenFile is a private file with a token.
type tokenFile struct {
	fetch     func(context.Context) (token.Grant, error)
	format    format.Format
	dir, path string
	held      token.Grant
}

// create creates the file, in memory where the system has a place for that.
func (f *tokenFile) create(g token.Grant, text []byte) (err error) {
	place := os.Getenv("XDG_RUNTIME_DIR")
	if info, err := os.Stat(place); place == "" || err != nil || !info.IsDir() {
		place = os.TempDir()
	}
	if f.dir, err = os.MkdirTemp(place, "tokenctl-"); err != nil { // mode 0700
		return fmt.Errorf("cannot make a directory for the token's file: %w", err)
	}
	f.path = filepath.Join(f.dir, "token")
	return f.write(g, text)
}

// write replaces the file in one step.
func (f *tokenFile) write(g token.Grant, text []byte) error {
	next := f.path + ".new"
	err := os.WriteFile(next, text, 0o600)
	if err == nil {
		err = os.Rename(next, f.path)
	}
	if err != nil {
		return fmt.Errorf("cannot write the token's file: %w", err)
	}
	f.held = g
	return nil
}

func (f *tokenFile) remove() {
	if f != nil && f.dir != "" {
		_ = os.RemoveAll(f.dir)
	}
}

const (
	// A file's token is compared with tokend's each tenth of its life, within
	// these bounds. tokend answers from its cache, and has renewed by then.
	minInterval = time.Second
	maxInterval = 30 * time.Second
)

// keep keeps the file fresh until ctx ends. It removes a token that has expired
// and that tokend could not renew.
func (f *tokenFile) keep(ctx context.Context) {
	for {
		end := f.held.ServeUntil()
		select {
		case <-ctx.Done():
			return
		case <-time.After(min(max(time.Until(end)/10, minInterval), maxInterval)):
		}
		if !f.update(ctx) && !time.Now().Round(0).Before(end.Round(0)) {
			_ = os.Remove(f.path)
		}
	}
}

// update fetches tokend's token, and reports whether the file holds it.
func (f *tokenFile) update(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, maxInterval)
	defer cancel()
	g, err := f.fetch(ctx)
	if err != nil {
		return false
	}
	if _, err := os.Lstat(f.path); err == nil && g.Secret.Equal(f.held.Secret) {
		return true
	}
	text, err := f.format(g, time.Now())
	return err == nil && f.write(g, text) == nil
}

// msiEnv points the SDKs to the endpoint, and away from any other.
func msiEnv(env []string, lease *ipc.MSILease) []string {
	others := []string{"IDENTITY_SERVER_THUMBPRINT", "IMDS_ENDPOINT", "MSI_ENDPOINT", "MSI_SECRET", "IDENTITY_ENDPOINT", "IDENTITY_HEADER"}
	env = slices.DeleteFunc(env, func(e string) bool {
		name, _, _ := strings.Cut(e, "=")
		return slices.Contains(others, name)
	})
	return append(env, "IDENTITY_ENDPOINT="+lease.Endpoint, "IDENTITY_HEADER="+lease.Header.Reveal())
}

// keepLease keeps the endpoint until ctx ends: after a restart of tokend, it
// asks for the same endpoint again.
func keepLease(ctx context.Context, d *ipc.Client, lease *ipc.MSILease, profiles []string) {
	for {
		lease.Wait(ctx)
		for pause := time.Duration(0); ; pause = min(pause+100*time.Millisecond, 5*time.Second) {
			select {
			case <-ctx.Done():
				return
			case <-time.After(pause):
			}
			next, err := d.LeaseMSI(ctx, ipc.MSIRequest{Profiles: profiles, Endpoint: lease.Endpoint, Header: lease.Header.Reveal()})
			if err == nil {
				lease = next
				break
			}
		}
	}
}
