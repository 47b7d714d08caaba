package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/helper"
	"tokend/cmd/tokenctl/ui"
)

const helperText = `  tokenctl helper git get
  tokenctl helper kube --profile aks
  tokenctl setup git https://dev.azure.com/org

Answers tools that ask for credentials, in their own protocols. Tools call it;
tokenctl setup writes what they need to know. The profile is the one whose
hosts cover the URL that the tool names, or --profile. Where a tool looks for a
program of a certain name, that name is a link to tokenctl.

  --profile NAME  only this profile
  --host URL      goauth: what to send a token to at once; repeatable

Protocols and program names:
`

func helperCommand(e *ui.Env) *cli.Command {
	var protocols []cli.Candidate
	text := helperText
	for _, p := range helper.Protocols {
		protocols = append(protocols, cli.Candidate{Text: p.Name, Doc: p.Doc})
		text += fmt.Sprintf("  %-10s %-29s %s\n", p.Name, p.Program, p.Doc)
	}
	return &cli.Command{
		Name:    "helper",
		Args:    "PROTOCOL [--profile NAME] [ARGUMENT...]",
		Short:   "Answer a tool's request for credentials",
		Long:    text,
		RawArgs: true, // what follows is in the tool's own form
		Check:   cli.AnyArgs,
		Complete: func(args []string) []cli.Candidate {
			if len(args) > 0 {
				return nil
			}
			return protocols
		},
		Run: func(ctx context.Context, c *cli.Call) error {
			var call helper.Call
			args, err := helperFlags(e, &call, c.Args)
			if err != nil {
				return err
			}
			if len(args) == 0 || isHelp(args[0]) {
				return e.Out.Answer(c.Help())
			}
			p, ok := helper.ByName(args[0])
			if !ok {
				return cli.Usage("there is no helper protocol %q", args[0])
			}
			if call.Args, err = helperFlags(e, &call, args[1:]); err != nil {
				return err
			}
			return serveHelper(ctx, e, p, call)
		},
	}
}

// runAsHelper serves a tool that calls tokenctl by the name of a helper, and
// returns the exit status.
func runAsHelper(ctx context.Context, e *ui.Env, p helper.Protocol, profile string, args []string) int {
	call := helper.Call{Profile: profile}
	args, err := helperFlags(e, &call, args)
	if err == nil && len(args) > 0 && isHelp(args[0]) {
		_, err = program(e).Execute(ctx, []string{"helper", "--help"})
	} else if err == nil {
		call.Args = args
		err = serveHelper(ctx, e, p, call)
	}
	var exit *ui.Exit
	switch {
	case err == nil:
		return ui.ExitOK
	case !errors.As(err, &exit):
		e.Err.Print(p.Program + ": " + explainToTool(e, err))
	}
	return ui.ExitFailure
}

func isHelp(arg string) bool { return arg == "--help" || arg == "-h" }

// helperFlags takes our own flags off the front of args.
func helperFlags(e *ui.Env, call *helper.Call, args []string) ([]string, error) {
	for len(args) > 0 {
		name, value, joined := strings.Cut(args[0], "=")
		if name != "--profile" && name != "--host" && name != "--socket" {
			break
		}
		args = args[1:]
		if !joined {
			if len(args) == 0 {
				return nil, cli.Usage("%s needs a value", name)
			}
			value, args = args[0], args[1:]
		}
		switch {
		case name == "--socket":
			e.Socket = value
		case value == "":
			return nil, cli.Usage("%s is empty", name)
		case name == "--profile":
			call.Profile = value
		case name == "--host":
			call.Hosts = append(call.Hosts, value)
		}
	}
	return args, nil
}

// helperPatience bounds a call of a helper. Tests shorten it.
var helperPatience = helper.Patience

// serveHelper serves one call of a helper.
func serveHelper(ctx context.Context, e *ui.Env, p helper.Protocol, call helper.Call) error {
	d, err := e.Client()
	if err != nil {
		return err
	}
	e.Profile = call.Profile
	ctx, cancel := context.WithTimeout(ctx, helperPatience)
	defer cancel()
	call.In, call.Out, call.Err = e.In, e.Out.W, e.Err.W
	call.Env, call.Daemon = os.Getenv, d
	call.Explain = func(err error) string { return explainToTool(e, err) }
	err = p.Run(ctx, &call)
	if errors.Is(err, helper.ErrReported) {
		return &ui.Exit{Status: ui.ExitFailure}
	}
	return err
}

// explainToTool words an error for a tool's user: what is wrong, and what to
// do.
func explainToTool(e *ui.Env, err error) string {
	lines := ui.Printable(ui.Message(err)) + "\n"
	for _, hint := range ui.Hints(err, ui.Situation{Command: "get", Profile: ui.Printable(e.Profile), Now: time.Now()}) {
		lines += ui.Wrap(hint, "  ")
	}
	return lines
}
