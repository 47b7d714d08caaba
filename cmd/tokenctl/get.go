package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"tokend/cmd/tokenctl/child"
	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/ui"
	"tokend/providers/token"
	"tokend/providers/token/format"
)

const getHelp = `  tokenctl get clms
  tokenctl get clms --min-ttl 10m -o header
  tokenctl get https://land.copernicus.eu/api/@search
  curl -K <(tokenctl get clms -o curl) https://land.copernicus.eu/api/@search
  eval "$(tokenctl get azure -o env)"; export ACCESS_TOKEN

Prints an access token of the profile. tokend renews tokens before they expire,
so the answer usually comes at once. get never prints a token that has expired,
or that has less life left than --min-ttl.

Formats (-o):
  token   the token
  header  Authorization: Bearer TOKEN
  json    the members of RFC 6749 §5.1, expires_at and more
  env     ACCESS_TOKEN='TOKEN' and ACCESS_TOKEN_EXPIRES_AT, for sh
  curl    a line for curl -K, which keeps the token out of ps
  netrc   a line of a netrc file, for Basic authentication; with --url, and
          hosts that are whole sites

header and curl follow the profile's "present" setting, Bearer by default.`

func getCommand(e *ui.Env) *cli.Command {
	var q token.Query
	var trace bool
	var scopes []string
	var resource string
	as, wait := format.Names[0], 30*time.Second
	return &cli.Command{
		Name:  "get",
		Args:  "NAME | URL",
		Short: "Print an access token",
		Long:  getHelp,
		Flags: func(f *cli.Flags) {
			f.StringVar(&as, "output, o", as, "`FORMAT`: token, header, json, env, curl or netrc")
			f.StringVar(&q.URL, "url", "", "find the profile by this `URL`, which the token is for")
			f.Span(&q.MinTTL, "min-ttl", "least remaining life, as `TIME`: 10m, 90s, or seconds")
			f.BoolVar(&q.Fresh, "fresh", false, "obtain a new token (one that came within the last second counts as new)")
			f.BoolVar(&trace, "trace", false, "show on stderr what tokend does, step by step; with --fresh, how it obtains a token")
			e.ResourceFlag(f, &resource, "the token of this one of the profile's resources")
			f.ListVar(&scopes, "scope", "`SCOPE` instead of the profile's; repeatable")
			f.BoolVar(&q.Second, "second-header", false, "the profile's second header too, where the format can hold it")
			f.StringVar(&q.Audience, "audience", "", "`AUDIENCE` or resource instead of the profile's")
			f.Span(&wait, "timeout", "how long to wait, as `TIME`")
			f.Complete("output", cli.Words(format.Names[:]...))
		},
		Check: func(ctx context.Context, c *cli.Call) error {
			if len(c.Args) == 1 && ui.IsURL(c.Args[0]) && q.URL == "" {
				q.URL, c.Args = c.Args[0], nil
			}
			if len(c.Args) == 0 && q.URL != "" {
				return nil
			}
			return e.OneProfile(ctx, c)
		},
		Complete: e.CompleteProfile,
		Run: func(ctx context.Context, c *cli.Call) error {
			switch {
			case wait <= 0:
				return cli.Usage("--timeout must be more than 0")
			case resource != "" && e.Profile == "":
				return cli.Usage("--resource needs the name of its profile")
			}
			q.Scope, q.URL = strings.Join(scopes, " "), token.WithoutUser(q.URL)
			if trace {
				q.Trace = token.NewTrace()
			}
			return get(ctx, e, token.WithResource(e.Profile, resource), q, as, wait)
		},
	}
}

func get(ctx context.Context, e *ui.Env, name string, q token.Query, as string, wait time.Duration) error {
	if err := child.CheckFormat(as, format.Names[:]); err != nil {
		return err
	}
	g, err := child.GetToken(ctx, e, name, q, wait)
	if q.Trace != nil {
		e.Err.Print(traceText(e.Err, q.Trace.Steps()))
	}
	if err != nil {
		return err
	}
	text, err := format.Named(as)(g, time.Now())
	if err != nil {
		return err
	}
	return e.Out.Answer(ui.PlainJSON(string(text)))
}

// traceText is the steps of a trace: when, a word, and what.
func traceText(s ui.Screen, steps []token.Step) string {
	var b strings.Builder
	for _, step := range steps {
		begin := fmt.Sprintf("%8.1f ms  %-10s ", float64(step.At)/float64(time.Millisecond), ui.Printable(step.What))
		b.WriteString(s.Paint(ui.Faint, begin) + strings.TrimPrefix(ui.Wrap(ui.Printable(step.Text), begin), begin))
	}
	return b.String()
}
