// Command tokenctl gets access tokens, signatures and verdicts from tokend, and
// manages its profiles.
package main

import (
	"context"
	"io"
	"os"
	"path/filepath"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/helper"
	"tokend/cmd/tokenctl/launch"
	"tokend/cmd/tokenctl/ui"
	"tokend/ipc"
)

// version is stamped by -ldflags "-X main.version=1.2.3".
var version = ""

func main() { os.Exit(run(os.Args, os.Stdin, os.Stdout, os.Stderr)) }

// run does what args ask for, args[0] being the name that the program was
// called by, and returns the exit status.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	e := &ui.Env{In: stdin, Out: ui.NewScreen(stdout), Err: ui.NewScreen(stderr), Starts: launch.IsWanted()}
	e.Start = func(ctx context.Context, socket string) error { return launch.At(ctx, e, socket) }
	ctx := context.Background()
	if p, profile, ok := helper.ByProgram(filepath.Base(args[0])); ok {
		return runAsHelper(ctx, e, p, profile, args[1:])
	}
	c, err := program(e).Execute(ctx, args[1:])
	if err == nil {
		return ui.ExitOK
	}
	return e.Report(err, ui.Hints(err, e.Situation(ctx, c, err)))
}

// program is the command line of tokenctl.
func program(e *ui.Env) *cli.Program {
	return &cli.Program{
		Out:         e.Out.W,
		Version:     versionLine,
		UnknownFlag: noSecretFlag,
		Shared: func(f *cli.Flags) {
			f.StringVar(&e.Socket, "socket", "", "`PATH` of tokend's socket (default: $"+ipc.SocketEnv+", then the usual places)")
			f.BoolVar(&e.Starts, "start", e.Starts, "start a tokend of your own if none answers (or set "+launch.Env+"=1)")
		},
		Root: &cli.Command{
			Name:     "tokenctl",
			Args:     "[COMMAND]",
			Short:    "Get access tokens, signatures and verdicts from tokend",
			Long:     rootHelp,
			Run:      func(ctx context.Context, c *cli.Call) error { return overview(ctx, e, c) },
			Commands: commandsOf(e),
		},
	}
}

// commands are all commands, each made only when it is called: programs launch
// tokenctl for every request of theirs.
var commands = []struct {
	name string
	new  func(*ui.Env) *cli.Command
}{
	{"get", getCommand}, {"curl", curlCommand}, {"exec", execCommand}, {"helper", helperCommand}, {"setup", setupCommand},
	{"sign", signCommand}, {"verify", verifyCommand}, {"add", addCommand}, {"import", importCommand}, {"list", listCommand},
	{"show", showCommand}, {"status", statusCommand}, {"invalidate", invalidateCommand}, {"rotate", rotateCommand}, {"edit", editCommand},
	{"public-key", publicKeyCommand}, {"remove", removeCommand}, {"rename", renameCommand}, {"reload", reloadCommand}, {"events", eventsCommand},
	{"audit", auditCommand}, {"logs", logsCommand}, {"doctor", doctorCommand}, {"keystore", keystoreCommand}, {"unlock", unlockCommand}, {"explain", explainCommand},
	{"version", versionCommand},
}

func commandsOf(e *ui.Env) []*cli.Command {
	list := make([]*cli.Command, len(commands))
	for i, c := range commands {
		list[i] = &cli.Command{Name: c.name, New: func() *cli.Command { return c.new(e) }}
	}
	return list
}

const rootHelp = `  tokenctl                                 see what runs, and what to do next
  tokenctl add                             save a key or secret; asks for more
  tokenctl get clms                        print an access token
  tokenctl curl clms -- URL                run curl with it, unseen by others
  tokenctl exec clms --env TOKEN -- CMD    run a program with it
  tokenctl setup git URL                   have git, docker, go ... ask tokend
  tokenctl sign rock URL                   print the headers that sign a request
  tokenctl verify weather < token.txt      check a token that a caller presented
  tokenctl status                          the state of tokend and its profiles

tokenctl is the client of tokend, the daemon that holds keys, keeps tokens
fresh, signs requests and verifies tokens.

Exit status:
` + ui.ExitStatuses

// answer prints v as JSON, or text.
func answer(e *ui.Env, asJSON bool, v any, text string) error {
	if asJSON {
		return e.Out.AnswerJSON(v)
	}
	return e.Out.Answer(text)
}

// jsonFlag defines --json.
func jsonFlag(asJSON *bool) func(*cli.Flags) {
	return func(f *cli.Flags) { f.BoolVar(asJSON, "json", false, "print JSON") }
}
