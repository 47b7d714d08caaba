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

Prints the public key of a profile in PEM, for you to register with the service:
the current one, or with --pending the new one of a rotation, which waits to be
registered.`

func publicKeyCommand(e *ui.Env) *cli.Command {
	var pending bool
	return &cli.Command{
		Name:  "public-key",
		Args:  "NAME",
		Short: "Print the public key to register with the service",
		Long:  publicKeyHelp,
		Flags: func(f *cli.Flags) {
			f.BoolVar(&pending, "pending", false, "the new key, which waits to be registered")
		},
		Check:    e.OneProfile,
		Complete: e.CompleteProfile,
		Run: func(ctx context.Context, _ *cli.Call) error {
			p, err := e.ProfileStatus(ctx, e.Profile)
			if err != nil {
				return err
			}
			key, err := publicKey(p, pending)
			if err != nil {
				return err
			}
			if p.Pending != nil && !pending {
				e.Notef("This is the current key. A new one waits to be registered: %s", ui.Typed("tokenctl public-key", ui.Printable(ui.Word(p.Name)), "--pending"))
			}
			return e.Out.Answer(key)
		},
	}
}

// publicKey is the current public key of a profile, or the pending one.
func publicKey(p token.ProfileStatus, pending bool) (string, error) {
	settings, problem := p.Settings, "has no public key to register"
	if pending {
		settings, problem = token.Settings{}, "has no new key that waits to be registered"
		if p.Pending != nil {
			settings = p.Pending.Settings
		}
	}
	key := form.PublicKey(settings)
	if key == "" {
		return "", &token.Error{Code: token.ErrInvalid, Message: fmt.Sprintf("the profile %s (%s) %s", p.Name, p.Provider, problem)}
	}
	return key, nil
}
