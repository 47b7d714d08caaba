package helper

import (
	"context"
	"encoding/json"
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
func docker(ctx context.Context, c *Call) error {
	err := dockerCall(ctx, c)
	if err == nil {
		return nil
	}
	text := c.Explain(err)
	if isOneOf(err, errNotMine) {
		text = dockerNotFound
	}
	_, _ = fmt.Fprintln(c.Out, strings.TrimSpace(text))
	return ErrReported
}

func dockerCall(ctx context.Context, c *Call) error {
	if len(c.Args) != 1 {
		return bad("docker calls this program with get, store, erase, list or version")
	}
	switch c.Args[0] {
	case "version":
		_, err := fmt.Fprintln(c.Out, "docker-credential-tokend")
		return err
	case "list":
		return c.writeJSON(struct{}{})
	case "get", "store", "erase":
	default:
		return bad("docker-credential-tokend has no command %q", c.Args[0])
	}
	text, err := c.input()
	if err != nil {
		return err
	}
	switch c.Args[0] {
	case "store":
		return bad("tokend keeps the credentials of its profiles only; there is no need to log in, and docker login cannot change them")
	case "erase":
		return nil
	}
	return dockerGet(ctx, c, strings.TrimSpace(string(text)))
}

// A dockerLogin is the answer to get.
type dockerLogin struct {
	ServerURL, Username, Secret string
}

func dockerGet(ctx context.Context, c *Call, server string) error {
	if server == "" {
		return bad(dockerNoServer)
	}
	url := server
	if !strings.Contains(server, "://") {
		url = "https://" + server
	}
	g, err := c.get(ctx, url, minLife)
	if err != nil {
		return err
	}
	if isUnmatched(g) {
		return errNotMine
	}
	login := dockerLogin{ServerURL: server}
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

// unmarshal reads a tool's JSON. Its errors do not quote it.
func unmarshal(text []byte, into any, what string) error {
	if err := json.Unmarshal(text, into); err != nil {
		return bad("%s is not valid JSON of the expected kind", what)
	}
	return nil
}
