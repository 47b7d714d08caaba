package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokend/notify"
	"tokend/ipc"
)

func (p *program) notifyCommand() *cli.Command {
	hook := notify.Hook{Limit: 30 * time.Second}
	return &cli.Command{
		Name: "notify", Short: "Show on the desktop what needs you",
		Long: `  tokend notify
  tokend notify --hook /usr/local/bin/tell-me
  tokend install --notify           with your desktop session from now on

Follows your tokend and the machine's, and shows a desktop notification when a
credential expires within warn_ahead (config.toml), again at 7 days, 1 day and
its end, when the issuer refuses it, and when the keyring is locked. It takes
the notification back once nothing is left to do. Runs until stopped.

--hook runs a program for each of them, without a shell and without arguments.
It reads the event on standard input, a line of JSON like those of "tokenctl
events", with no token in it. One runs at a time, for at most 30 s, 10 an hour.`,
		Flags: func(f *cli.Flags) { f.StringVar(&hook.Path, "hook", "", "run the program at this `PATH` too") },
		Run: func(ctx context.Context, _ *cli.Call) error {
			out := cli.Prose(p.errOut)
			say := func(format string, args ...any) { fmt.Fprintf(out, "tokend notify: "+format+"\n", args...) }
			if hook.Path != "" {
				path, err := exec.LookPath(hook.Path)
				if err != nil {
					return cli.Usage("--hook takes the path of a program, and no arguments: %v", err)
				}
				hook.Path, _ = filepath.Abs(path)
			}
			own, err := (&serviceRequest{at: &p.at}).definition()
			if err != nil {
				return err
			}
			sockets := slices.Compact([]string{own.Socket, ipc.SystemSocket()})
			say("following %s", strings.Join(sockets, " and "))
			notify.Run(ctx, sockets, &hook, say)
			return nil
		},
	}
}
