package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/helper"
	"tokend/cmd/tokenctl/ui"
	"tokend/providers/token"
)

const helperText = `  tokenctl helper git get
  tokenctl helper kube --profile aks
  tokenctl setup git https://dev.azure.com/org

Answers tools that ask for credentials, in their own protocols. You need not run
it: tokenctl setup configures the tools. The profile is the one whose hosts
match the tool's URL, or --profile. If a tool looks for a program with a certain
name, that name is a link to tokenctl.

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
		Name:     "helper",
		Args:     "PROTOCOL [--profile NAME] [ARGUMENT...]",
		Short:    "Answer a tool's request for credentials",
		Long:     text,
		RawArgs:  true, // what follows is in the tool's own form
		Check:    cli.AnyArgs,
		Complete: cli.First(func() []cli.Candidate { return protocols }),
		Run: func(ctx context.Context, c *cli.Call) error {
			if len(c.Args) == 0 || c.Args[0] == "--help" || c.Args[0] == "-h" {
				return e.Out.Answer(c.Help())
			}
			i := slices.IndexFunc(protocols, func(p cli.Candidate) bool { return p.Text == c.Args[0] })
			if i < 0 {
				return cli.Usage("there is no helper protocol %q", c.Args[0])
			}
			return serveHelper(ctx, e, helper.Protocols[i], helper.Call{Args: c.Args[1:]})
		},
	}
}

// runAsHelper serves a tool that calls tokenctl by the name of a helper, and
// returns the exit status.
func runAsHelper(ctx context.Context, e *ui.Env, p helper.Protocol, profile string, args []string) int {
	err := serveHelper(ctx, e, p, helper.Call{Args: args, Profile: profile})
	if err == nil {
		return ui.ExitOK
	}
	if _, ok := errors.AsType[*ui.Exit](err); !ok {
		e.Err.Print(p.Program + ": " + explainToTool(e, err))
	}
	return ui.ExitFailure
}

// helperFlags takes our own flags off the front of a call's arguments.
func helperFlags(e *ui.Env, call *helper.Call) error {
	for len(call.Args) > 0 {
		name, value, joined := strings.Cut(call.Args[0], "=")
		if name != "--profile" && name != "--host" && name != "--socket" {
			break
		}
		call.Args = call.Args[1:]
		if !joined && len(call.Args) > 0 {
			value, call.Args = call.Args[0], call.Args[1:]
		}
		switch {
		case value == "":
			return cli.Usage("%s needs a value", name)
		case name == "--socket":
			e.Socket = value
		case name == "--profile":
			call.Profile = value
		default:
			call.Hosts = append(call.Hosts, token.WithoutUser(value))
		}
	}
	return nil
}

// helperPatience bounds a call of a helper. Tests shorten it.
var helperPatience = helper.Patience

// serveHelper serves one call of a helper.
func serveHelper(ctx context.Context, e *ui.Env, p helper.Protocol, call helper.Call) error {
	if err := helperFlags(e, &call); err != nil {
		return err
	}
	d, err := e.Client()
	if err != nil {
		return err
	}
	e.Profile = call.Profile
	d.Deadline = time.Now().Add(helperPatience)
	call.In, call.Out, call.Err = e.In, e.Out.W, e.Err.W
	call.Daemon = d
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
