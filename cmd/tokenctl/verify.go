package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"strings"
	"time"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/form"
	"tokend/cmd/tokenctl/ui"
	"tokend/ipc"
	"tokend/providers/token"
)

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
			f.StringVar(&consentFile, "consent-file", "", "the consent token that came with it is in this `FILE` (IOXIO)")
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
			if err := answer(e, asJSON, verdict, verdictText(e.Out, verdict, time.Now())); err != nil || verdict.Valid {
				return err
			}
			for _, hint := range ui.SeeTopic(verdict.Reason) {
				if !asJSON {
					e.Err.Print(ui.Wrap(hint, "  "))
				}
			}
			return &ui.Exit{Status: ui.ExitFailure}
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
			rows = append(rows, ui.Pair("  "+c.name, ui.Setting(value), ui.Plain))
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
