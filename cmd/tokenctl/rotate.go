package main

import (
	"context"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/form"
	"tokend/cmd/tokenctl/ui"
)

const rotateHelp = `  tokenctl rotate clms new-key.json
  tokenctl rotate azure --client-secret-file - --secret-expires 2027-01-31
  tokenctl rotate azure             asks for the new secret

Replaces a profile's key or secret. tokend obtains a token with the new one
before it drops the old one; if that fails, the old one stays in use. The
settings in the profile's file do not change.

Where the service must know the public key (datarock), tokend makes the new key
and uses the old one until you say that the new one is registered:
  tokenctl rotate rock              prints the new public key
  tokenctl rotate rock --registered puts the new key in use, drops the old one
  tokenctl rotate rock --abandon    drops the new key`

func rotateCommand(e *ui.Env) *cli.Command {
	s := form.New(e)
	return &cli.Command{
		Name:     "rotate",
		Args:     "NAME [FILE]",
		Short:    "Replace a profile's key or secret",
		Long:     rotateHelp,
		Flags:    s.RotateFlags,
		Check:    s.RotateArguments,
		Complete: e.CompleteProfile,
		Run:      func(ctx context.Context, _ *cli.Call) error { return s.Rotate(ctx) },
	}
}
