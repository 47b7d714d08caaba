package main

import (
	"context"

	"tokend/cmd/tokenctl/child"
	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/ui"
)

const curlHelp = `  tokenctl curl https://api.example.com/data
  tokenctl curl api -- -sS --fail-with-body https://api.example.com/data
  tokenctl curl rock -- https://api.prod.datarock.com.au/v3/projects

Runs curl with the profile's credential: an access token, or a signature for
the URL. No other process sees it, and only the profile's hosts get it. With a
URL instead of NAME, tokenctl finds the profile by its hosts. What follows is
for curl, and the exit status is curl's. If the API answers 401, tokenctl
repeats the request once with a new token, unless the request reads stdin or a
pipe, uses -D, -J or -C, was redirected, or the API says that it wants a
subscription key, or another scope or audience.

tokenctl refuses options that could send the credential elsewhere, and does not
read ~/.curlrc. {} and [] in a URL stand for themselves. -L works if the
profile's hosts cover the whole site; another host does not get the credential,
and another port or http fails. -v shows the credential.`

func curlCommand(e *ui.Env) *cli.Command {
	return &cli.Command{
		Name:       "curl",
		Args:       "NAME|URL [--] ARGS...",
		Short:      "Run curl with the profile's credential",
		Long:       curlHelp,
		FlagsFirst: true, // what follows NAME is for curl
		Check:      cli.AnyArgs,
		Complete:   e.CompleteProfile,
		Run: func(ctx context.Context, c *cli.Call) error {
			args := c.Args
			if len(args) > 1 && args[1] == "--" {
				args = append(args[:1], args[2:]...)
			}
			switch {
			case len(args) > 0 && ui.IsURL(args[0]):
			case len(args) < 2:
				return cli.Usage("curl needs a URL, or a profile name and curl's arguments")
			default:
				e.Profile, args = args[0], args[1:]
			}
			return child.Curl(ctx, e, args)
		},
	}
}
