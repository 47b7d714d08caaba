package main

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/ui"
	"tokend/ipc"
	"tokend/providers/token"
)

const doctorHelp = `  tokenctl doctor
  tokenctl doctor --json | jq '.checks[] | select(.result != "ok")'

Checks the connection to tokend, and lets tokend check its keystore, files,
configuration, proxy, issuers and clock. It prints each result, with a fix if
you need one. It uses no credential. If tokend is not running, use "tokend
doctor".

The exit status is 1 if a check failed; a warning is not a failure.`

func doctorCommand(e *ui.Env) *cli.Command {
	var asJSON bool
	return &cli.Command{
		Name:  "doctor",
		Short: "Check the setup and suggest fixes",
		Long:  doctorHelp,
		Flags: jsonFlag(&asJSON),
		Run: func(ctx context.Context, c *cli.Call) error {
			found, err := ui.Ask(ctx, e, func(d *ipc.Client, ctx context.Context) (token.Report, error) {
				found, err := d.Doctor(ctx)
				found.Checks = append(checkConnection(d.Socket, e.Socket == "", found), found.Checks...)
				return found, err
			})
			if err != nil {
				advice := strings.Join(ui.Hints(err, e.Situation(ctx, c, err)), "\n")
				found.Checks = []token.Check{{Name: "socket", Result: token.CheckFail, Text: err.Error(), Advice: ui.Plainly(advice)}}
			}
			err = answer(e, asJSON, found, e.Out.Checks(found.Checks))
			if err == nil && slices.ContainsFunc(found.Checks, func(c token.Check) bool { return c.Result == token.CheckFail }) {
				err = &ui.Exit{Status: ui.ExitFailure}
			}
			return err
		},
	}
}

// checkConnection checks how this shell reaches the tokend that has answered.
func checkConnection(socket string, usual bool, found token.Report) []token.Check {
	text := "tokend answers at " + socket
	if usual && os.Getenv(ipc.SocketEnv) != "" {
		text += ", which $" + ipc.SocketEnv + " names"
	}
	versions := token.Check{Name: "version", Result: token.CheckOK, Text: "tokend and tokenctl are " + found.Version}
	if own := ownVersion(); own != found.Version {
		versions = token.Check{Name: "version", Result: token.CheckWarn, Text: "tokend is " + found.Version + ", tokenctl " + own,
			Advice: "restart tokend after an upgrade; if there are two installations: which -a tokenctl tokend"}
	}
	checks := []token.Check{{Name: "socket", Result: token.CheckOK, Text: text}, versions}
	if proxy := shellProxy(); proxy != found.Proxy {
		checks = append(checks, token.Check{Name: "environment", Result: token.CheckWarn, Text: fmt.Sprintf(
			"this shell's proxy is %s, tokend's is %s", cmp.Or(proxy, "none"), cmp.Or(found.Proxy, "none")),
			Advice: `if issuers can be reached one way only: proxy = "URL" or "none" in config.toml, then tokenctl reload`})
	}
	return checks
}

// shellProxy is the proxy of this environment, as scheme, host and port.
func shellProxy() string {
	text := cmp.Or(os.Getenv("HTTPS_PROXY"), os.Getenv("https_proxy"))
	if text != "" && !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil {
		return "not a URL"
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host}).String()
}
