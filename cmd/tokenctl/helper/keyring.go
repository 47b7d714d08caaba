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
//	keyring get SERVICE [USER]
//	keyring get SERVICE --mode creds
//
// SERVICE is a URL or a host. For a service that no profile covers it prints
// nothing and exits with status 1; pip and uv then ask for the host alone, or go
// on without.
func keyring(ctx context.Context, c *Call) error {
	if len(c.Args) == 0 || c.Args[0] != "get" {
		return bad("this keyring serves the hosts of tokend's profiles, and has the command get only; another program called keyring comes later in $PATH, if there is one")
	}
	flags := pflag.NewFlagSet("keyring", pflag.ContinueOnError)
	flags.SetOutput(io.Discard)
	mode := flags.String("mode", "", "")
	if err := flags.Parse(c.Args[1:]); err != nil {
		return bad("keyring get: %v", err)
	}
	service, user := flags.Arg(0), flags.Arg(1)
	if service == "" || flags.NArg() > 2 {
		return bad("keyring get takes a service and a user")
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
	text, err := password(g)
	if err != nil {
		return err
	}
	if *mode == "creds" {
		text = cmp.Or(user, own) + "\n" + text
	}
	_, err = fmt.Fprintln(c.Out, text)
	return err
}
