// Package helper speaks the protocols in which other tools ask for
// credentials, one file each. What they share:
//
//   - stdout is the protocol, stderr is for people.
//   - A URL that no profile covers gets the protocol's "not mine", nothing
//     else. The daemon decides which profile covers a URL.
//   - Input is read strictly and within bounds before anything is answered: odd
//     input gets an error and no byte of a credential.
//   - No token is written that does not fit its line, header or string.
package helper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"tokend/providers/token"
	"tokend/providers/token/format"
)

// Patience bounds a call: the most impatient tool gives a helper 10 s.
const Patience = 8 * time.Second

// How much life a token needs for tools that use it at once, and for those that
// keep it for as long as they run.
const (
	minLife  = time.Minute
	keptLife = 2 * time.Minute
)

// maxInput bounds what a tool may say, in bytes.
const maxInput = 1 << 20

// A Daemon is what helpers ask of tokend; ipc.Client has it.
type Daemon interface {
	// Get without a name is for the profile that covers q.URL; ErrNotFound
	// means that none does.
	Get(ctx context.Context, name string, q token.Query) (token.Grant, error)
	Invalidate(ctx context.Context, name string, t token.Secret) error
	Exchange(ctx context.Context, name, registry string) (token.Secret, error)
}

// A Call is one call of a helper.
type Call struct {
	// Args are the tool's arguments, without the program's name and flags of
	// ours.
	Args []string
	// Profile is the only profile to consider, empty for any.
	Profile string
	// Hosts are URLs that --host names (goauth).
	Hosts []string

	In       io.Reader
	Out, Err io.Writer
	Env      func(string) string
	again    int
	Daemon   Daemon
	// Explain words an error for a person, in one or more lines: what is wrong
	// and what to do.
	Explain func(error) string
}

// A Protocol is one way in which tools ask.
type Protocol struct {
	// Name is what follows `tokenctl helper`.
	Name string
	// Program is the name under which tools find the helper.
	Program string
	// Doc says in a few words who asks like this.
	Doc string
	// notMine is the answer for what no profile covers.
	notMine string
	// again is token.Asker's Again for one process that asks about one URL.
	again int
	serve func(context.Context, *Call) error
}

// Run serves one call. Its error is for stderr, and ends the program with status
// 1; ErrReported is not printed.
func (p Protocol) Run(ctx context.Context, c *Call) error {
	c.again = p.again
	err := p.serve(ctx, c)
	if errors.Is(err, errNotMine) {
		_, err = io.WriteString(c.Out, p.notMine)
	}
	return err
}

// ErrReported means that the tool has the error in its own protocol: the program
// ends with status 1 and prints nothing more.
var ErrReported = errors.New("reported already")

// Protocols are all protocols.
var Protocols = []Protocol{
	{"git", "git-credential-tokend", "git: credential.helper", "", 0, git},
	// A process that pulls or copies several images asks for each.
	{"docker", "docker-credential-tokend", "docker, podman, skopeo, crane, helm", "", -2, docker},
	{"cargo", "cargo-credential-tokend", "cargo: credential-provider", "", 2, cargo},
	{"goauth", "goauth-credential-tokend", "go: GOAUTH", "", 0, goauth},
	{"bazel", "bazel-credential-tokend", "bazel: --credential_helper", "{}\n", 2, bazel},
	// client-go keeps a token until it expires, and asks again after a 401 only.
	{"kube", "kubectl-credential-tokend", "kubectl, client-go: exec plugins", "", 1, kube},
	{"terraform", "terraform-credentials-tokend", "terraform, tofu: credentials_helper", "{}\n", 2, terraform},
	// pnpm asks twice for each of its registries, and rclone once for each remote.
	{"pnpm", "pnpm-credential-tokend", "pnpm: tokenHelper", "", -2, pnpm},
	{"keyring", "keyring", "pip, uv: keyring provider subprocess", "", 2, keyring},
	{"rclone", "rclone-credential-tokend", "rclone: bearer_token_command", "", -2, rclone},
}

// ByName finds the protocol of `tokenctl helper NAME`.
func ByName(name string) (Protocol, bool) {
	for _, p := range Protocols {
		if p.Name == name {
			return p, true
		}
	}
	return Protocol{}, false
}

// ByProgram finds the protocol of a program name, without a path. What follows
// the name after another hyphen is a profile, for tools that pass no arguments:
// pnpm-credential-tokend-npm is for the profile npm.
func ByProgram(program string) (p Protocol, profile string, ok bool) {
	program = strings.TrimSuffix(program, ".exe")
	for _, p := range Protocols {
		if rest, ok := strings.CutPrefix(program, p.Program); ok && (rest == "" || rest[0] == '-' && len(rest) > 1) {
			return p, strings.TrimPrefix(rest, "-"), true
		}
	}
	return Protocol{}, "", false
}

// get asks for a token of the profile that covers url, or that the call names;
// url may be empty then. The error is errNotMine if no profile covers url.
func (c *Call) get(ctx context.Context, url string, life time.Duration) (token.Grant, error) {
	url = token.WithoutUser(url)
	if url == "" && c.Profile == "" {
		return token.Grant{}, bad("the tool names no URL, and --profile no profile")
	}
	if err := token.CheckURL(url); url != "" && err != nil {
		if c.isHostOurs(ctx, url) {
			c.say("tokend has no token for this URL: %v", err)
		}
		return token.Grant{}, errNotMine
	}
	g, err := c.Daemon.Get(c.asks(ctx, url), c.Profile, token.Query{URL: url, MinTTL: life})
	if err == nil || url == "" || !errors.Is(err, token.ErrNotFound) {
		return g, err
	}
	var e *token.Error
	if errors.As(err, &e) && (e.Detail == token.AnotherPath || c.Profile != "") {
		c.say("tokend: %s", c.Explain(err))
	}
	return g, errNotMine
}

// asks returns ctx with who asks about url, if it has none yet.
func (c *Call) asks(ctx context.Context, url string) context.Context {
	if token.AskerOf(ctx).Key != "" {
		return ctx
	}
	if c.again == 0 { // git's processes come and go
		return token.WithAsker(ctx, token.Asker{Key: url})
	}
	process, busy := toolProcess()
	if busy {
		return ctx
	}
	return token.WithAsker(ctx, token.Asker{Key: process + " " + url, Again: c.again})
}

// isHostOurs reports whether a profile covers something on the host of a URL for
// which there are no tokens.
func (c *Call) isHostOurs(ctx context.Context, url string) bool {
	_, rest, _ := strings.Cut(url, "://")
	host, _, _ := strings.Cut(rest, "/")
	whole := "https://" + host + "/"
	if token.CheckURL(whole) != nil {
		return false
	}
	_, err := c.Daemon.Get(ctx, c.Profile, token.Query{URL: whole, MinTTL: minLife})
	var e *token.Error
	if errors.As(err, &e) && errors.Is(e, token.ErrNotFound) {
		return e.Detail == token.AnotherPath
	}
	return !errors.Is(err, token.ErrNoDaemon) && !errors.Is(err, token.ErrDenied)
}

// authorization is the value of an Authorization header for g.
func authorization(g token.Grant) (string, error) {
	name, value, err := format.Header(g)
	if err == nil && name != "Authorization" {
		err = bad("profile %s presents its token in the header %s, which this tool cannot send", g.Profile, name)
	}
	return value, err
}

// bearer is the token of g for a tool that sends it as a bearer token.
func bearer(g token.Grant) (string, error) {
	if g.Present != "" && g.Present != token.Bearer {
		return "", bad("profile %s has present = %q, and this tool sends bearer tokens", g.Profile, string(g.Present))
	}
	value, err := authorization(g)
	return strings.TrimPrefix(value, "Bearer "), err
}

// basicUser is the user name for a tool that knows users and passwords.
// Most services take any where the password is a token.
func basicUser(g token.Grant) (string, error) {
	if user, ok := g.Present.User(); ok {
		return user, nil
	}
	if g.Present != "" && g.Present != token.Bearer {
		return "", bad("profile %s has present = %q, and this tool sends a user and a password", g.Profile, string(g.Present))
	}
	return "oauth2", nil
}

// password is the token of g as one line of text.
func password(g token.Grant) (string, error) {
	text, err := format.Token(g, time.Time{})
	return strings.TrimSuffix(string(text), "\n"), err
}

// withScheme is a URL for what is one, or a host.
func withScheme(server string) string {
	if strings.Contains(server, "://") {
		return server
	}
	return "https://" + server
}

// expires is when tools should ask again, in whole seconds: Bazel reads no
// fraction. It is empty for a token without an expiry.
func expires(g token.Grant) string {
	if g.Expiry.IsZero() {
		return ""
	}
	return g.ServeUntil().UTC().Format(time.RFC3339)
}

// writeJSON writes one line of JSON, in which < and > stay as they are.
func (c *Call) writeJSON(v any) error {
	e := json.NewEncoder(c.Out)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// say writes a line or more for people.
func (c *Call) say(text string, args ...any) {
	_, _ = fmt.Fprintln(c.Err, strings.TrimSuffix(fmt.Sprintf(text, args...), "\n"))
}

// input reads the tool's request, within bounds.
func (c *Call) input() ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(c.In, maxInput+1))
	if err == nil && len(b) > maxInput {
		err = bad("the request has more than %d bytes", maxInput)
	}
	return b, err
}

// errNotMine means that no profile covers what the tool asked about.
var errNotMine = errors.New("no profile covers it")

// unmarshal reads a tool's JSON. Its errors do not quote it.
func unmarshal(text []byte, into any, what string) error {
	if err := json.Unmarshal(text, into); err != nil {
		return bad("%s is not valid JSON of the expected kind", what)
	}
	return nil
}

// bad returns the error for a bad request of a tool.
func bad(text string, args ...any) error {
	return &token.Error{Code: token.ErrInvalid, Message: fmt.Sprintf(text, args...)}
}
