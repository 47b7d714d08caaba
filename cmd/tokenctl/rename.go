package main

import (
	"context"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/ui"
	"tokend/ipc"
	"tokend/providers/token"
)

func renameCommand(e *ui.Env) *cli.Command {
	return &cli.Command{
		Name:  "rename",
		Args:  "OLD NEW",
		Short: "Rename a profile",
		Long: `  tokenctl rename clms land

Renames a profile, with its secrets and its file. Programs that use the old name
must then use the new one. If you have renamed the file yourself, this moves the
secrets to the new name.`,
		Check: func(ctx context.Context, c *cli.Call) error {
			if len(c.Args) != 2 {
				return cli.Usage("rename takes two names, the old one and the new one, not %d", len(c.Args))
			}
			e.Profile = c.Args[0]
			return token.CheckName(c.Args[1])
		},
		Complete: e.CompleteProfile,
		Run: func(ctx context.Context, c *cli.Call) error {
			err := e.Ask(ctx, func(ctx context.Context, d *ipc.Client) error { return d.Rename(ctx, e.Profile, c.Args[1]) })
			if err != nil {
				return err
			}
			return e.Say("Renamed " + e.Profile + " to " + c.Args[1] + ".")
		},
	}
}
