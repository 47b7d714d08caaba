package main

import (
	"context"
	"strings"

	"tokend/cmd/tokenctl/child"
	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/ui"
	"tokend/providers/token/format"
)

const curlHelp = `  tokenctl curl api -- -sS --fail-with-body https://api.example.com/data
  tokenctl curl rock -- https://api.prod.datarock.com.au/v3/projects

Runs curl with the profile's credential: an access token, or a signature for
the URL. No other process sees it, and it goes to the profile's hosts only.
What follows NAME is for curl, and the exit status is curl's own. If the API
answers 401, the request is repeated once with a new token, unless it reads
stdin or a pipe, uses -D, -J or -C, was redirected, or the API says that it
wants a subscription key, or another scope or audience.

tokenctl refuses options that could send the credential elsewhere, and does not
read ~/.curlrc. {} and [] in a URL stand for themselves. -L works if the
profile's hosts cover the whole site; it leaves the credential behind at another
host, and fails at another port or at http. -v shows the credential.`

func curlCommand(e *ui.Env) *cli.Command {
	return &cli.Command{
		Name:       "curl",
		Args:       "NAME [--] ARGS...",
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
			if len(args) < 2 {
				return cli.Usage("curl needs a profile name and curl's arguments, such as a URL")
			}
			e.Profile = args[0]
			return child.Curl(ctx, e, args[0], args[1:])
		},
	}
}

const execHelp = `  tokenctl exec npm --env NPM_TOKEN -- npm install
  tokenctl exec clms --file GDAL_HTTP_HEADER_FILE -o header -- gdalinfo ...
  tokenctl exec devops --git -- git clone https://dev.azure.com/org/app
  tokenctl exec --azure-msi kalibrate -- ./program-with-an-Azure-SDK

Runs a program that cannot ask for a token itself. Only this program gets the
token, and only while it runs:

  --env VAR    the token in an environment variable; it is not renewed there
  --file VAR   the name of a private file in the variable; tokenctl keeps the
               token in it fresh while the program runs, and then removes it
  --git        git, and what calls git, asks tokend for the profile's hosts
  --azure-msi  a managed identity of Azure App Service, on loopback, which all
               Azure SDKs know, for these profiles

Signals and the exit status are passed on. 126 means that the program cannot be
run, 127 that it was not found.`

func execCommand(e *ui.Env) *cli.Command {
	r := child.Request{Format: format.Names[0]}
	var scopes []string
	return &cli.Command{
		Name:  "exec",
		Args:  "[NAME] [flags] -- COMMAND [ARGUMENT...]",
		Short: "Run a program with a token",
		Long:  execHelp,
		Flags: func(f *cli.Flags) {
			f.ListVar(&r.Env, "env", "environment variable `VAR` gets the token; repeatable")
			f.ListVar(&r.Files, "file", "environment variable `VAR` gets the name of a file with the token; repeatable")
			f.BoolVar(&r.Git, "git", false, "have git ask tokend")
			f.Text("azure-msi", "PROFILES", "profiles for Azure SDKs, separated by commas", func(text string) error {
				r.MSI = append(r.MSI, strings.Split(text, ",")...)
				return nil
			})
			f.StringVar(&r.Format, "output, o", r.Format, "`FORMAT` of --env and --file: token, header, json, env or curl")
			f.Span(&r.Query.MinTTL, "min-ttl", "least remaining life, as `TIME`: 10m, 90s, or seconds")
			f.ListVar(&scopes, "scope", "`SCOPE` in place of the profile's; repeatable")
			f.BoolVar(&r.Query.Second, "second-header", false, "the profile's second header too, where FORMAT can hold it")
			f.StringVar(&r.Query.Audience, "audience", "", "`AUDIENCE` or resource in place of the profile's")
			f.Complete("output", cli.Words(format.Names[:]...))
			f.Complete("azure-msi", e.CompleteProfiles)
		},
		Check:    func(_ context.Context, c *cli.Call) error { return checkExec(e, c) },
		Complete: e.CompleteProfile,
		Run: func(ctx context.Context, c *cli.Call) error {
			r.Profile, r.Query.Scope = e.Profile, strings.Join(scopes, " ")
			return child.Exec(ctx, e, r, c.Args[c.Dash:])
		},
	}
}

// checkExec takes a profile's name or none, and a command after --.
func checkExec(e *ui.Env, c *cli.Call) error {
	dash := c.Dash
	switch {
	case dash < 0:
		return cli.Usage("write -- before the command that exec is to run")
	case dash == len(c.Args):
		return cli.Usage("there is no command after --")
	case dash > 1:
		return cli.Usage("exec takes one profile name before --, not %d", dash)
	case dash == 1:
		e.Profile = c.Args[0]
	}
	return nil
}
