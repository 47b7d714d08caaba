package main

import (
	"context"
	"fmt"
	"os/exec"
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
		Flags: func(f *cli.Flags) {
			f.Text("hook", "string", "run the program at this `PATH` too", func(path string) (err error) {
				if hook.Path, err = exec.LookPath(path); err != nil {
					err = fmt.Errorf("it takes the path of a program, and no arguments: %w", err)
				}
				return err
			})
		},
		Run: func(ctx context.Context, _ *cli.Call) error {
			dirs, err := p.at.dirs()
			if err != nil {
				return err
			}
			own, err := p.at.clientSocket(dirs)
			if err != nil {
				return err
			}
			out, sockets := cli.Prose(p.errOut), slices.Compact([]string{own, ipc.SystemSocket()})
			say := func(format string, args ...any) { fmt.Fprintf(out, "tokend notify: "+format+"\n", args...) }
			say("following %s", strings.Join(sockets, " and "))
			notify.Run(ctx, sockets, &hook, say)
			return nil
		},
	}
}
