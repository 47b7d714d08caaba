package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"tokend/ipc"
	"tokend/providers/token"
)

const doctorHelp = `  tokenctl doctor
  tokenctl doctor --json | jq '.checks[] | select(.result != "ok")'

Looks at the way from here to tokend, and has tokend look at its keystore, its
files, its configuration, the proxy, the issuers and the clock: of each thing
whether it is as it should be, and what to do if not. No credential is used.
Where tokend does not run, "tokend doctor" looks without it.

The exit status is 1 if something failed; warnings are no failure.`

func (a *app) doctorCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Look whether all is as it should be, and say what to do",
		Long:  doctorHelp,
		Args:  noArguments,
		RunE:  func(c *cobra.Command, _ []string) error { return a.doctor(c, asJSON) },
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// errSomethingFailed ends a doctor that found something, which it has told.
var errSomethingFailed = errors.New("something failed")

func (a *app) doctor(c *cobra.Command, asJSON bool) error {
	d, err := a.daemon()
	if err != nil {
		return err
	}
	var found token.Report
	err = a.ask(c, func(ctx context.Context, d *ipc.Client) (err error) {
		found, err = d.Doctor(ctx)
		return err
	})
	found.Checks = append(a.checkWay(c, d.Socket, found, err), found.Checks...)
	if asJSON {
		err = a.out.answerJSON(found)
	} else {
		err = a.out.answer([]byte(a.checksTold(found.Checks)))
	}
	if err == nil && slices.ContainsFunc(found.Checks, func(c token.Check) bool { return c.Result == token.CheckFail }) {
		err = errSomethingFailed
	}
	return err
}

// checkWay looks at the way to tokend, given what came of it.
func (a *app) checkWay(c *cobra.Command, socket string, found token.Report, err error) []token.Check {
	if err != nil {
		err = a.noSocket(err)
		advice := strings.Join(hints(err, a.situation(c, err)), "\n")
		return []token.Check{{Name: "socket", Result: token.CheckFail, Text: err.Error(), Advice: strings.ReplaceAll(advice, noBreak, " ")}}
	}
	text := "tokend answers at " + socket
	if os.Getenv(ipc.SocketEnv) != "" && a.socket == "" {
		text += ", which $" + ipc.SocketEnv + " names"
	}
	checks := []token.Check{{Name: "socket", Result: token.CheckOK, Text: text}, checkVersions(found.Version)}
	if proxy := proxyHere(); proxy != found.Proxy {
		checks = append(checks, token.Check{Name: "environment", Result: token.CheckWarn, Text: fmt.Sprintf(
			"this shell's proxy is %s, tokend's is %s", orNone(proxy), orNone(found.Proxy)),
			Advice: `if issuers can be reached one way only: proxy = "URL" or "none" in config.toml, then tokenctl reload`})
	}
	return checks
}

func checkVersions(daemon string) token.Check {
	if daemon == ownVersion() {
		return token.Check{Name: "version", Result: token.CheckOK, Text: "tokend and tokenctl are " + daemon}
	}
	return token.Check{Name: "version", Result: token.CheckWarn, Text: "tokend is " + daemon + ", tokenctl " + ownVersion(),
		Advice: "restart tokend after an upgrade; if there are two installations: which -a tokenctl tokend"}
}

// proxyHere is the proxy of this environment, as scheme, host and port.
func proxyHere() string {
	for _, name := range []string{"HTTPS_PROXY", "https_proxy"} {
		text := os.Getenv(name)
		if text == "" {
			continue
		}
		if !strings.Contains(text, "://") {
			text = "http://" + text
		}
		u, err := url.Parse(text)
		if err != nil {
			return "no URL"
		}
		return (&url.URL{Scheme: u.Scheme, Host: u.Host}).String()
	}
	return ""
}

func orNone(proxy string) string {
	if proxy == "" {
		return "none"
	}
	return proxy
}

// checksTold is a line for each check, and what to do below it.
func (a *app) checksTold(checks []token.Check) string {
	var b strings.Builder
	const indent = "      "
	for _, c := range checks {
		as := map[string]style{token.CheckOK: good, token.CheckWarn: warn, token.CheckFail: bad}[c.Result]
		text := wrap(printable(c.Name+": "+c.Text), indent)
		b.WriteString(a.out.paint(as, fmt.Sprintf("%-*s", len(indent), printable(c.Result))) + strings.TrimPrefix(text, indent))
		for line := range strings.Lines(c.Advice) {
			b.WriteString(wrap("-> "+printable(strings.TrimSuffix(line, "\n")), indent))
		}
	}
	return b.String()
}
