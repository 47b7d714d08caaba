package main

import (
	"context"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"tokend/ipc"
	"tokend/providers/token"
)

const invalidateHelp = `  tokenctl invalidate clms
  printf %s "$TOKEN" | tokenctl invalidate clms --token-file -

Has tokend drop a token that an API refused, so that the next get obtains
another. With --token-file it drops that very token, and nothing if tokend has
a newer one already: the right thing for programs that run side by side.`

func (a *app) invalidateCommand() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:               "invalidate NAME",
		Short:             "Drop a token that an API refused",
		Long:              invalidateHelp,
		Args:              a.oneProfile,
		ValidArgsFunction: a.completeProfiles,
		RunE: func(c *cobra.Command, args []string) error {
			t, err := a.readToken(file)
			if err != nil {
				return err
			}
			err = a.ask(c, func(ctx context.Context, d *ipc.Client) error { return d.Invalidate(ctx, args[0], t) })
			if err != nil {
				return err
			}
			return a.out.answer([]byte("The next get of " + printable(args[0]) + " does not have that token.\n"))
		},
	}
	c.Flags().StringVar(&file, "token-file", "", "drop only the token in this `FILE`; - is stdin")
	return c
}

// tokenFile is the flag --token-file, whose value may by mistake be a token.
func tokenFile() secretInput { return secretInput{flag: "token-file", typed: true} }

// maxToken bounds the size of a token in a file, in bytes.
const maxToken = 256 << 10

// readToken reads the token that a flag names, the zero Secret if it names
// none. An empty file is an error: it must not mean whatever is current.
func (a *app) readToken(file string) (token.Secret, error) {
	in := a.in
	switch file {
	case "":
		return token.Secret{}, nil
	case "-":
	default:
		f, err := os.Open(file)
		if err != nil {
			return token.Secret{}, badFile(tokenFile(), file, err)
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, maxToken+1))
	text := strings.TrimSpace(string(b))
	switch {
	case err != nil:
		return token.Secret{}, badFile(tokenFile(), file, err)
	case text == "":
		return token.Secret{}, emptyFile(tokenFile(), file)
	case len(b) > maxToken:
		return token.Secret{}, usage("--token-file: more than %d bytes; that is no token", maxToken)
	}
	return token.NewSecret(text), nil
}
