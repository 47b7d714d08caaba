package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"tokend/providers/token"
	"tokend/providers/token/format"
)

const getHelp = `  tokenctl get clms
  tokenctl get clms --min-ttl 10m -o header
  tokenctl get --url https://land.copernicus.eu/api/@search
  curl -K <(tokenctl get clms -o curl) https://land.copernicus.eu/api/@search
  eval "$(tokenctl get azure -o env)"; export ACCESS_TOKEN

Prints an access token of the profile. tokend renews tokens ahead of their
expiry, so the answer is usually there at once. A token that has expired, or
has less life left than --min-ttl, is never printed.

Formats (-o):
  token   the token
  header  Authorization: Bearer TOKEN
  json    the members of RFC 6749 §5.1, expires_at and more
  env     ACCESS_TOKEN='TOKEN' and ACCESS_TOKEN_EXPIRES_AT, for sh
  curl    a line for curl -K, which keeps the token out of ps
  netrc   a line of a netrc file, for Basic authentication; with --url

header and curl follow the profile's "present" setting, Bearer by default.`

func (a *app) getCommand() *cobra.Command {
	q, traced := token.Query{}, false
	scopes, as, wait := []string(nil), format.Names[0], getPatience
	c := &cobra.Command{
		Use:   "get NAME | --url URL",
		Short: "Print an access token",
		Long:  getHelp,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 && q.URL != "" {
				return nil
			}
			return a.oneProfile(c, args)
		},
		ValidArgsFunction: a.completeProfiles,
		RunE: func(c *cobra.Command, args []string) error {
			if wait <= 0 {
				return usage("--timeout must be more than 0")
			}
			q.Scope = strings.Join(scopes, " ")
			if traced {
				q.Trace = token.NewTrace()
			}
			ctx, cancel := context.WithTimeout(c.Context(), wait)
			defer cancel()
			return a.get(ctx, a.profile, q, as)
		},
	}
	f := c.Flags()
	f.SortFlags = false
	f.StringVarP(&as, "output", "o", as, "`FORMAT`: token, header, json, env, curl or netrc")
	f.StringVar(&q.URL, "url", "", "what the token is for: the profile is found by its hosts")
	f.Var((*span)(&q.MinTTL), "min-ttl", "least remaining life, as `TIME`: 10m, 90s, or seconds")
	f.BoolVar(&q.Fresh, "fresh", false, "obtain a new token (one that came within the last second counts as new)")
	f.BoolVar(&traced, "trace", false, "tell on stderr what is done, step by step; with --fresh, how a token is obtained")
	f.StringArrayVar(&scopes, "scope", nil, "other `SCOPE` than the profile's; repeatable")
	f.StringVar(&q.Audience, "audience", "", "other `AUDIENCE` or resource than the profile's")
	f.Var((*span)(&wait), "timeout", "how long to wait, as `TIME`")
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(format.Names[:], cobra.ShellCompDirectiveNoFileComp))
	return c
}

// getPatience is how long get waits unless --timeout says otherwise.
const getPatience = 30 * time.Second

func (a *app) get(ctx context.Context, name string, q token.Query, as string) error {
	write, err := formatNamed(as)
	if err != nil {
		return err
	}
	d, err := a.daemon()
	if err != nil {
		return err
	}
	waiting := a.progress("Waiting for a token")
	g, err := d.Get(ctx, name, q)
	waiting.end()
	if q.Trace != nil {
		a.err.print(a.traced(q.Trace.Steps()))
	}
	if err != nil {
		return err
	}
	text, err := write(g, time.Now())
	if err != nil {
		return err
	}
	return a.out.answer(plainJSON(text))
}

// traced says the steps of a trace: when, a word, and what.
func (a *app) traced(steps []token.Step) string {
	var b strings.Builder
	for _, s := range steps {
		begin := fmt.Sprintf("%8.1f ms  %-10s ", float64(s.At)/float64(time.Millisecond), printable(s.What))
		indent := strings.Repeat(" ", utf8.RuneCountInString(begin))
		b.WriteString(a.err.paint(faint, begin) + strings.TrimPrefix(wrap(printable(s.Text), indent), indent))
	}
	return b.String()
}

// A span is a duration on the command line: "10m", or seconds.
type span time.Duration

// Set implements pflag.Value.
func (s *span) Set(text string) error {
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		*s = span(time.Duration(seconds) * time.Second)
		return nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return fmt.Errorf("%q is no time such as 90s, 10m or 2h", text)
	}
	*s = span(d)
	return nil
}

// String implements pflag.Value. Zero is empty, which help leaves out.
func (s *span) String() string {
	if *s == 0 {
		return ""
	}
	return time.Duration(*s).String()
}

// Type implements pflag.Value.
func (s *span) Type() string { return "TIME" }
