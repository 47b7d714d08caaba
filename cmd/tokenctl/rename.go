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
			return e.Do(ctx, "Renamed "+e.Profile+" to "+c.Args[1]+".", func(d *ipc.Client, ctx context.Context) error {
				return d.Rename(ctx, e.Profile, c.Args[1])
			})
		},
	}
}
