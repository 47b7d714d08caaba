package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"tokend/cmd/tokenctl/child"
	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/form"
	"tokend/cmd/tokenctl/ui"
	"tokend/ipc"
	"tokend/providers/token"
)

const signHelp = `  tokenctl sign rock 'https://api.prod.datarock.com.au/v3/projects'
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
	if !slices.Contains(signFormats, as) {
		return noFormat(as, signFormats)
	}
	signed, err := ui.Ask(ctx, e, func(d *ipc.Client, ctx context.Context) (token.Signed, error) {
		return d.Sign(ctx, e.Profile, token.Request{URL: url})
	})
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
	if signed.Warning != "" {
		e.Note("Warning: " + ui.Printable(signed.Warning))
	}
	if as == "lines" && signed.URL != url {
		e.Note("The signature is for another form of the URL; send the request to this one: " + ui.Typed(ui.Printable(signed.URL)))
	}
	return e.Out.Answer(string(text))
}

// signFormats are what sign -o takes, the default first.
var signFormats = []string{"lines", "json", "curl"}

const verifyHelp = `  tokenctl verify weather < token.txt
  printf %s "$API_TOKEN" | tokenctl verify weather --json | jq .claims
  tokenctl verify weather --token-file token.txt --remote

Verifies a token that a caller presented to the profile's data source. Prints
"valid" with its subject, audience and expiry, or "not valid:" and why. It reads
the token from stdin or a file, never from the command line.

Exit status:
  0  the token is valid
  1  the token is not valid; with nothing on stdout: something went wrong
  2 and more: there is no verdict, for the reasons in "tokenctl --help"`

func verifyCommand(e *ui.Env) *cli.Command {
	var remote, asJSON bool
	file, consentFile := "-", ""
	return e.ForProfile(&cli.Command{
		Name:  "verify",
		Short: "Verify a token that a caller presented",
		Long:  verifyHelp,
		Flags: func(f *cli.Flags) {
			f.StringVar(&file, "token-file", file, "the token is in this `FILE`; - is stdin")
			f.StringVar(&consentFile, "consent-file", "", "a consent token came with it, and is in this `FILE` (IOXIO)")
			f.BoolVar(&remote, "remote", false, "ask the issuer's own service instead of verifying here")
			f.BoolVar(&asJSON, "json", false, "print the verdict, with the claims, as JSON")
		},
		Run: func(ctx context.Context, _ *cli.Call) error {
			shown := token.Presented{Remote: remote}
			var err error
			shown.Token, err = readPresented(e, tokenFile, file)
			if err == nil && consentFile != "" {
				shown.Consent, err = readPresented(e, form.Input{Label: "--consent-file"}, consentFile)
			}
			if err != nil {
				return err
			}
			verdict, err := ui.Ask(ctx, e, func(d *ipc.Client, ctx context.Context) (token.Verdict, error) {
				return d.Verify(ctx, e.Profile, shown)
			})
			if err != nil {
				return err
			}
			return answerVerdict(e, verdict, asJSON)
		},
	})
}

// readPresented reads or asks for the token, without the end of its line.
func readPresented(e *ui.Env, in form.Input, file string) (token.Secret, error) {
	switch t, ok := e.Terminal(); {
	case file == "":
		return token.Secret{}, cli.Usage("%s: the value is empty", in.Label)
	case file == "-" && ok:
		return t.AskSecret("Token", false)
	}
	text, err := in.Read(e, file)
	return token.NewSecret(string(bytes.TrimRight(text, "\r\n"))), err
}

func answerVerdict(e *ui.Env, v token.Verdict, asJSON bool) error {
	if err := answer(e, asJSON, v, verdictText(e.Out, v, time.Now())); err != nil || v.Valid {
		return err
	}
	for _, hint := range ui.SeeTopic(v.Reason) {
		if !asJSON {
			e.Err.Print(ui.Wrap(hint, "  "))
		}
	}
	return &ui.Exit{Status: ui.ExitFailure}
}

func verdictText(s ui.Screen, v token.Verdict, now time.Time) string {
	if !v.Valid {
		return strings.Replace(cli.Message(s.W, "not valid: "+ui.Printable(cmp.Or(v.Message, v.Reason))+"\n"), "not valid:", s.Paint(ui.Bad, "not valid:"), 1)
	}
	var rows []ui.Row
	for _, c := range []struct {
		claims      map[string]any
		claim, name string
	}{
		{v.Claims, "sub", "subject"}, {v.Claims, "iss", "issuer"}, {v.Claims, "aud", "audience"},
		{v.Consent, "sub", "consent sub"}, {v.Consent, "subiss", "consent subiss"}, {v.Consent, "app", "consent app"},
	} {
		if value, ok := c.claims[c.claim]; ok {
			rows = append(rows, ui.Pair("  "+c.name, settingText(value), ui.Plain))
		}
	}
	if ends, ok := numericDate(v.Claims["exp"]); ok {
		rows = append(rows, ui.Pair("  expires", ui.When(ends, now)+" ("+ends.UTC().Format(time.RFC3339)+")", ui.Plain))
	}
	return s.Paint(ui.Good, "valid") + "\n" + s.Table(rows)
}

// numericDate reads a NumericDate (RFC 7519 §2).
func numericDate(claim any) (time.Time, bool) {
	number, _ := claim.(json.Number)
	seconds, err := number.Float64()
	const year9999 = 253402300799
	return time.Unix(int64(seconds), 0), err == nil && seconds >= 0 && seconds <= year9999
}

const publicKeyHelp = `  tokenctl public-key rock
  tokenctl public-key rock --pending > new-key.pem

Prints the public key of a profile in PEM, for you to register with the service:
the current one, or with --pending the new one of a rotation, which waits to be
registered.`

func publicKeyCommand(e *ui.Env) *cli.Command {
	var pending bool
	return e.ForProfile(&cli.Command{
		Name:  "public-key",
		Short: "Print the public key to register with the service",
		Long:  publicKeyHelp,
		Flags: func(f *cli.Flags) {
			f.BoolVar(&pending, "pending", false, "the new key, which waits to be registered")
		},
		Run: func(ctx context.Context, _ *cli.Call) error {
			p, err := e.ProfileStatus(ctx, e.Profile)
			if err != nil {
				return err
			}
			settings, problem := p.Settings, "has no public key to register"
			switch next := p.Pending; {
			case pending && next == nil:
				settings, problem = nil, "has no new key that waits to be registered"
			case pending:
				settings = next.Settings
			case next != nil:
				e.Notef("This is the current key. A new one waits to be registered: %s", ui.Typed("tokenctl public-key", ui.Printable(ui.Word(p.Name)), "--pending"))
			}
			key := form.PublicKey(settings)
			if key == "" {
				return &token.Error{Code: token.ErrInvalid, Message: fmt.Sprintf("the profile %s (%s) %s", p.Name, p.Provider, problem)}
			}
			return e.Out.Answer(key)
		},
	})
}
