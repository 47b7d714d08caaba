package main

import (
	"context"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/ui"
	"tokend/ipc"
	"tokend/providers/token"
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

func renameCommand(e *ui.Env) *cli.Command {
	return &cli.Command{
		Name:  "rename",
		Args:  "OLD NEW",
		Short: "Give a profile another name",
		Long: `  tokenctl rename clms land

Gives a profile another name, with its secrets and its file. Programs that ask
for the old name must then ask for the new one. If you renamed the file
yourself, this moves the secrets after it.`,
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
			return e.Out.Answer("Renamed " + ui.Printable(e.Profile) + " to " + c.Args[1] + ".\n")
		},
	}
}
