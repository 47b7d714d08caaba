package helper

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"tokend/providers/token"
)

// What docker-credential-helpers' clients look for in an answer.
const (
	dockerNotFound  = "credentials not found in native keychain"
	dockerNoServer  = "no credentials server URL"
	dockerTokenUser = "<token>"
)

// docker serves docker-credential-tokend get|store|erase|list|version. Errors
// go to stdout, where the clients look for them.
func docker(ctx context.Context, c *Call) (err error) {
	command := strings.Join(c.Args, " ")
	switch command {
	case "get":
		err = dockerGet(ctx, c)
	case "store":
		err = bad("tokend keeps the credentials of its profiles only; there is no need to log in, and docker login cannot change them")
	case "erase":
	case "list":
		err = c.writeJSON(struct{}{})
	case "version":
		_, err = fmt.Fprintln(c.Out, "docker-credential-tokend")
	default:
		err = bad("docker calls this program with get, store, erase, list or version, not with %q", command)
	}
	if err == nil {
		return nil
	}
	text := dockerNotFound
	if !errors.Is(err, errNotMine) {
		text = strings.TrimSpace(c.Explain(err))
	}
	_, _ = fmt.Fprintln(c.Out, text)
	return ErrReported
}

func dockerGet(ctx context.Context, c *Call) error {
	text, err := c.input()
	if err != nil {
		return err
	}
	server := strings.TrimSpace(string(text))
	if server == "" {
		return bad(dockerNoServer)
	}
	g, err := c.get(ctx, withScheme(server), minLife)
	if err != nil {
		return err
	}
	login := struct{ ServerURL, Username, Secret string }{ServerURL: server}
	if g.Present == token.ACR {
		refresh, err := c.Daemon.Exchange(ctx, g.Profile, g.Host)
		if err != nil {
			return err
		}
		login.Username, login.Secret = dockerTokenUser, refresh.Reveal()
		return c.writeJSON(login)
	}
	if login.Username, err = basicUser(g); err != nil {
		return err
	}
	if login.Secret, err = password(g); err != nil {
		return err
	}
	return c.writeJSON(login)
}
