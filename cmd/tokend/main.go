// Command tokend holds keys and client secrets, obtains access tokens with
// them, keeps the tokens fresh, and serves them over a Unix socket to
// tokenctl and to anything that speaks HTTP (docs/protocol.md).
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/ui"
	"tokend/cmd/tokend/demo"
	"tokend/cmd/tokend/service"
	"tokend/daemon/profile"
	"tokend/ipc"
	"tokend/providers/token"
	"tokend/store"
)

// version is stamped by -ldflags "-X main.version=1.2.3".
var version = ""

// Exit statuses, as in --help and docs/service.md. A restart fixes only a failure:
// the units name all others in RestartPreventExitStatus=, except exitUsage, which
// is also the status of a Go program that crashed or that the watchdog killed.
const (
	exitOK       = 0
	exitFailure  = 1
	exitUsage    = 2
	exitRunning  = 3
	exitKeystore = 4
	exitSocket   = 5
	exitConfig   = 78 // EX_CONFIG of sysexits.h
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// A program is one run of tokend.
type program struct {
	args        []string
	at          places
	out, errOut io.Writer
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	p := program{args: args, out: stdout, errOut: stderr}
	line := cli.Program{Root: p.root(), Shared: p.at.flags, Out: stdout, Version: func() string { return "tokend " + versionText() }}
	call, err := line.Execute(ctx, args)
	if err == nil {
		return exitOK
	}
	if exit, ok := err.(*ui.Exit); ok && exit.Err == nil {
		return exit.Status
	}
	text := fmt.Sprintf("tokend: %v\n", err)
	status := statusOf(err)
	if status == exitUsage {
		text += fmt.Sprintf("  See: %s --help\n", call.Path)
	}
	withTimeout(func() { _, _ = io.WriteString(stderr, cli.Message(stderr, text)) }) // the log, which run wrote to, may block
	return status
}

func (p *program) root() *cli.Command {
	return &cli.Command{
		Name:  "tokend",
		Short: "Holds keys and serves fresh access tokens",
		Long: `  tokend demo                       see it work, with issuers of its own
  tokend setup                      choose where secrets are kept, once
  tokend install                    serve from now on, as your own service
  tokend run                        serve now, without one; then: tokenctl add

tokend keeps private keys and client secrets in the OS keyring, obtains access
tokens with them, renews them ahead of their expiry, and serves them over a
Unix socket. tokenctl is how people and programs ask for them.

Exit status: 0 ok, 1 failure, 2 wrong usage, 3 tokend is already running,
4 the keystore cannot be opened, 5 no socket can be made at its place,
78 the configuration is bad or tokend is not set up.`,
		Commands: append([]*cli.Command{
			p.runCommand(), p.setupCommand(), p.newKeyCommand(), p.notifyCommand(), p.doctorCommand(), p.checkCommand(), demo.Command(cli.Prose(p.out)),
			{
				Name: "version", Short: "Print the version", Long: "  tokend version\n\nPrints the version.",
				Run: func(context.Context, *cli.Call) error {
					_, err := fmt.Fprintln(p.out, "tokend", versionText())
					return err
				},
			},
		}, append(p.backupCommands(), p.serviceCommands()...)...),
	}
}

func statusOf(err error) int {
	var exit *ui.Exit
	var start service.StartError
	switch {
	case errors.Is(err, cli.ErrUsage):
		return exitUsage
	case errors.As(err, &exit):
		return exit.Status
	case errors.As(err, &start):
		return start.Status
	case errors.Is(err, token.ErrKeystore), errors.Is(err, token.ErrLocked):
		return exitKeystore
	case errors.Is(err, token.ErrInvalid), errors.Is(err, errNotSetUp):
		return exitConfig
	}
	return exitFailure
}

// places are the flags that say where an installation lives.
type places struct {
	system                bool
	config, state, socket string
}

func (p *places) flags(f *cli.Flags) {
	f.BoolVar(&p.system, "system", false, "the system service's places: /etc/tokend, /var/lib/tokend, /run/tokend")
	f.Text("config", "string", "`DIR` of config.toml and profiles.d (default: the user's, or --system's)", absolute(&p.config))
	f.Text("state", "string", "`DIR` of tokend's own files (default: likewise)", absolute(&p.state))
	f.Text("socket", "string", "`PATH` of the socket (default: config.toml, $"+ipc.SocketEnv+", then the usual place)", absolute(&p.socket))
}

// absolute returns what reads a flag's path into to. A key in its place stays what it
// is, for store.Choice to refuse.
func absolute(to *string) func(path string) error {
	return func(path string) (err error) {
		if *to = path; !store.LooksLikeKey(path) {
			*to, err = filepath.Abs(path)
		}
		return err
	}
}

// dirs returns the installation's directories.
func (p places) dirs() (profile.Dirs, error) {
	dirs := profile.SystemDirs()
	if !p.system && (p.config == "" || p.state == "") {
		var err error
		if dirs, err = profile.UserDirs(); err != nil {
			return dirs, err
		}
	}
	return profile.Dirs{Config: cmp.Or(p.config, dirs.Config), State: cmp.Or(p.state, dirs.State)}, nil
}

// socketPath returns where to listen.
func (p places) socketPath(c profile.Config) (string, error) {
	if p.socket == "" && c.Socket == "" {
		if env := os.Getenv(ipc.SocketEnv); env != "" {
			return env, nil
		}
		// What the unit's RuntimeDirectory= made (systemd.exec(5)).
		if dirs := filepath.SplitList(os.Getenv("RUNTIME_DIRECTORY")); len(dirs) > 0 {
			return filepath.Join(dirs[0], ipc.SocketName), nil
		}
	}
	return p.serviceSocket(c)
}

// clientSocket returns where tokend answers, whatever is wrong with config.toml.
func (p places) clientSocket(dirs profile.Dirs) (string, error) {
	config, _ := profile.ReadConfig(dirs)
	return p.socketPath(config)
}

// serviceSocket returns where a service listens. $TOKEND_SOCKET does not count: it
// says where this shell's clients connect.
func (p places) serviceSocket(c profile.Config) (string, error) {
	if path := cmp.Or(p.socket, c.Socket); path != "" {
		return path, nil
	}
	if p.system {
		return ipc.SystemSocket(), nil
	}
	return ipc.UserSocket()
}

func versionText() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "(devel)" {
		return cmp.Or(version, info.Main.Version, "devel")
	}
	return cmp.Or(version, "devel")
}
