package main

import (
	"context"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/ui"
	"tokend/ipc"
)

func reloadCommand(e *ui.Env) *cli.Command {
	return &cli.Command{
		Name:  "reload",
		Short: "Have tokend read its configuration again",
		Long: `  tokenctl reload

Has tokend read config.toml and the profiles' files again. If a file is bad,
tokend names it and keeps what it had loaded before.`,
		Run: func(ctx context.Context, _ *cli.Call) error {
			err := e.Ask(ctx, func(ctx context.Context, d *ipc.Client) error { return d.Reload(ctx) })
			if err != nil {
				return err
			}
			return e.Out.Answer("tokend has reloaded its configuration.\n")
		},
	}
}
