package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tokend/cmd/tokenctl/helper"
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

func (a *app) helperCommand() *cobra.Command {
	var names []cobra.Completion
	text := helperText
	for _, p := range helper.Protocols {
		names = append(names, cobra.CompletionWithDesc(p.Name, p.Doc))
		text += fmt.Sprintf("  %-10s %-29s %s\n", p.Name, p.Program, p.Doc)
	}
	return &cobra.Command{
		Use:                   "helper PROTOCOL [--profile NAME] [ARGUMENT...]",
		Short:                 "Answer a tool's request for credentials",
		Long:                  text,
		DisableFlagsInUseLine: true,
		DisableFlagParsing:    true, // what follows is in the tool's own form
		ValidArgsFunction:     cobra.FixedCompletions(names, cobra.ShellCompDirectiveNoFileComp),
		RunE: func(c *cobra.Command, args []string) error {
			var call helper.Call
			args, err := a.helperFlags(&call, args)
			if err != nil {
				return err
			}
			if len(args) == 0 || isHelp(args[0]) {
				return c.Help()
			}
			p, ok := helper.ByName(args[0])
			if !ok {
				return usage("there is no helper protocol %q", args[0])
			}
			if call.Args, err = a.helperFlags(&call, args[1:]); err != nil {
				return err
			}
			return a.serveHelper(c.Context(), p, call)
		},
	}
}

// callHelper serves a tool that calls tokenctl by the name of a helper.
func (a *app) callHelper(p helper.Protocol, profile string, args []string) int {
	call := helper.Call{Profile: profile}
	args, err := a.helperFlags(&call, args)
	if err == nil && len(args) > 0 && isHelp(args[0]) {
		return run([]string{"tokenctl", "helper", "--help"}, a.in, a.out.w, a.err.w)
	}
	if err == nil {
		call.Args = args
		err = a.serveHelper(context.Background(), p, call)
	}
	switch {
	case err == nil:
		return exitOK
	case !errors.Is(err, helper.ErrTold):
		a.err.print(p.Program + ": " + a.explain(err))
	}
	return exitFailure
}

func isHelp(arg string) bool { return arg == "--help" || arg == "-h" }

// helperFlags takes our own flags off the front of args.
func (a *app) helperFlags(call *helper.Call, args []string) ([]string, error) {
	into := map[string]func(string){
		"--profile": func(s string) { call.Profile = s },
		"--host":    func(s string) { call.Hosts = append(call.Hosts, s) },
		"--socket":  func(s string) { a.socket = s },
	}
	for len(args) > 0 {
		name, value, joined := strings.Cut(args[0], "=")
		set := into[name]
		if set == nil {
			break
		}
		args = args[1:]
		if !joined {
			if len(args) == 0 {
				return nil, usage("%s needs a value", name)
			}
			value, args = args[0], args[1:]
		}
		if value == "" && name != "--socket" {
			return nil, usage("%s is empty", name)
		}
		set(value)
	}
	return args, nil
}

// serveHelper serves one call of a helper.
func (a *app) serveHelper(ctx context.Context, p helper.Protocol, call helper.Call) error {
	d, err := a.daemon()
	if err != nil {
		return err
	}
	a.profile = call.Profile
	ctx, cancel := context.WithTimeout(ctx, helper.Patience)
	defer cancel()
	call.In, call.Out, call.Err = a.in, a.out.w, a.err.w
	call.Env, call.Now, call.Daemon, call.Explain = os.Getenv, time.Now, d, a.explain
	return p.Run(ctx, &call)
}

// explain words an error for a tool's user: what is wrong, and what to do.
func (a *app) explain(err error) string {
	text := err.Error()
	if errors.Is(err, context.DeadlineExceeded) {
		text = "tokend did not answer in time"
	}
	lines := printable(text) + "\n"
	for _, hint := range hints(err, situation{command: "get", profile: printable(a.profile), now: time.Now()}) {
		lines += wrap(hint, "  ")
	}
	return lines
}
