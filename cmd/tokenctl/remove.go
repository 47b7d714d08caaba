package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"tokend/ipc"
)

func (a *app) removeCommand() *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use:   "remove NAME",
		Short: "Remove a profile and its secrets",
		Long: `  tokenctl remove clms
  tokenctl remove clms --yes        without being asked

Removes a profile: its secrets from the keystore, its tokens, and its file.
The key stays valid at the issuer until it is revoked there.`,
		Args:              a.oneProfile,
		ValidArgsFunction: a.completeProfiles,
		RunE: func(c *cobra.Command, args []string) error {
			ok, err := a.sure(args[0], yes)
			if err != nil || !ok {
				return err
			}
			err = a.ask(c, func(ctx context.Context, d *ipc.Client) error { return d.Remove(ctx, args[0]) })
			if err != nil {
				return err
			}
			return a.out.answer(fmt.Appendf(nil, "%s is removed, with its secrets and tokens.\n", printable(args[0])))
		},
	}
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return c
}

// sure asks whether a profile is really to be removed.
func (a *app) sure(name string, yes bool) (bool, error) {
	if yes {
		return true, nil
	}
	t, ok := a.terminal()
	if !ok {
		return false, usage("remove asks first, and there is nobody to ask; say --yes")
	}
	ok, err := t.confirm("Remove the profile " + name + " and its secrets?")
	if err == nil && !ok {
		t.out.print("Nothing is removed.\n")
	}
	return ok, err
}
