package main

import (
	"context"
	"strings"

	"tokend/cmd/tokenctl/child"
	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/ui"
	"tokend/providers/token"
	"tokend/providers/token/format"
)

const execHelp = `  tokenctl exec npm --env NPM_TOKEN -- npm install
  tokenctl exec clms --file GDAL_HTTP_HEADER_FILE -o header -- gdalinfo ...
  tokenctl exec devops --git -- git clone https://dev.azure.com/org/app
  tokenctl exec --azure-msi kalibrate -- ./program-with-an-Azure-SDK

Runs a program that cannot ask for a token itself. Only this program gets the
token, and only while it runs:

  --env VAR    puts the token into VAR, where it is not renewed
  --file VAR   puts the name of a private file into VAR; tokenctl keeps a fresh
               token in the file while the program runs, and then removes it
  --git        lets git, and what calls git, ask tokend for the profile's hosts
  --azure-msi  offers these profiles as a managed identity of Azure App Service,
               on loopback, as all Azure SDKs know it

exec passes on signals and the exit status. 126 means that the program cannot be
run, 127 that it was not found.`

func execCommand(e *ui.Env) *cli.Command {
	r := child.Request{Format: format.Names[0]}
	var scopes []string
	var resource string
	return &cli.Command{
		Name:  "exec",
		Args:  "[NAME] [flags] -- COMMAND [ARGUMENT...]",
		Short: "Run a program with a token",
		Long:  execHelp,
		Flags: func(f *cli.Flags) {
			f.ListVar(&r.Env, "env", "environment variable `VAR` gets the token; repeatable")
			f.ListVar(&r.Files, "file", "environment variable `VAR` gets the name of a file with the token; repeatable")
			f.BoolVar(&r.Git, "git", false, "let git ask tokend")
			f.Text("azure-msi", "PROFILES", "profiles for Azure SDKs, separated by commas", func(text string) error {
				r.MSI = append(r.MSI, strings.Split(text, ",")...)
				return nil
			})
			f.StringVar(&r.Format, "output, o", r.Format, "`FORMAT` of --env and --file: token, header, json, env or curl")
			f.Span(&r.Query.MinTTL, "min-ttl", "least remaining life, as `TIME`: 10m, 90s, or seconds")
			e.ResourceFlag(f, &resource, "the token of this one of the profile's resources")
			f.ListVar(&scopes, "scope", "`SCOPE` instead of the profile's; repeatable")
			f.BoolVar(&r.Query.Second, "second-header", false, "the profile's second header too, where FORMAT can hold it")
			f.StringVar(&r.Query.Audience, "audience", "", "`AUDIENCE` or resource instead of the profile's")
			f.Complete("output", cli.Words(format.Names[:]...))
			f.Complete("azure-msi", e.CompleteProfiles)
		},
		Check: func(_ context.Context, c *cli.Call) error {
			switch {
			case c.Dash < 0:
				return cli.Usage("write -- before the command to run")
			case c.Dash == len(c.Args):
				return cli.Usage("there is no command after --")
			case c.Dash > 1:
				return cli.Usage("exec takes one profile name before --, not %d", c.Dash)
			}
			e.Profile = strings.Join(c.Args[:c.Dash], "")
			return nil
		},
		Complete: e.CompleteProfile,
		Run: func(ctx context.Context, c *cli.Call) error {
			r.Profile, r.Query.Scope = token.WithResource(e.Profile, resource), strings.Join(scopes, " ")
			return child.Exec(ctx, e, r, c.Args[c.Dash:])
		},
	}
}
