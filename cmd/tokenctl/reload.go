package main

import (
	"context"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/ui"
	"tokend/ipc"
	"tokend/providers/token"
)

func reloadCommand(e *ui.Env) *cli.Command {
	return &cli.Command{
		Name:  "reload",
		Short: "Reload tokend's configuration",
		Long: `  tokenctl reload

Makes tokend read config.toml and the profiles' files again. If a file is bad,
tokend names it and keeps the settings that it had loaded before. It also says
which settings need a restart.`,
		Run: func(ctx context.Context, _ *cli.Call) error {
			st, err := ui.Ask(ctx, e, func(d *ipc.Client, ctx context.Context) (token.Status, error) {
				if err := d.Reload(ctx); err != nil {
					return token.Status{}, err
				}
				return d.Status(ctx)
			})
			if err != nil {
				return err
			}
			return e.Out.Answer("tokend has reloaded its configuration.\n" + e.Out.Section("But", ui.Warn, st.Warnings))
		},
	}
}
