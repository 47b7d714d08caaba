package main

import (
	"context"
	"fmt"
	"strings"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/ui"
	"tokend/ipc"
	"tokend/providers/token"
	"tokend/providers/token/format"
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

// A signFormat writes a signed request's headers.
type signFormat func(token.Signed) (string, error)

// signFormats are what sign -o takes, the default first.
var signFormats = [...]string{"lines", "json", "curl"}

func signFormatNamed(name string) (signFormat, error) {
	switch name {
	case "lines":
		return signedLines, nil
	case "json":
		return signedJSON, nil
	case "curl":
		return signedCurl, nil
	}
	return nil, noFormat(name, signFormats[:]...)
}

// signedLines is a line for each header. The client has made sure that each is
// one line of visible ASCII.
func signedLines(s token.Signed) (string, error) {
	var b strings.Builder
	for _, h := range s.Headers {
		b.WriteString(h.Name + ": " + h.Value.Reveal() + "\n")
	}
	return b.String(), nil
}

// signedJSON is the answer of POST /v1/sign/NAME.
func signedJSON(s token.Signed) (string, error) {
	b, err := ipc.EncodeSigned(s)
	return ui.PlainJSON(string(b)) + "\n", err
}

// signedCurl is a file for curl -K. It has curl send the URL as it is, because
// no other one is signed: no globbing, no squashing of dot segments.
func signedCurl(s token.Signed) (string, error) {
	if strings.ContainsFunc(s.URL, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", &token.Error{Code: token.ErrInternal, Cause: format.ErrUnfit,
			Message: "the URL holds characters that do not belong in one; only -o json can write it"}
	}
	var b strings.Builder
	b.WriteString("globoff\npath-as-is\nurl = " + format.CurlQuote(s.URL) + "\n")
	for _, h := range s.Headers {
		fmt.Fprintf(&b, "header = %s\n", format.CurlQuote(h.Name+": "+h.Value.Reveal()))
	}
	return b.String(), nil
}
