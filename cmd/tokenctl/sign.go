package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"tokend/ipc"
	"tokend/providers/token"
)

const signHelp = `  tokenctl sign rock 'https://mine.datarock.com.au/some-api?projectUuid=1'
  curl -K <(tokenctl sign rock URL -o curl)

Signs one request and prints the headers that go with it. The service takes it
for a few minutes only, and for exactly the URL that was signed: that may be
another form of the one given (query parameters in order, no fragment). It is
part of -o json and -o curl; with -o lines it is told on stderr if it differs.
Do not follow redirects: the signature is for no other URL.

Formats (-o):
  lines   Name: value, one header a line, for curl -H @FILE
  json    url, headers, issued_at and more
  curl    lines for curl -K: the headers and the URL`

func (a *app) signCommand() *cobra.Command {
	as := signFormats[0]
	c := &cobra.Command{
		Use:               "sign NAME URL",
		Short:             "Print the headers that sign a request",
		Long:              signHelp,
		Args:              a.profileAndURL,
		ValidArgsFunction: a.completeProfiles,
		RunE:              func(c *cobra.Command, args []string) error { return a.sign(c, args[0], args[1], as) },
	}
	c.Flags().StringVarP(&as, "output", "o", as, "`FORMAT`: lines, json or curl")
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(signFormats[:], cobra.ShellCompDirectiveNoFileComp))
	return c
}

// profileAndURL takes exactly two arguments.
func (a *app) profileAndURL(c *cobra.Command, args []string) error {
	if len(args) != 2 {
		return usage("%s takes a profile name and a URL and got %d arguments (a URL with & needs quotes)", c.Name(), len(args))
	}
	a.profile = args[0]
	return nil
}

func (a *app) sign(c *cobra.Command, name, url, as string) error {
	write, err := signFormatNamed(as)
	if err != nil {
		return err
	}
	var signed token.Signed
	err = a.ask(c, func(ctx context.Context, d *ipc.Client) (err error) {
		signed, err = d.Sign(ctx, name, token.Request{URL: url})
		return err
	})
	if err != nil {
		return err
	}
	text, err := write(signed)
	if err != nil {
		return err
	}
	a.note(signedNotes(signed, url, as))
	return a.out.answer(text)
}

// signedNotes are what whoever sends the request must know beside its headers.
func signedNotes(s token.Signed, asked, as string) (notes []string) {
	if s.Warning != "" {
		notes = append(notes, "Warning: "+printable(s.Warning))
	}
	if as == "lines" && s.URL != asked {
		notes = append(notes, "Signed is another form of the URL; send the request to this one: "+typed(strings.ReplaceAll(printable(s.URL), " ", noBreak)))
	}
	return notes
}

// note tells on stderr what comes with an answer.
func (a *app) note(notes []string) {
	for _, text := range notes {
		a.err.print(wrap(text, ""))
	}
}
