package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tokend/ipc"
	"tokend/providers/token"
)

const verifyHelp = `  tokenctl verify weather < token.txt
  printf %s "$API_TOKEN" | tokenctl verify weather --json | jq .claims
  tokenctl verify weather --token-file token.txt --remote

Judges a token that somebody presented to the profile's data source: prints
"valid" with its subject, audience and expiry, or "not valid:" and why. The
token is read from stdin or a file, never from the command line.

Exit status:
  0  the token is valid
  1  the token is not valid; with nothing on stdout: something went wrong
  2 and more: there is no verdict, for the reasons in "tokenctl --help"`

// errNotValid ends a verify whose verdict has been told.
var errNotValid = errors.New("the token is not valid")

func (a *app) verifyCommand() *cobra.Command {
	var remote, asJSON bool
	file := "-"
	c := &cobra.Command{
		Use:               "verify NAME",
		Short:             "Judge a token that somebody presented",
		Long:              verifyHelp,
		Args:              a.oneProfile,
		ValidArgsFunction: a.completeProfiles,
		RunE: func(c *cobra.Command, args []string) error {
			raw, err := a.readPresented(file)
			if err != nil {
				return err
			}
			return a.verify(c, args[0], raw, remote, asJSON)
		},
	}
	f := c.Flags()
	f.SortFlags = false
	f.StringVar(&file, "token-file", file, "the token is in this `FILE`; - is stdin")
	f.BoolVar(&remote, "remote", false, "ask the issuer's own service in place of judging here")
	f.BoolVar(&asJSON, "json", false, "print the verdict, with the claims, as JSON")
	return c
}

func (a *app) verify(c *cobra.Command, name string, raw token.Secret, remote, asJSON bool) error {
	var verdict token.Verdict
	err := a.ask(c, func(ctx context.Context, d *ipc.Client) (err error) {
		verdict, err = d.Verify(ctx, name, raw, remote)
		return err
	})
	if err != nil {
		return err
	}
	if asJSON {
		err = a.out.answerJSON(verdict)
	} else {
		err = a.out.answer([]byte(a.toldVerdict(verdict, time.Now())))
		for _, hint := range explained(verdict.Reason) {
			a.err.print(wrap(hint, "  "))
		}
	}
	if err == nil && !verdict.Valid {
		return errNotValid
	}
	return err
}

// maxPresented bounds the size of a token that is to be judged, in bytes.
const maxPresented = 64 << 10

// readPresented reads the token, without the end of its line.
func (a *app) readPresented(file string) (token.Secret, error) {
	in := a.in
	switch t, ok := a.terminal(); {
	case file == "":
		return token.Secret{}, usage("--token-file: the value is empty")
	case file == "-" && ok:
		return t.askSecret("Token")
	case file != "-":
		f, err := os.Open(file)
		if err != nil {
			return token.Secret{}, badFile(tokenFile(), file, err)
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, maxPresented+1))
	text := strings.TrimRight(string(b), "\r\n")
	switch {
	case err != nil:
		return token.Secret{}, badFile(tokenFile(), file, err)
	case len(b) > maxPresented:
		return token.Secret{}, usage("more than %d bytes are no token", maxPresented)
	case text == "":
		return token.Secret{}, usage("there is no token on stdin or in the file")
	}
	return token.NewSecret(text), nil
}

// toldVerdict says a verdict in words.
func (a *app) toldVerdict(v token.Verdict, now time.Time) string {
	if !v.Valid {
		why := v.Message
		if why == "" {
			why = v.Reason
		}
		return a.out.paint(bad, "not valid:") + " " + printable(why) + "\n"
	}
	var rows []row
	for _, c := range []struct{ claim, name string }{{"sub", "subject"}, {"iss", "issuer"}, {"aud", "audience"}} {
		if value, there := v.Claims[c.claim]; there {
			rows = append(rows, pair("  "+c.name, settingText(value), plain))
		}
	}
	if ends, ok := numericDate(v.Claims["exp"]); ok {
		rows = append(rows, pair("  expires", when(ends, now)+" ("+ends.UTC().Format(time.RFC3339)+")", plain))
	}
	return a.out.paint(good, "valid") + "\n" + a.out.table(rows)
}

// numericDate reads a NumericDate (RFC 7519 §2).
func numericDate(claim any) (time.Time, bool) {
	number, ok := claim.(json.Number)
	if !ok {
		return time.Time{}, false
	}
	seconds, err := strconv.ParseFloat(number.String(), 64)
	const year9999 = 253402300799
	if err == nil && seconds >= 0 && seconds <= year9999 {
		return time.Unix(int64(seconds), 0), true
	}
	return time.Time{}, false
}
