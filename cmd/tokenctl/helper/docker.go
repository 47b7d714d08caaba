package helper

import (
	"context"
	"errors"
	"strings"

	"tokend/providers/token"
)

// What docker-credential-helpers' clients look for in an answer.
const (
	dockerNotFound = "credentials not found in native keychain"
	dockerNoServer = "no credentials server URL"
)

// docker serves docker-credential-tokend get|store|erase|list|version. Errors
// go to stdout, where the clients look for them.
func docker(ctx context.Context, c *Call) (answer any, err error) {
	switch command := strings.Join(c.Args, " "); command {
	case "get":
		answer, err = dockerGet(ctx, c)
	case "store":
		err = bad("tokend keeps the credentials of its profiles only; there is no need to log in, and docker login cannot change them")
	case "erase":
	case "list":
		answer = struct{}{}
	case "version":
		answer = "docker-credential-tokend\n"
	default:
		err = bad("docker calls this program with get, store, erase, list or version, not with %q", command)
	}
	switch {
	case err == nil:
		return answer, nil
	case errors.Is(err, errNotMine):
		return dockerNotFound + "\n", ErrReported
	}
	return strings.TrimSpace(c.Explain(err)) + "\n", ErrReported
}

func dockerGet(ctx context.Context, c *Call) (any, error) {
	text, err := c.input()
	if err != nil {
		return nil, err
	}
	server := strings.TrimSpace(string(text))
	if server == "" {
		return nil, bad(dockerNoServer)
	}
	g, err := c.get(ctx, withScheme(server), minLife)
	if err != nil {
		return nil, err
	}
	login := struct{ ServerURL, Username, Secret string }{ServerURL: server}
	if g.Present == token.ACR {
		refresh, err := c.Daemon.Exchange(ctx, g.Profile, g.Host)
		login.Username, login.Secret = "<token>", refresh.Reveal()
		return login, err
	}
	login.Username, login.Secret, err = userPassword(g)
	return login, err
}
