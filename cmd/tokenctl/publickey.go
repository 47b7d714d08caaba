package main

import (
	"context"
	"fmt"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/form"
	"tokend/cmd/tokenctl/ui"
	"tokend/providers/token"
)

const publicKeyHelp = `  tokenctl public-key rock
  tokenctl public-key rock --pending > new-key.pem

Prints a profile's public key in PEM, which you register with the service. With
--pending it prints the new key of a rotation that you have not finished.`

func publicKeyCommand(e *ui.Env) *cli.Command {
	var pending bool
	return e.ForProfile(&cli.Command{
		Name:  "public-key",
		Short: "Print the public key to register with the service",
		Long:  publicKeyHelp,
		Flags: func(f *cli.Flags) {
			f.BoolVar(&pending, "pending", false, "the new key, which waits to be registered")
		},
		Run: func(ctx context.Context, _ *cli.Call) error {
			p, err := e.ProfileStatus(ctx, e.Profile)
			if err != nil {
				return err
			}
			settings, problem := p.Settings, "has no public key to register"
			switch next := p.Pending; {
			case pending && next == nil:
				settings, problem = nil, "has no new key that waits to be registered"
			case pending:
				settings = next.Settings
			case next != nil:
				e.Notef("This is the current key. A new one waits to be registered: %s", ui.Typed("tokenctl public-key", ui.Printable(ui.Word(p.Name)), "--pending"))
			}
			key := form.PublicKey(settings)
			if key == "" {
				return &token.Error{Code: token.ErrInvalid, Message: fmt.Sprintf("the profile %s (%s) %s", p.Name, p.Provider, problem)}
			}
			return e.Out.Answer(key)
		},
	})
}
