package helper

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"tokend/providers/token"
)

// A gitRequest is what git asks, gitcredentials(7) and git-credential(1): lines
// of key=value up to an empty one. It has the values of gitKeys.
type gitRequest struct {
	values map[string]string
	// authtype: this git takes more than a user and a password (2.46).
	authtype bool
}

// gitKeys are the keys that we read. password and credential are what git was
// given before.
var gitKeys = []string{"protocol", "host", "path", "username", "password", "credential"}

// git serves git-credential-tokend get|store|erase.
func git(ctx context.Context, c *Call) error {
	if len(c.Args) == 0 {
		return bad("git calls this program with get, store or erase")
	}
	switch c.Args[0] {
	case "get", "erase":
	case "capability":
		_, err := fmt.Fprint(c.Out, "version 0\ncapability authtype\n")
		return err
	default: // store: nothing is kept; others are for helpers to come
		return nil
	}
	text, err := c.input()
	if err != nil {
		return err
	}
	r, err := parseGit(text)
	if err != nil {
		return err
	}
	if c.Args[0] == "erase" {
		return r.erase(ctx, c)
	}
	return r.get(ctx, c)
}

// parseGit reads a request strictly: what git itself would not write may be
// meant to make two programs read it differently.
func parseGit(text []byte) (r gitRequest, err error) {
	if bytes.ContainsAny(text, "\r\x00") {
		return r, bad("git's request holds a control character")
	}
	r.values = map[string]string{}
	for line := range bytes.Lines(text) {
		line, whole := bytes.CutSuffix(line, []byte("\n"))
		if len(line) == 0 {
			break
		}
		if !whole {
			return r, bad("git's request breaks off in the middle of a line")
		}
		key, value, ok := strings.Cut(string(line), "=")
		_, seen := r.values[key]
		switch {
		case !ok || key == "":
			return r, bad("git's request has a line that is not key=value")
		case key == "capability[]":
			r.authtype = r.authtype || value == "authtype"
		case !slices.Contains(gitKeys, key):
		case !utf8.ValidString(value) || strings.ContainsFunc(value, func(c rune) bool { return !unicode.IsPrint(c) }):
			return r, bad("git's request holds a character in %s that cannot be printed", key)
		case seen:
			return r, bad("git's request has two lines for %s", key)
		default:
			r.values[key] = value
		}
	}
	switch host := r.values["host"]; {
	case r.values["protocol"] == "" || host == "":
		return r, bad("git's request lacks protocol or host")
	case strings.ContainsAny(host, "/@?#\\ "):
		return r, bad("git's request has a host that is not valid")
	}
	return r, nil
}

// url is the URL that git asks about. git says its path unescaped.
func (r gitRequest) url() string {
	path := url.URL{Path: r.values["path"]}
	return r.values["protocol"] + "://" + r.values["host"] + "/" + path.EscapedPath()
}

func (r gitRequest) get(ctx context.Context, c *Call) error {
	if protocol := r.values["protocol"]; protocol != "https" && protocol != "http" {
		return nil
	}
	g, err := c.get(ctx, r.url(), minLife)
	if errors.Is(err, errNotMine) {
		return err
	}
	var answer string
	if err == nil {
		answer, err = r.answer(g)
	}
	if err != nil {
		c.say("%s", "tokend: "+c.Explain(err))
		if errors.Is(err, token.ErrNoDaemon) || errors.Is(err, token.ErrDenied) || errors.Is(err, token.ErrNotFound) {
			return nil
		}
		// Our host, and no token: neither a prompt nor another helper would do.
		answer = "quit=1\n"
	}
	if answer == "" {
		c.say("tokend: profile %s is for user %s, and git asks for %s", g.Profile, userOf(g), r.values["username"])
		return nil
	}
	_, err = fmt.Fprint(c.Out, answer)
	return err
}

// answer is what git gets for g: nothing if git asks for another user.
func (r gitRequest) answer(g token.Grant) (string, error) {
	expiry := ""
	if !g.Expiry.IsZero() {
		expiry = fmt.Sprintf("password_expiry_utc=%d\n", g.ServeUntil().Unix())
	}
	if g.Present == token.Bearer && r.authtype {
		text, err := bearer(g)
		return "capability[]=authtype\nauthtype=Bearer\ncredential=" + text + "\nephemeral=1\n" + expiry, err
	}
	user, err := basicUser(g)
	if err != nil {
		return "", err
	}
	if asked := r.values["username"]; asked != "" && asked != user {
		if userOf(g) != "" {
			return "", nil
		}
		user = asked
	}
	text, err := password(g)
	return "username=" + user + "\npassword=" + text + "\n" + expiry, err
}

// userOf is the only user name that g is for, "" if any will do.
func userOf(g token.Grant) string {
	user, _ := g.Present.User()
	return user
}

// erase drops the very token that git says was refused.
func (r gitRequest) erase(ctx context.Context, c *Call) error {
	refused := cmp.Or(r.values["credential"], r.values["password"])
	if refused == "" {
		return nil
	}
	return c.Daemon.Invalidate(c.asks(ctx, r.url()), "", token.NewSecret(refused))
}
