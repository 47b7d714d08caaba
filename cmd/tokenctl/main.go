// Command tokenctl asks tokend for access tokens, signatures and verdicts, and
// manages the profiles that they are of.
package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"tokend/cmd/tokenctl/helper"
	"tokend/cmd/tokenctl/reference"
	"tokend/ipc"
	"tokend/providers/token"
)

// version is stamped by -ldflags "-X main.version=1.2.3".
var version = ""

func main() { os.Exit(run(os.Args, os.Stdin, os.Stdout, os.Stderr)) }

// run does what args ask for, args[0] being the name that the program was
// called by, and returns the exit status.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{in: stdin, out: newScreen(stdout), err: newScreen(stderr)}
	if p, profile, ok := helper.ByProgram(filepath.Base(args[0])); ok {
		return a.callHelper(p, profile, args[1:])
	}
	return a.execute(args[1:])
}

// execute runs the command that args name.
func (a *app) execute(args []string) int {
	c, err := a.root(args).ExecuteC()
	if err == nil {
		return exitOK
	}
	return a.fail(c, err)
}

// patience bounds the wait for tokend, which itself gives up on an issuer or a
// keyring earlier. get has a flag for it.
const patience = 2 * time.Minute

// An app is one run of the program.
type app struct {
	in       io.Reader
	out, err screen
	// socket and start are what --socket and --start say.
	socket string
	start  bool
	// profile is the one that the command is about, for hints.
	profile string
	// asked are the fields that were asked for at the terminal.
	asked []string
	// watching: the screen belongs to watch.
	watching bool
}

// A command is made only when it is needed.
type command struct {
	name  string
	build func() *cobra.Command
}

func (a *app) commands() []command {
	return []command{
		{"get", a.getCommand},
		{"curl", a.curlCommand},
		{"exec", a.execCommand},
		{"helper", a.helperCommand},
		{"setup", a.setupCommand},
		{"sign", a.signCommand},
		{"verify", a.verifyCommand},
		{"add", a.addCommand},
		{"import", a.importCommand},
		{"list", a.listCommand},
		{"show", a.showCommand},
		{"status", a.statusCommand},
		{"invalidate", a.invalidateCommand},
		{"rotate", a.rotateCommand},
		{"public-key", a.publicKeyCommand},
		{"remove", a.removeCommand},
		{"reload", a.reloadCommand},
		{"events", a.eventsCommand},
		{"doctor", a.doctorCommand},
		{"keystore", a.keystoreCommand},
		{"unlock", a.unlockCommand},
		{"explain", a.explainCommand},
		{"version", a.versionCommand},
	}
}

// root makes the root command with the command that args begin with, or with
// all of them if args begin otherwise: programs call tokenctl for every
// request of theirs, and making all commands makes a get a tenth slower.
func (a *app) root(args []string) *cobra.Command {
	var ownVersionOnly bool
	root := &cobra.Command{
		Use:   "tokenctl",
		Short: "Asks tokend for access tokens, signatures and verdicts",
		Long:  rootHelp,
		Args:  noCommand,
		RunE: func(c *cobra.Command, _ []string) error {
			if ownVersionOnly {
				return a.out.answer([]byte(versionLine()))
			}
			return a.overview(c)
		},
		SilenceErrors:     true,
		SilenceUsage:      true,
		DisableAutoGenTag: true,
	}
	root.SetArgs(args)
	root.SetOut(a.out.w)
	root.SetErr(a.err.w)
	root.SetHelpFunc(a.help)
	root.SetFlagErrorFunc(flagError)
	root.PersistentFlags().StringVar(&a.socket, "socket", "", "`PATH` of tokend's socket (default: $"+ipc.SocketEnv+", then the usual places)")

	root.PersistentFlags().BoolVar(&a.start, "start", false, "start a tokend of your own if none answers (or set "+startEnv+"=1)")
	root.Flags().BoolVar(&ownVersionOnly, "version", false, "print tokenctl's version")

	all := a.commands()
	if len(args) > 0 {
		if i := slices.IndexFunc(all, func(c command) bool { return c.name == args[0] }); i >= 0 {
			all = all[i : i+1]
			root.CompletionOptions.DisableDefaultCmd = true
		}
	}
	for _, c := range all {
		root.AddCommand(c.build())
	}
	if len(args) > 0 && args[0] == reference.Name {
		root.AddCommand(reference.New())
	}
	a.mendCompletion(root, args)
	return root
}

const rootHelp = `  tokenctl                                 how things stand, and what to do next
  tokenctl add                             keep a key or secret; asks for more
  tokenctl get clms                        print an access token
  tokenctl curl clms -- URL                run curl with it, unseen by others
  tokenctl exec clms --env TOKEN -- CMD    run a program with it
  tokenctl setup git URL                   have git, docker, go ... ask tokend
  tokenctl sign rock URL                   print the headers that sign a request
  tokenctl verify weather < token.txt      judge a token that somebody presented
  tokenctl status                          how the daemon and the profiles are

tokenctl asks tokend, the daemon that holds keys, keeps tokens fresh, signs
requests and verifies tokens.

Exit status:
` + exitStatuses

// daemon is the client for the daemon to talk to.
func (a *app) daemon() (*ipc.Client, error) {
	socket, err := a.socket, error(nil)
	if socket == "" {
		socket, err = ipc.FindSocket()
	}
	if err == nil {
		socket, err = filepath.Abs(socket)
	}
	d := &ipc.Client{Socket: socket}
	if a.starts() {
		d.Start = func(ctx context.Context) error { return a.startAt(ctx, socket) }
	}
	return d, err
}

// ask calls f with the daemon, and bounds its time.
func (a *app) ask(c *cobra.Command, f func(context.Context, *ipc.Client) error) error {
	return a.askFor(c, "Waiting for tokend", f)
}

// askFor is ask, with words for what is waited for.
func (a *app) askFor(c *cobra.Command, what string, f func(context.Context, *ipc.Client) error) error {
	d, err := a.daemon()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context(), patience)
	defer cancel()
	defer a.progress(what).end()
	return f(ctx, d)
}

// status asks how the daemon is.
func (a *app) status(c *cobra.Command) (st token.Status, err error) {
	err = a.ask(c, func(ctx context.Context, d *ipc.Client) error {
		st, err = d.Status(ctx)
		return err
	})
	return st, err
}

// profileStatus asks how one profile is.
func (a *app) profileStatus(c *cobra.Command, name string) (p token.ProfileStatus, err error) {
	err = a.ask(c, func(ctx context.Context, d *ipc.Client) error {
		p, err = d.Profile(ctx, name)
		return err
	})
	return p, err
}

// oneProfile takes exactly one argument, a profile's name.
func (a *app) oneProfile(c *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usage("%s takes one profile name and got %d", called(c), len(args))
	}
	a.profile = args[0]
	return nil
}

// perhapsProfile takes a profile's name or nothing.
func (a *app) perhapsProfile(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return a.oneProfile(c, args)
}

func noArguments(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage("%s takes no arguments and got %q", called(c), args[0])
	}
	return nil
}

// noCommand is reached when the first argument is no command.
func noCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, sub := range c.Commands() {
		names = append(names, sub.Name())
	}
	return usage("there is no command %q%s", args[0], didYouMean(args[0], names))
}

// completionPatience bounds how long a shell waits for the names of profiles.
const completionPatience = 2 * time.Second

// completeProfiles lists the profiles' names for the shell.
func (a *app) completeProfiles(c *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []cobra.Completion
	for _, p := range a.profiles(c.Context()) {
		names = append(names, cobra.CompletionWithDesc(printable(p.Name), printable(p.Provider)))
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// profiles lists the profiles if tokend tells them soon, for completions and
// hints, which are no place for an error.
func (a *app) profiles(ctx context.Context) []token.ProfileStatus {
	d, err := a.daemon()
	if err != nil {
		return nil
	}
	d.Start = nil // nobody asked for anything yet
	ctx, cancel := context.WithTimeout(ctx, completionPatience)
	defer cancel()
	st, err := d.Status(ctx)
	if err != nil {
		return nil
	}
	return st.Profiles
}
