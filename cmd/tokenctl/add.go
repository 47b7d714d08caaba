package main

import (
	"context"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/form"
	"tokend/cmd/tokenctl/ui"
)

const addHelp = `  tokenctl add                      asks for everything; you can paste a key
  tokenctl add clms key.json        a file that names its provider: a CLMS
                                    service key, a Google service account, an
                                    Azure service principal

CLMS, with the service key that the portal showed:
  tokenctl add clms --service-key key.json

Azure, with a client secret (or --certificate app.pem, or --pfx app.pfx):
  tokenctl add api --provider azure --tenant contoso.com --client-id ID \
    --scope https://api.example.com/.default --client-secret-file secret.txt

One registration for several APIs, each with a token and hosts of its own:
  tokenctl add app --provider azure --tenant contoso.com --client-id ID \
    --client-secret-file secret.txt --resource-scope data=api://data/.default \
    --resource-scope maps=api://maps/.default \
    --resource-host maps=https://maps.example.com

Aspose, GroupDocs (there with --base-url https://api.groupdocs.cloud):
  tokenctl add docs --provider aspose --client-id ID --client-secret-file -

Any other issuer, with client credentials or a signed assertion:
  tokenctl add api --provider oauth2 --token-url https://id.example.com/token \
    --client-id ID --scope read --client-secret-file secret.txt
  tokenctl add api --provider jwt-bearer --issuer ID --private-key key.pem \
    --token-url https://id.example.com/token --claim box_sub_type=enterprise

Datarock: tokend makes the key and prints the public half to register:
  tokenctl add rock --provider datarock --email me@example.com

IOXIO, and any other issuer whose tokens you verify (no secret at all):
  tokenctl add weather --provider ioxio --dataspace https://ds.example.com \
    --dsi dpp://group:variant@ds.example.com/Weather/Current_v1.0
  tokenctl add api-in --provider jwt-verify --issuer https://id.example.com \
    --audience https://api.example.com

Makes a profile. The settings go to a file of its own, the secret to the
keystore. Before tokend saves anything, it obtains a token to prove that it
works. A secret comes from a file or stdin, or tokenctl asks for it without
echo. It is never a flag's value, which every user could see.`

func addCommand(e *ui.Env) *cli.Command {
	s := form.New(e)
	return &cli.Command{
		Name:  "add",
		Args:  "[NAME] [FILE] [--provider PROVIDER]",
		Short: "Add a profile: settings, and a key or secret",
		Long:  addHelp,
		Flags: s.AddFlags,
		Check: func(_ context.Context, c *cli.Call) error { return s.AddArguments(c.Args) },
		Run:   func(ctx context.Context, _ *cli.Call) error { return s.Add(ctx) },
	}
}

// noSecretFlag words the error for a flag that would take a secret itself.
func noSecretFlag(c *cli.Call, name string) error {
	flag := form.SecretFlag(name)
	if flag == "" || c.Flags.Lookup(flag) == nil {
		return nil
	}
	return cli.Usage("there is no --%s: every user can see a command line (ps), and the shell's history keeps it; use --%s FILE, or --%s - to read it from stdin", name, flag, flag)
}
