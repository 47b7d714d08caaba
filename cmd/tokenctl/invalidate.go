package main

import (
	"bytes"
	"context"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/form"
	"tokend/cmd/tokenctl/ui"
	"tokend/ipc"
	"tokend/providers/token"
)

const invalidateHelp = `  tokenctl invalidate clms
  printf %s "$TOKEN" | tokenctl invalidate clms --token-file -

Drops a token that an API refused, so that the next get obtains another. If the
profile has resources, it drops all of their tokens. With --token-file it drops
only that token, and nothing if tokend has a newer one already: use this in
programs that run side by side.`

func invalidateCommand(e *ui.Env) *cli.Command {
	var file, resource string
	return e.ForProfile(&cli.Command{
		Name:  "invalidate",
		Short: "Drop a token that an API refused",
		Long:  invalidateHelp,
		Flags: func(f *cli.Flags) {
			e.ResourceFlag(f, &resource, "drop only the token of this one of the profile's resources")
			f.StringVar(&file, "token-file", "", "drop only the token in this `FILE`; - is stdin")
		},
		Run: func(ctx context.Context, _ *cli.Call) error {
			var t token.Secret
			if file != "" {
				text, err := tokenFile.Read(e, file)
				if err != nil {
					return err
				}
				t = token.NewSecret(string(bytes.TrimSpace(text)))
			}
			return e.Do(ctx, "The next get of "+e.Profile+" returns another token.", func(d *ipc.Client, ctx context.Context) error {
				return d.Invalidate(ctx, token.WithResource(e.Profile, resource), t)
			})
		},
	})
}

// tokenFile is the flag --token-file.
var tokenFile = form.Input{Label: "--token-file"}
