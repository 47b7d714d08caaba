package helper

import (
	"cmp"
	"context"
	"errors"
	"strings"

	"tokend/cmd/tokenctl/cli"
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
func keyring(ctx context.Context, c *Call) (any, error) {
	mode, output := "password", "plain"
	args, err := cli.Parse("keyring", c.Args, func(f *cli.Flags) {
		f.StringVar(&mode, "mode", mode, "")
		f.StringVar(&output, "output", output, "")
	})
	if err != nil {
		return nil, bad("%v", err)
	}
	words := append(args, "", "", "")
	command, service, user := words[0], words[1], words[2]
	switch {
	case command != "get":
		return nil, bad("this keyring serves the hosts of tokend's profiles, and has the command get only; another program called keyring comes later in $PATH, if there is one")
	case service == "" || len(args) > 3:
		return nil, bad("keyring get takes a service and a user")
	case mode != "password" && mode != "creds":
		return nil, bad("keyring has --mode password and creds, not %q", mode)
	case output != "plain" && output != "json":
		return nil, bad("keyring has --output plain and json, not %q", output)
	}
	g, err := c.get(ctx, withScheme(service), keptLife)
	if only := userOf(g); errors.Is(err, errNotMine) || user != "" && only != "" && user != only {
		return nil, ErrReported
	}
	if err != nil {
		return nil, err
	}
	own, password, err := userPassword(g)
	own = cmp.Or(user, own)
	if mode == "password" {
		own = ""
	}
	if output == "json" {
		return struct {
			Username string `json:"username,omitempty"`
			Password string `json:"password"`
		}{own, password}, err
	}
	return strings.TrimPrefix(own+"\n"+password+"\n", "\n"), err
}
