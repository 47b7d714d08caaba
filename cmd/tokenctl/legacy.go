package main

import (
	"context"
	"os"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/ui"
)

// An app is one run of add, import or rotate.
type app struct {
	*ui.Env
	ctx context.Context
}

func addCommand(e *ui.Env) *cli.Command {
	var w wish
	return &cli.Command{
		Name: "add", Args: "[NAME] [FILE] [--provider PROVIDER]", Short: "Make a profile: settings, and a key or secret", Long: addHelp,
		Flags: func(f *cli.Flags) {
			f.StringVar(&w.provider, "provider", "", "`PROVIDER`: clms, azure, aspose, oauth2, jwt-bearer, datarock,\nioxio, jwt-verify")
			e.FlagFor = addFlag
			w.credential.flags(f)
			w.said.flags(f)
			f.Complete("provider", func([]string) []cli.Candidate { return (&app{e, context.Background()}).completeProviders() })
		},
		Check: func(_ context.Context, c *cli.Call) error { return w.nameAndFile(&app{Env: e}, c.Args) },
		Run:   func(ctx context.Context, c *cli.Call) error { return (&app{e, ctx}).add(c, w) },
	}
}

func rotateCommand(e *ui.Env) *cli.Command {
	var w turn
	return &cli.Command{
		Name: "rotate", Args: "NAME", Short: "Give a profile a new key or secret", Long: rotateHelp,
		Flags: func(f *cli.Flags) {
			e.FlagFor = rotateFlag
			w.credential.flags(f)
			f.Heading("Flags")
			f.BoolVar(&w.registered, "registered", false, "the new public key is registered: use the new key")
			f.BoolVar(&w.abandon, "abandon", false, "drop the new key that waits to be registered")
		},
		Check: e.OneProfile, Complete: e.CompleteProfile,
		Run: func(ctx context.Context, c *cli.Call) error { return (&app{e, ctx}).rotate(c, e.Profile, w) },
	}
}

func importCommand(e *ui.Env) *cli.Command {
	var im importing
	return &cli.Command{
		Name: "import", Args: "[PATH...]", Short: "Make profiles of the keys and secrets that you have", Long: importHelp,
		Flags: func(f *cli.Flags) {
			f.StringVar(&im.scope, "scope", "", "`SCOPE` of the tokens, in place of what a file says or leaves open")
			f.StringVar(&im.tokenURL, "token-url", "", "`URL` of the token endpoint, where a file does not name it")
			f.BoolVarP(&im.yes, "yes", "y", false, "do it without asking")
			f.BoolVar(&im.noCheck, "no-check", false, "do not obtain tokens to prove that they work")
			f.BoolVar(&im.json, "json", false, "print JSON; does nothing without --yes")
		},
		Check: cli.AnyArgs,
		Run: func(ctx context.Context, c *cli.Call) error {
			im.paths = c.Args
			return (&app{e, ctx}).importAll(c, im)
		},
	}
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// noSecretFlag words the error for a flag that would take a secret itself.
func noSecretFlag(c *cli.Call, name string) error {
	if flag := secretInArgv(name); flag != "" && c.Flags.Lookup(flag) != nil {
		return cli.Usage("there is no --%s: what stands on a command line is seen by every user (ps) and kept in the shell's history; use --%s FILE, or --%s - to read it from stdin", name, flag, flag)
	}
	return nil
}

// secretInArgv is the flag to use in place of one that would take a secret
// itself, "" if name means no secret.
func secretInArgv(name string) string {
	switch name {
	case "client-secret", "secret", "password", "api-key":
		return "client-secret-file"
	case "pfx-password":
		return "pfx-password-file"
	case "service-key-json", "service-key-file":
		return "service-key"
	case "private-key-file", "private-key-pem":
		return "private-key"
	}
	return ""
}

// addFlag is the flag of add for a field, empty for the name.
func addFlag(field string) string {
	if field == nameField {
		return ""
	}
	return flagFor(field)
}

// rotateFlag is the flag of rotate for a field: it has those of secrets alone.
func rotateFlag(field string) string {
	if secretInputFor(field).flag == "" {
		return ""
	}
	return flagFor(field)
}
