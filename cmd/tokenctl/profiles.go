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

const addHelp = `  tokenctl add                      asks for everything; you can paste a key
  tokenctl add clms key.json        a file that names its provider: a CLMS
                                    service key, a Google service account, an
                                    Azure service principal

CLMS, with the service key that the portal showed:
  tokenctl add clms --service-key key.json

Azure, with a client secret, a certificate, or a PFX file:
  tokenctl add api --provider azure --tenant contoso.com --client-id ID \
    --scope https://api.example.com/.default --client-secret-file secret.txt
  tokenctl add api --provider azure --tenant contoso.com --client-id ID \
    --scope https://api.example.com/.default --certificate app.pem
  tokenctl add api --provider azure --tenant contoso.com --client-id ID \
    --scope https://api.example.com/.default --pfx app.pfx

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
		Short: "Make a profile: settings, and a key or secret",
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

const importHelp = `  tokenctl import                        the environment, and the usual places
  tokenctl import keys/ .env             files, and the files of folders
  tokenctl import sp.json --scope api://example/.default --yes

Makes profiles of the credentials that you have already. It shows what it would
do and asks first; without a terminal it does nothing unless you give --yes.
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
		Short: "Make profiles of the keys and secrets that you have",
		Long:  importHelp,
		Flags: r.Flags,
		Check: cli.AnyArgs,
		Run: func(ctx context.Context, c *cli.Call) error {
			r.Paths = c.Args
			return form.Import(ctx, e, r)
		},
	}
}

const rotateHelp = `  tokenctl rotate clms new-key.json
  tokenctl rotate azure --client-secret-file - --secret-expires 2027-01-31
  tokenctl rotate azure             asks for the new secret

Gives a profile a new key or secret. tokend obtains a token with it before it
drops the old one; if that fails, the old one stays in use. The settings in the
profile's file do not change.

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
		Short:    "Give a profile a new key or secret",
		Long:     rotateHelp,
		Flags:    s.RotateFlags,
		Check:    s.RotateArguments,
		Complete: e.CompleteProfile,
		Run:      func(ctx context.Context, _ *cli.Call) error { return s.Rotate(ctx) },
	}
}

const invalidateHelp = `  tokenctl invalidate clms
  printf %s "$TOKEN" | tokenctl invalidate clms --token-file -

Has tokend drop a token that an API refused, so that the next get obtains
another. With --token-file it drops that very token, and nothing if tokend has
a newer one already: the right thing for programs that run side by side.`

func invalidateCommand(e *ui.Env) *cli.Command {
	var file string
	return e.ForProfile(&cli.Command{
		Name:  "invalidate",
		Short: "Drop a token that an API refused",
		Long:  invalidateHelp,
		Flags: func(f *cli.Flags) {
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
			err := e.Ask(ctx, func(ctx context.Context, d *ipc.Client) error { return d.Invalidate(ctx, e.Profile, t) })
			if err != nil {
				return err
			}
			return e.Say("The next get of " + e.Profile + " returns another token.")
		},
	})
}

// tokenFile is the flag --token-file.
var tokenFile = form.Input{Label: "--token-file"}

func removeCommand(e *ui.Env) *cli.Command {
	var yes bool
	return e.ForProfile(&cli.Command{
		Name:  "remove",
		Short: "Remove a profile and its secrets",
		Long: `  tokenctl remove clms
  tokenctl remove clms --yes        without asking first

Removes a profile: its secrets from the keystore, its tokens, and its file.
The key stays valid at the issuer until you revoke it there.`,
		Flags: func(f *cli.Flags) { f.BoolVar(&yes, "yes", false, "do not ask") },
		Run: func(ctx context.Context, _ *cli.Call) error {
			if t, ok := e.Terminal(); !yes && !ok {
				return cli.Usage("remove asks first, which needs a terminal; say --yes")
			} else if !yes {
				ok, err := t.Confirm("Remove the profile " + e.Profile + " and its secrets?")
				if err == nil && !ok {
					t.Out.Print("Nothing was removed.\n")
				}
				if err != nil || !ok {
					return err
				}
			}
			err := e.Ask(ctx, func(ctx context.Context, d *ipc.Client) error { return d.Remove(ctx, e.Profile) })
			if err != nil {
				return err
			}
			return e.Say("Removed " + e.Profile + ", with its secrets and tokens.")
		},
	})
}

func renameCommand(e *ui.Env) *cli.Command {
	return &cli.Command{
		Name:  "rename",
		Args:  "OLD NEW",
		Short: "Give a profile another name",
		Long: `  tokenctl rename clms land

Gives a profile another name, with its secrets and its file. Programs that ask
for the old name must then ask for the new one. If you renamed the file
yourself, this moves the secrets after it.`,
		Check: func(ctx context.Context, c *cli.Call) error {
			if len(c.Args) != 2 {
				return cli.Usage("rename takes two names, the old one and the new one, not %d", len(c.Args))
			}
			e.Profile = c.Args[0]
			return token.CheckName(c.Args[1])
		},
		Complete: e.CompleteProfile,
		Run: func(ctx context.Context, c *cli.Call) error {
			err := e.Ask(ctx, func(ctx context.Context, d *ipc.Client) error { return d.Rename(ctx, e.Profile, c.Args[1]) })
			if err != nil {
				return err
			}
			return e.Say("Renamed " + e.Profile + " to " + c.Args[1] + ".")
		},
	}
}
