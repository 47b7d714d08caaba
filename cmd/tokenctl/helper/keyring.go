package helper

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/pflag"
)

// keyring answers as the program of that name does (PyPI's keyring), which pip
// and uv call with --keyring-provider subprocess:
//
//	keyring get SERVICE USER                                      pip before 26.2, uv
//	keyring get SERVICE --mode creds                              uv without a user
//	keyring --mode=creds --output=json get SERVICE [USER]         pip
//
// SERVICE is a URL or a host. Options may stand anywhere, as in keyring itself.
// For a service that no profile covers it prints nothing and exits with status 1;
// pip and uv then ask for the host alone, or go on without.
func keyring(ctx context.Context, c *Call) error {
	flags := pflag.NewFlagSet("keyring", pflag.ContinueOnError)
	flags.SetOutput(io.Discard)
	mode := flags.String("mode", "password", "")
	output := flags.String("output", "plain", "")
	if err := flags.Parse(c.Args); err != nil {
		return bad("keyring: %v", err)
	}
	command, service, user := flags.Arg(0), flags.Arg(1), flags.Arg(2)
	switch {
	case command != "get":
		return bad("this keyring serves the hosts of tokend's profiles, and has the command get only; another program called keyring comes later in $PATH, if there is one")
	case service == "" || flags.NArg() > 3:
		return bad("keyring get takes a service and a user")
	case *mode != "password" && *mode != "creds":
		return bad("keyring has --mode password and creds, not %q", *mode)
	case *output != "plain" && *output != "json":
		return bad("keyring has --output plain and json, not %q", *output)
	}
	g, err := c.get(ctx, withScheme(service), keptLife)
	if errors.Is(err, errNotMine) {
		return ErrReported
	}
	if err != nil {
		return err
	}
	own, err := basicUser(g)
	if err != nil {
		return err
	}
	if only := userOf(g); user != "" && only != "" && user != only {
		return ErrReported
	}
	login := struct {
		Username string `json:"username,omitempty"`
		Password string `json:"password"`
	}{}
	if login.Password, err = password(g); err != nil {
		return err
	}
	if *mode == "creds" {
		login.Username = cmp.Or(user, own)
	}
	if *output == "json" {
		return c.writeJSON(login)
	}
	if login.Username != "" {
		_, err = fmt.Fprintln(c.Out, login.Username)
	}
	if err == nil {
		_, err = fmt.Fprintln(c.Out, login.Password)
	}
	return err
}
