package main

import (
	"context"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/form"
	"tokend/cmd/tokenctl/ui"
)

const importHelp = `  tokenctl import                        the environment, and the usual places
  tokenctl import keys/ .env             files, and the files of folders
  tokenctl import sp.json --scope api://example/.default --yes

Makes profiles from the credentials that you already have. It shows what it will
do and asks first; without a terminal it needs --yes.
tokend obtains a token for each before it saves anything. The files and
variables stay as they are: at the end you see what you can delete.

It takes:
  CLMS service keys (JSON), Google service account keys
  variables in the environment and in .env files: AZURE_CLIENT_ID ...,
    ARM_CLIENT_ID ..., ASPOSE_CLIENT_ID ..., COPERNICUS_CLIENT_ID ...,
    PREFIX_CLIENT_ID with PREFIX_CLIENT_SECRET and PREFIX_TOKEN_URL
  service principals: az ad sp create-for-rbac, --sdk-auth, MSAL's
    parameters.json, ~/.azure/service_principal_entries.json
  oidc-agent clients as plain JSON (oidc-gen -p NAME prints an encrypted one)
  any JSON with client_id, client_secret and token_url

It lists what it cannot take, with the reason. More is in docs/import.md.`

func importCommand(e *ui.Env) *cli.Command {
	var r form.ImportRequest
	return &cli.Command{
		Name:  "import",
		Args:  "[PATH...]",
		Short: "Make profiles from the keys and secrets that you have",
		Long:  importHelp,
		Flags: r.Flags,
		Check: cli.AnyArgs,
		Run: func(ctx context.Context, c *cli.Call) error {
			r.Paths = c.Args
			return form.Import(ctx, e, r)
		},
	}
}
