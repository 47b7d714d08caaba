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
type gitRequest map[string]string

// gitKeys are the keys that we read. password and credential are what git was
// given before. knowsBearer, from capability[], means that this git takes more than a
// user and a password (2.46).
var gitKeys = []string{"protocol", "host", "path", "username", "password", "credential"}

const knowsBearer = "capability[]=authtype"

// git serves git-credential-tokend get|store|erase|capability. Nothing is stored;
// other commands are for helpers to come.
func git(ctx context.Context, c *Call) (any, error) {
	command := strings.Join(c.Args, " ")
	if command == "capability" {
		return "version 0\ncapability authtype\n", nil
	}
	if command != "get" && command != "erase" {
		return nil, nil
	}
	text, err := c.input()
	if err != nil {
		return nil, err
	}
	r, err := parseGit(text)
	if err != nil {
		return nil, err
	}
	if command == "erase" {
		return nil, r.erase(ctx, c)
	}
	return r.get(ctx, c)
}

// parseGit reads a request strictly: what git itself would not write may be
// meant to make two programs read it differently.
func parseGit(text []byte) (gitRequest, error) {
	if bytes.ContainsAny(text, "\r\x00") {
		return nil, bad("git's request holds a control character")
	}
	r := gitRequest{}
	for line := range bytes.Lines(text) {
		line, whole := bytes.CutSuffix(line, []byte("\n"))
		if len(line) == 0 {
			break
		}
		key, value, ok := strings.Cut(string(line), "=")
		_, seen := r[key]
		switch {
		case !whole || !ok || key == "":
			return nil, bad("git's request has a line that is not key=value, or breaks off")
		case string(line) == knowsBearer:
			r[knowsBearer] = "yes"
		case !slices.Contains(gitKeys, key):
		case seen || !utf8.ValidString(value) || strings.ContainsFunc(value, func(c rune) bool { return !unicode.IsPrint(c) }):
			return nil, bad("git's request has two lines for %s, or a character that cannot be printed", key)
		default:
			r[key] = value
		}
	}
	if r["protocol"] == "" || r["host"] == "" || strings.ContainsAny(r["host"], "/@?#\\ ") {
		return nil, bad("git's request lacks protocol or host, or the host is not valid")
	}
	return r, nil
}

// url is the URL that git asks about. git says its path unescaped.
func (r gitRequest) url() string {
	path := url.URL{Path: r["path"]}
	return r["protocol"] + "://" + r["host"] + "/" + path.EscapedPath()
}

func (r gitRequest) get(ctx context.Context, c *Call) (any, error) {
	if r["protocol"] != "https" && r["protocol"] != "http" {
		return nil, nil
	}
	g, answer, err := c.getAs(ctx, r.answer, r.url(), minLife)
	switch {
	case errors.Is(err, errNotMine):
		return nil, err
	case errors.Is(err, token.ErrNoDaemon), errors.Is(err, token.ErrDenied), errors.Is(err, token.ErrNotFound):
		c.complain(err)
		return nil, nil
	case err != nil: // our host, and no token: neither a prompt nor another helper would do
		c.complain(err)
		return "quit=1\n", nil
	case answer == "":
		c.say("tokend: profile %s is for user %s, and git asks for %s", g.Profile, userOf(g), r["username"])
	}
	return answer, nil
}

// answer is what git gets for g: nothing if git asks for another user.
func (r gitRequest) answer(g token.Grant) (string, error) {
	expiry := ""
	if !g.Expiry.IsZero() {
		expiry = fmt.Sprintf("password_expiry_utc=%d\n", g.ServeUntil().Unix())
	}
	if g.Present == token.Bearer && r[knowsBearer] != "" {
		text, err := bearer(g)
		return knowsBearer + "\nauthtype=Bearer\ncredential=" + text + "\nephemeral=1\n" + expiry, err
	}
	user, password, err := userPassword(g)
	asked, only := r["username"], userOf(g)
	if err == nil && asked != "" && only != "" && asked != only {
		return "", nil
	}
	return "username=" + cmp.Or(asked, user) + "\npassword=" + password + "\n" + expiry, err
}

// erase drops the very token that git says was refused.
func (r gitRequest) erase(ctx context.Context, c *Call) error {
	refused := cmp.Or(r["credential"], r["password"])
	if refused == "" {
		return nil
	}
	return c.Daemon.Invalidate(c.withAsker(ctx, r.url()), "", token.NewSecret(refused))
}
