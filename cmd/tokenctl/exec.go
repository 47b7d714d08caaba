package main

import (
	"strings"

	"github.com/spf13/cobra"

	"tokend/cmd/tokenctl/child"
	"tokend/providers/token/format"
)

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

func (a *app) execCommand() *cobra.Command {
	r := child.Request{Format: format.Names[0]}
	var scopes []string
	c := &cobra.Command{
		Use:                   "exec [NAME] [FLAGS] -- COMMAND [ARGUMENT...]",
		Short:                 "Run a program with a token",
		Long:                  execHelp,
		Args:                  a.profileAndCommand,
		DisableFlagsInUseLine: true,
		ValidArgsFunction:     a.completeProfiles,
		RunE: func(c *cobra.Command, args []string) error {
			e, err := a.childEnv()
			if err != nil {
				return err
			}
			r.Profile, r.Query.Scope = a.profile, strings.Join(scopes, " ")
			if a.socket != "" {
				r.Socket = e.Client.Socket
			}
			return child.Exec(c.Context(), e, r, args[c.ArgsLenAtDash():])
		},
	}
	f := c.Flags()
	f.SortFlags = false
	f.StringArrayVar(&r.Env, "env", nil, "environment variable `VAR` gets the token; repeatable")
	f.StringArrayVar(&r.Files, "file", nil, "environment variable `VAR` gets the name of a file\nwith the token; repeatable")
	f.BoolVar(&r.Git, "git", false, "have git ask tokend")
	f.StringSliceVar(&r.MSI, "azure-msi", nil, "`PROFILES` for Azure SDKs, separated by commas")
	f.StringVarP(&r.Format, "output", "o", r.Format, "`FORMAT` of --env and --file: token, header, json, env or curl")
	f.Var((*span)(&r.Query.MinTTL), "min-ttl", "least remaining life, as `TIME`: 10m, 90s, or seconds")
	f.StringArrayVar(&scopes, "scope", nil, "`SCOPE` in place of the profile's; repeatable")
	f.StringVar(&r.Query.Audience, "audience", "", "`AUDIENCE` or resource in place of the profile's")
	return c
}

// profileAndCommand takes a profile's name or none, and a command after --.
func (a *app) profileAndCommand(c *cobra.Command, args []string) error {
	dash := c.ArgsLenAtDash()
	switch {
	case dash < 0:
		return usage("write -- before the command that exec is to run")
	case dash == len(args):
		return usage("there is no command after --")
	case dash > 1:
		return usage("exec takes one profile name before --, not %d", dash)
	case dash == 1:
		a.profile = args[0]
	}
	return nil
}

// childEnv is what curl and exec run programs with.
func (a *app) childEnv() (child.Env, error) {
	d, err := a.daemon()
	return child.Env{
		Client: d, In: a.in, Out: a.out.w, Err: a.err.w,
		Waiting: func(what string) func() { return a.progress(what).end },
		Warn:    func(text string) { a.note([]string{"Warning: " + printable(text)}) },
	}, err
}
