package main

import (
	"context"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/ui"
	"tokend/ipc"
	"tokend/providers/token"
)

const signHelp = `  tokenctl sign rock 'https://mine.datarock.com.au/some-api?projectUuid=1'
  curl -K <(tokenctl sign rock URL -o curl)

Signs one request and prints the headers that go with it. The service accepts it
for a few minutes only, and for exactly the URL that was signed: that may be
another form of yours (query parameters in order, no fragment). -o json and
-o curl include that URL; with -o lines it is on stderr if it differs. Do not
follow redirects: the signature is for no other URL.

Formats (-o):
  lines   Name: value, one header a line, for curl -H @FILE
  json    url, headers, issued_at and more
  curl    lines for curl -K: the headers and the URL`

func signCommand(e *ui.Env) *cli.Command {
	as := signFormats[0]
	return &cli.Command{
		Name:  "sign",
		Args:  "NAME URL",
		Short: "Print the headers that sign a request",
		Long:  signHelp,
		Flags: func(f *cli.Flags) {
			f.StringVarP(&as, "output", "o", as, "`FORMAT`: lines, json or curl")
			f.Complete("output", cli.Words(signFormats[:]...))
		},
		Check: func(ctx context.Context, c *cli.Call) error {
			switch len(c.Args) {
			case 0:
				return e.WhichProfile(ctx)
			case 2:
				e.Profile = c.Args[0]
				return nil
			}
			return cli.Usage("sign takes a profile name and a URL (one with & needs quotes)")
		},
		Complete: e.CompleteProfile,
		Run:      func(ctx context.Context, c *cli.Call) error { return sign(ctx, e, c.Args[1], as) },
	}
}

func sign(ctx context.Context, e *ui.Env, url, as string) error {
	write, err := signFormatNamed(as)
	if err != nil {
		return err
	}
	var signed token.Signed
	err = e.Ask(ctx, func(ctx context.Context, d *ipc.Client) (err error) {
		signed, err = d.Sign(ctx, e.Profile, token.Request{URL: url})
		return err
	})
	if err != nil {
		return err
	}
	text, err := write(signed)
	if err != nil {
		return err
	}
	e.Note(signedNotes(signed, url, as)...)
	return e.Out.Answer(text)
}

// signedNotes are what the sender of the request must know beside its headers.
func signedNotes(s token.Signed, asked, as string) (notes []string) {
	if s.Warning != "" {
		notes = append(notes, "Warning: "+ui.Printable(s.Warning))
	}
	if as == "lines" && s.URL != asked {
		notes = append(notes, "The signature is for another form of the URL; send the request to this one: "+ui.Typed(ui.Printable(s.URL)))
	}
	return notes
}
