package helper

import (
	"context"
	"fmt"
	"strings"
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
	service, user, creds, err := keyringArgs(c.Args)
	if err != nil {
		return err
	}
	if !strings.Contains(service, "://") {
		service = "https://" + service
	}
	g, err := c.get(ctx, service, keptLife)
	if err != nil {
		return err
	}
	if isUnmatched(g) {
		return ErrReported
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
	if creds {
		if user == "" {
			user = own
		}
		text = user + "\n" + text
	}
	_, err = fmt.Fprintln(c.Out, text)
	return err
}

func keyringArgs(args []string) (service, user string, creds bool, err error) {
	if len(args) == 0 || args[0] != "get" {
		return "", "", false, bad("this keyring serves the hosts of tokend's profiles, and has the command get only; another program called keyring comes later in $PATH, if there is one")
	}
	var names []string
	for rest := args[1:]; len(rest) > 0; rest = rest[1:] {
		switch {
		case rest[0] == "--mode" && len(rest) > 1:
			creds = rest[1] == "creds"
			rest = rest[1:]
		case strings.HasPrefix(rest[0], "--mode="):
			creds = rest[0] == "--mode=creds"
		case strings.HasPrefix(rest[0], "-"):
			return "", "", false, bad("keyring get has no option %s", rest[0])
		default:
			names = append(names, rest[0])
		}
	}
	if len(names) < 1 || len(names) > 2 || names[0] == "" {
		return "", "", false, bad("keyring get takes a service and a user")
	}
	return names[0], strings.Join(names[1:], ""), creds, nil
}
