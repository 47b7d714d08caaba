package main

import (
	"context"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/ui"
	"tokend/ipc"
)

func removeCommand(e *ui.Env) *cli.Command {
	var yes bool
	return &cli.Command{
		Name:  "remove",
		Args:  "NAME",
		Short: "Remove a profile and its secrets",
		Long: `  tokenctl remove clms
  tokenctl remove clms --yes        without asking first

Removes a profile: its secrets from the keystore, its tokens, and its file.
The key stays valid at the issuer until you revoke it there.`,
		Flags:    func(f *cli.Flags) { f.BoolVar(&yes, "yes", false, "do not ask") },
		Check:    e.OneProfile,
		Complete: e.CompleteProfile,
		Run: func(ctx context.Context, _ *cli.Call) error {
			if !yes {
				ok, err := confirmRemoval(e)
				if err != nil || !ok {
					return err
				}
			}
			err := e.Ask(ctx, func(ctx context.Context, d *ipc.Client) error { return d.Remove(ctx, e.Profile) })
			if err != nil {
				return err
			}
			return e.Out.Answer("Removed " + ui.Printable(e.Profile) + ", with its secrets and tokens.\n")
		},
	}
}

// confirmRemoval asks the user whether to remove the profile.
func confirmRemoval(e *ui.Env) (bool, error) {
	t, ok := e.Terminal()
	if !ok {
		return false, cli.Usage("remove asks first, which needs a terminal; say --yes")
	}
	ok, err := t.Confirm("Remove the profile " + e.Profile + " and its secrets?")
	if err == nil && !ok {
		t.Out.Print("Nothing was removed.\n")
	}
	return ok, err
}
