package main

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

	"github.com/spf13/cobra"

	"tokend/ipc"
	"tokend/providers/token"
	"tokend/providers/token/format"
)

const execHelp = `  tokenctl exec npm --env NPM_TOKEN -- npm install
  tokenctl exec clms --file GDAL_HTTP_HEADER_FILE -o header -- gdalinfo ...
  tokenctl exec devops --git -- git clone https://dev.azure.com/org/app
  tokenctl exec --azure-msi kalibrate -- ./program-with-an-Azure-SDK

Runs a program that cannot ask for a token itself. What it is given, it alone is
given, and it ends with it:

  --env VAR    the token in an environment variable, as it is at the start: it
               is not renewed
  --file VAR   a private file, whose name is in the variable; it is kept fresh
               while the program runs, and gone after it
  --git        git, and what calls git, asks tokend for the profile's hosts
  --azure-msi  an endpoint of a managed identity of Azure App Service, which all
               Azure SDKs know, on loopback, for these profiles

Signals and the exit status are passed on; 126 says that the program cannot be
run, 127 that it was not found.`

// A loan is what exec gives to a program.
type loan struct {
	env, files []string
	git        bool
	msi        []string
	as         string
	query      token.Query
}

func (a *app) execCommand() *cobra.Command {
	l := loan{as: format.Names[0]}
	var scopes []string
	c := &cobra.Command{
		Use:                   "exec [NAME] [FLAGS] -- COMMAND [ARGUMENT...]",
		Short:                 "Run a program with a token",
		Long:                  execHelp,
		Args:                  a.profileAndCommand,
		DisableFlagsInUseLine: true,
		ValidArgsFunction:     a.completeProfiles,
		RunE: func(c *cobra.Command, args []string) error {
			l.query.Scope = strings.Join(scopes, " ")
			return a.exec(c, l, args[c.ArgsLenAtDash():])
		},
	}
	f := c.Flags()
	f.SortFlags = false
	f.StringArrayVar(&l.env, "env", nil, "environment variable `VAR` gets the token; repeatable")
	f.StringArrayVar(&l.files, "file", nil, "environment variable `VAR` gets the name of a file\nwith the token; repeatable")
	f.BoolVar(&l.git, "git", false, "have git ask tokend")
	f.StringSliceVar(&l.msi, "azure-msi", nil, "`PROFILES` for Azure SDKs, separated by commas")
	f.StringVarP(&l.as, "output", "o", l.as, "`FORMAT` of --env and --file: token, header, json, env or curl")
	f.Var((*span)(&l.query.MinTTL), "min-ttl", "least remaining life, as `TIME`: 10m, 90s, or seconds")
	f.StringArrayVar(&scopes, "scope", nil, "other `SCOPE` than the profile's; repeatable")
	f.StringVar(&l.query.Audience, "audience", "", "other `AUDIENCE` or resource than the profile's")
	return c
}

// profileAndCommand takes a profile's name or none, and a command after --.
func (a *app) profileAndCommand(c *cobra.Command, args []string) error {
	dash := c.ArgsLenAtDash()
	switch {
	case dash < 0:
		return usage("write -- before the command that exec is to run")
	case dash == len(args):
		return usage("there is no command after --")
	case dash > 1:
		return usage("exec takes one profile name and got %d", dash)
	case dash == 1:
		a.profile = args[0]
	}
	return nil
}

func (l loan) check(profile string) error {
	own := len(l.env) + len(l.files)
	switch {
	case own == 0 && !l.git && l.msi == nil:
		return usage("say how the program gets the token: --env VAR, --file VAR, --git or --azure-msi PROFILES")
	case profile == "" && (own > 0 || l.git):
		return usage("--env, --file and --git are for a profile; name it before --")
	case profile != "" && own == 0 && !l.git:
		return usage("with --azure-msi alone, the profiles are named there and not before --")
	}
	for i, name := range slices.Concat(l.env, l.files) {
		if strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "" || name == "" || '0' <= name[0] && name[0] <= '9' {
			return usage("%q is no name of an environment variable", name)
		}
		if slices.Contains(slices.Concat(l.env, l.files)[:i], name) {
			return usage("the variable %s is asked for twice", name)
		}
	}
	return nil
}

// exec runs a program with what l says.
func (a *app) exec(c *cobra.Command, l loan, command []string) error {
	if err := l.check(a.profile); err != nil {
		return err
	}
	write, err := formatNamed(l.as)
	if err != nil {
		return err
	}
	if l.as == format.Names[0] {
		write = bare
	}
	program, err := findProgram(command[0])
	if err != nil {
		return err
	}
	d, err := a.daemon()
	if err != nil {
		return err
	}

	// From here on a signal must not leave a file behind.
	stop := make(chan os.Signal, 1)
	defer catchSignals(stop)()
	ctx, cancel := context.WithCancel(c.Context())
	var file *heldFile
	defer func() { file.remove() }()
	var keepers sync.WaitGroup
	defer keepers.Wait()
	defer cancel()
	cmd := exec.Command(program)
	cmd.Args = command
	cmd.Env = os.Environ()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = a.in, a.out.w, a.err.w

	if len(l.env)+len(l.files) > 0 {
		g, err := a.first(ctx, d, l.query)
		if err != nil {
			return err
		}
		text, err := write(g, time.Now())
		if err != nil {
			return err
		}
		for _, name := range l.env {
			cmd.Env = append(cmd.Env, name+"="+strings.TrimSuffix(string(text), "\n"))
		}
		if len(l.files) > 0 {
			if file, err = newHeldFile(g, text); err != nil {
				return err
			}
			keepers.Go(func() { file.keep(ctx, d, a.profile, l.query, write) })
			for _, name := range l.files {
				cmd.Env = append(cmd.Env, name+"="+file.path)
			}
		}
	}
	if l.git {
		more, err := a.gitEnv(ctx, d, cmd.Env)
		if err != nil {
			return err
		}
		cmd.Env = append(cmd.Env, more...)
	}
	if l.msi != nil {
		lease, err := d.LeaseMSI(ctx, ipc.MSIRequest{Profiles: l.msi})
		if err != nil {
			return err
		}
		cmd.Env = msiEnv(cmd.Env, lease)
		keepers.Go(func() { keepLease(ctx, d, lease, l.msi) })
	}
	if err := cmd.Start(); err != nil {
		return cannotRun(command[0], err)
	}
	return waitFor(cmd, command[0], stop, func() {})
}

// bare is the token without a newline, as programs expect a file that holds
// one.
func bare(g token.Grant, now time.Time) ([]byte, error) {
	text, err := format.Token(g, now)
	return bytes.TrimSuffix(text, []byte("\n")), err
}

// first gets the token to start with.
func (a *app) first(ctx context.Context, d *ipc.Client, q token.Query) (token.Grant, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	defer a.progress("Waiting for a token").end()
	return d.Get(ctx, a.profile, q)
}

// findProgram looks a command up as a shell does, with a shell's exit status
// for one that cannot be run.
func findProgram(name string) (string, error) {
	path, err := exec.LookPath(name)
	if errors.Is(err, exec.ErrDot) {
		return "", cannotRun(name, errors.New("it is in the current directory; write ./ before it"))
	}
	if err != nil {
		return "", cannotRun(name, err)
	}
	return path, nil
}

// A notRun is a program that could not be run.
type notRun struct {
	name string
	why  error
}

func cannotRun(name string, why error) error {
	var known *exec.Error
	if errors.As(why, &known) {
		why = known.Err
	}
	return notRun{name, why}
}

func (e notRun) Error() string {
	if e.status() == exitNotFoundToRun {
		return e.name + " was not found"
	}
	var path *fs.PathError
	if errors.As(e.why, &path) {
		return e.name + " cannot be run: " + path.Err.Error()
	}
	return e.name + " cannot be run: " + e.why.Error()
}

func (e notRun) status() int {
	if errors.Is(e.why, exec.ErrNotFound) || errors.Is(e.why, fs.ErrNotExist) {
		return exitNotFoundToRun
	}
	return exitCannotRun
}

// A heldFile is a private file with a token.
type heldFile struct {
	dir, path string
	expiry    time.Time
	held      token.Secret
}

// newHeldFile makes the file, in memory where the system has a place for that.
func newHeldFile(g token.Grant, text []byte) (*heldFile, error) {
	place := os.Getenv("XDG_RUNTIME_DIR")
	if info, err := os.Stat(place); place == "" || err != nil || !info.IsDir() {
		place = os.TempDir()
	}
	dir, err := os.MkdirTemp(place, "tokenctl-") // mode 0700
	if err != nil {
		return nil, fmt.Errorf("no place for the token's file: %w", err)
	}
	f := &heldFile{dir: dir, path: filepath.Join(dir, "token")}
	if err := f.write(g, text); err != nil {
		f.remove()
		return nil, err
	}
	return f, nil
}

// write replaces the file as a whole.
func (f *heldFile) write(g token.Grant, text []byte) error {
	next := f.path + ".new"
	err := os.WriteFile(next, text, 0o600)
	if err == nil {
		err = os.Rename(next, f.path)
	}
	if err != nil {
		return fmt.Errorf("the token's file cannot be written: %w", err)
	}
	f.expiry, f.held = g.ServeUntil(), g.Secret
	return nil
}

func (f *heldFile) remove() {
	if f != nil {
		_ = os.RemoveAll(f.dir)
	}
}

const (
	// How often a file's token is compared with tokend's: a tenth of its life
	// within these bounds. tokend answers at once, and has renewed by then.
	oftenest = time.Second
	seldom   = 30 * time.Second
)

// keep keeps the file fresh until ctx ends. A token that has expired, because
// no other can be had, does not stay.
func (f *heldFile) keep(ctx context.Context, d *ipc.Client, profile string, q token.Query, write format.Format) {
	for {
		again := min(max(time.Until(f.expiry)/10, oftenest), seldom)
		select {
		case <-ctx.Done():
			return
		case <-time.After(again):
		}
		if !f.update(ctx, d, profile, q, write) && !time.Now().Round(0).Before(f.expiry.Round(0)) {
			_ = os.Remove(f.path)
		}
	}
}

// update fetches tokend's token, and tells whether the file holds it.
func (f *heldFile) update(ctx context.Context, d *ipc.Client, profile string, q token.Query, write format.Format) bool {
	ctx, cancel := context.WithTimeout(ctx, seldom)
	defer cancel()
	g, err := d.Get(ctx, profile, q)
	if err != nil {
		return false
	}
	if _, err := os.Lstat(f.path); err == nil && g.Secret.Equal(f.held) {
		return true
	}
	text, err := write(g, time.Now())
	return err == nil && f.write(g, text) == nil
}

// gitEnv configures git for the child alone, as git config does with -c: what
// stands in its configuration for the profile's hosts does not count.
func (a *app) gitEnv(ctx context.Context, d *ipc.Client, env []string) ([]string, error) {
	p, err := d.Profile(ctx, a.profile)
	if err != nil {
		return nil, err
	}
	if len(p.Hosts) == 0 {
		return nil, &token.Error{Code: token.ErrInvalid, Message: fmt.Sprintf(
			"profile %q has no hosts; set hosts = [\"https://...\"] in %s and run tokenctl reload", p.Name, p.File)}
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	helper := "!" + format.ShellQuote(self) + " helper git --profile " + word(p.Name)
	if a.socket != "" {
		helper += " --socket " + format.ShellQuote(d.Socket)
	}
	count := 0
	for _, e := range env {
		if n, ok := strings.CutPrefix(e, "GIT_CONFIG_COUNT="); ok {
			count, _ = strconv.Atoi(n)
		}
	}
	var more []string
	set := func(key, value string) {
		n := strconv.Itoa(count)
		more = append(more, "GIT_CONFIG_KEY_"+n+"="+key, "GIT_CONFIG_VALUE_"+n+"="+value)
		count++
	}
	for _, host := range p.Hosts {
		set("credential."+host+".helper", "") // forgets the helpers before
		set("credential."+host+".helper", helper)
		set("credential."+host+".useHttpPath", "true")
	}
	return append(more, "GIT_CONFIG_COUNT="+strconv.Itoa(count)), nil
}

// msiEnv tells the SDKs where the endpoint is, and of no other.
func msiEnv(env []string, lease *ipc.MSILease) []string {
	others := []string{"IDENTITY_SERVER_THUMBPRINT", "IMDS_ENDPOINT", "MSI_ENDPOINT", "MSI_SECRET", "IDENTITY_ENDPOINT", "IDENTITY_HEADER"}
	env = slices.DeleteFunc(env, func(e string) bool {
		name, _, _ := strings.Cut(e, "=")
		return slices.Contains(others, name)
	})
	return append(env, "IDENTITY_ENDPOINT="+lease.Endpoint, "IDENTITY_HEADER="+lease.Header.Reveal())
}

// keepLease keeps the endpoint until ctx ends: if tokend goes, the one that
// comes is asked to serve it again in the same place.
func keepLease(ctx context.Context, d *ipc.Client, lease *ipc.MSILease, profiles []string) {
	for {
		lease.Wait(ctx)
		for again := time.Duration(0); ; again = min(again+100*time.Millisecond, 5*time.Second) {
			select {
			case <-ctx.Done():
				return
			case <-time.After(again):
			}
			next, err := d.LeaseMSI(ctx, ipc.MSIRequest{Profiles: profiles, Endpoint: lease.Endpoint, Header: lease.Header.Reveal()})
			if err == nil {
				lease = next
				break
			}
		}
	}
}
