package main

import (
	"context"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/ui"
	"tokend/ipc"
)

func removeCommand(e *ui.Env) *cli.Command {
	var yes bool
	return e.ForProfile(&cli.Command{
		Name:  "remove",
		Short: "Remove a profile and its secrets",
		Long: `  tokenctl remove clms
  tokenctl remove clms --yes        without asking first

Removes a profile: its secrets from the keystore, its tokens, and its file.
The key stays valid at the issuer until you revoke it there.`,
		Flags: func(f *cli.Flags) { f.BoolVar(&yes, "yes", false, "do not ask") },
		Run: func(ctx context.Context, _ *cli.Call) error {
			if t, ok := e.Terminal(); !yes && !ok {
				return cli.Usage("remove asks first, which needs a terminal; without one use --yes")
			} else if !yes {
				ok, err := t.Confirm("Remove the profile " + e.Profile + " and its secrets?")
				if err == nil && !ok {
					t.Out.Print("Nothing was removed.\n")
				}
				if err != nil || !ok {
					return err
				}
			}
			return e.Do(ctx, "Removed "+e.Profile+", with its secrets and tokens.", func(d *ipc.Client, ctx context.Context) error {
				return d.Remove(ctx, e.Profile)
			})
		},
	})
}
