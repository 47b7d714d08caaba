package main

import (
	"context"

	"tokend/cmd/tokenctl/child"
	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/ui"
	"tokend/ipc"
)

const signHelp = `  tokenctl sign rock 'https://api.prod.datarock.com.au/v3/projects'
  curl -K <(tokenctl sign rock URL -o curl)

Signs one request and prints its headers. The service accepts them for a few
minutes, and for exactly the signed URL, which may differ from yours (query
parameters in order, no fragment). -o json and -o curl include that URL; with
-o lines it is on stderr if it differs. Do not follow redirects: the signature
is for no other URL.

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
			f.StringVar(&as, "output, o", as, "`FORMAT`: lines, json or curl")
			f.Complete("output", cli.Words(signFormats...))
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
	if err := child.CheckFormat(as, signFormats); err != nil {
		return err
	}
	signed, err := child.Sign(ctx, e, e.Profile, url)
	if err != nil {
		return err
	}
	var text []byte
	switch as {
	case "lines": // the client has made sure that each is one line of visible ASCII
		for _, h := range signed.Headers {
			text = append(text, h.Name+": "+h.Value.Reveal()+"\n"...)
		}
	case "json": // the answer of POST /v1/sign/NAME
		text, err = ipc.EncodeSigned(signed)
		text = []byte(ui.PlainJSON(string(text)) + "\n")
	case "curl":
		text, err = child.SignedLines(signed)
	}
	if err != nil {
		return err
	}
	if as == "lines" && signed.URL != url {
		e.Note("The signature is for another form of the URL; send the request to this one: " + ui.Typed(ui.Printable(signed.URL)))
	}
	return e.Out.Answer(string(text))
}

// signFormats are what sign -o takes, the default first.
var signFormats = []string{"lines", "json", "curl"}
