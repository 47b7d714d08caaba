package main

import (
	"context"
	"io"
	"os"
	"strings"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/form"
	"tokend/cmd/tokenctl/ui"
	"tokend/ipc"
	"tokend/providers/token"
)

const invalidateHelp = `  tokenctl invalidate clms
  printf %s "$TOKEN" | tokenctl invalidate clms --token-file -

Has tokend drop a token that an API refused, so that the next get obtains
another. With --token-file it drops that very token, and nothing if tokend has
a newer one already: the right thing for programs that run side by side.`

func invalidateCommand(e *ui.Env) *cli.Command {
	var file string
	return &cli.Command{
		Name:  "invalidate",
		Args:  "NAME",
		Short: "Drop a token that an API refused",
		Long:  invalidateHelp,
		Flags: func(f *cli.Flags) {
			f.StringVar(&file, "token-file", "", "drop only the token in this `FILE`; - is stdin")
		},
		Check:    e.OneProfile,
		Complete: e.CompleteProfile,
		Run: func(ctx context.Context, _ *cli.Call) error {
			var t token.Secret
			if file != "" {
				text, err := readTokenFile(e, file, maxTokenFile)
				if err != nil {
					return err
				}
				t = token.NewSecret(strings.TrimSpace(text))
			}
			err := e.Ask(ctx, func(ctx context.Context, d *ipc.Client) error { return d.Invalidate(ctx, e.Profile, t) })
			if err != nil {
				return err
			}
			return e.Out.Answer("The next get of " + ui.Printable(e.Profile) + " returns another token.\n")
		},
	}
}

// tokenFile is the flag --token-file, whose value may by mistake be a token.
var tokenFile = form.Input{Label: "--token-file", Typed: true}

// The sizes of tokens in a file, in bytes: of any, and of one to verify.
const (
	maxTokenFile = 256 << 10
	maxPresented = 64 << 10
)

// readTokenFile reads the token that --token-file names; - is stdin. An empty
// file is an error: it must not mean the current token.
func readTokenFile(e *ui.Env, file string, most int) (string, error) {
	in := e.In
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return "", tokenFile.Unreadable(file, err)
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, int64(most)+1))
	switch {
	case err != nil:
		return "", tokenFile.Unreadable(file, err)
	case len(b) > most:
		return "", cli.Usage("that is no token: it has more than %d bytes", most)
	case strings.TrimSpace(string(b)) != "":
		return string(b), nil
	case file == "-":
		return "", cli.Usage("there is no token on stdin")
	}
	return "", tokenFile.Empty(file)
}
