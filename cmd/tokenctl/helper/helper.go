// Package helper speaks the protocols in which other tools ask for
// credentials. What they share:
//
//   - stdout is the protocol, stderr is for people.
//   - A URL that no profile covers gets the protocol's "not mine", nothing
//     else. The daemon decides which profile covers a URL.
//   - Input is read strictly and within bounds before anything is answered: odd
//     input gets an error and no byte of a credential.
//   - No token is written that does not fit its line, header or string.
package helper

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
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
	// Hosts are URLs that --host names (goauth, rclone).
	Hosts []string

	In       io.Reader
	Out, Err io.Writer
	Daemon   Daemon
	// Explain words an error for a person, in one or more lines: what is wrong
	// and what to do.
	Explain func(error) string

	refusals refusals
	// about is what the tool asks about, if that is not the URL of the question.
	about string
}

// A Protocol is one way in which tools ask.
type Protocol struct {
	// Name is what follows `tokenctl helper`.
	Name string
	// Program is the name under which tools find the helper.
	Program string
	// Doc says in a few words who asks like this.
	Doc string
	// args are the tool's arguments, which serve checks if they differ ("*").
	args string
	// notMine is the answer for what no profile covers.
	notMine  string
	refusals refusals
	// serve returns the answer: text, or what is written as a line of JSON.
	serve func(context.Context, *Call) (any, error)
}

// refusals says how tools of a protocol show that a server refused a token.
type refusals struct {
	// again is token.Asker's Again for one process that asks about one URL.
	again int
	// always: such a tool also asks again for other reasons, and so gets a token in
	// any case.
	always bool
}

// Run serves one call. Its error is for stderr, and ends the program with status
// 1; ErrReported is not printed.
func (p Protocol) Run(ctx context.Context, c *Call) error {
	if got := strings.Join(c.Args, " "); p.args != "*" && got != p.args {
		return bad("%s calls this program with %q, not with %q", p.Name, p.args, got)
	}
	c.refusals = p.refusals
	answer, err := p.serve(ctx, c)
	if errors.Is(err, errNotMine) {
		answer, err = p.notMine, nil
	}
	if err != nil && !errors.Is(err, ErrReported) {
		return err
	}
	return cmp.Or(c.write(answer), err)
}

// ErrReported means that the tool has the error in its own protocol: the program
// ends with status 1 and prints nothing more.
var ErrReported = errors.New("reported already")

// Protocols are all protocols.
var Protocols = []Protocol{
	{"git", "git-credential-tokend", "git: credential.helper", "*", "", refusals{}, git},
	// A process that pulls or copies several images asks for each.
	{"docker", "docker-credential-tokend", "docker, podman, skopeo, crane, helm", "*", "", refusals{2, true}, docker},
	{"cargo", "cargo-credential-tokend", "cargo: credential-provider", "--cargo-plugin", "", refusals{again: 2}, cargo},
	{"goauth", "goauth-credential-tokend", "go: GOAUTH", "*", "", refusals{}, goauth},
	{"bazel", "bazel-credential-tokend", "bazel: --credential_helper", "get", "{}\n", refusals{again: 2}, bazel},
	// client-go keeps a token until it expires, and asks again after a 401 only.
	{"kube", "kubectl-credential-tokend", "kubectl, client-go: exec plugins", "", "", refusals{again: 1}, kube},
	{"terraform", "terraform-credentials-tokend", "terraform, tofu: credentials_helper", "*", "{}\n", refusals{again: 2}, terraform},
	// pnpm asks twice for each of its registries, and rclone once for each remote.
	{"pnpm", "pnpm-credential-tokend", "pnpm: tokenHelper", "", "", refusals{2, true}, pnpm},
	{"keyring", "keyring", "pip, uv: keyring provider subprocess", "*", "", refusals{again: 2}, keyring},
	{"rclone", "rclone-credential-tokend", "rclone: bearer_token_command", "", "", refusals{2, true}, rclone},
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
	if url == "" && c.Profile == "" {
		return token.Grant{}, bad("the tool names no URL, and --profile no profile")
	}
	if url != "" && !strings.Contains(url, "://") { // docker, pip and terraform name a host
		url = "https://" + url
	}
	url = token.WithoutUser(url)
	if _, err := token.ParseURL(url); url != "" && err != nil {
		if c.isHostOurs(ctx, url) {
			c.say("tokend has no token for this URL: %v", err)
		}
		return token.Grant{}, errNotMine
	}
	g, err := c.ask(ctx, token.Query{URL: url, MinTTL: life})
	e, ok := errors.AsType[*token.Error](err)
	if !ok || e.Code != token.ErrNotFound || url == "" {
		return g, err
	}
	if e.Detail == token.AnotherPath || c.Profile != "" {
		c.complain(err)
	}
	return g, errNotMine
}

// getAs is get, and returns the token in a form of the tool's too.
func (c *Call) getAs(ctx context.Context, form func(token.Grant) (string, error), url string, life time.Duration) (token.Grant, string, error) {
	g, err := c.get(ctx, url, life)
	if err != nil {
		return g, "", err
	}
	text, err := form(g)
	return g, text, err
}

// isHostOurs reports whether a profile covers something on the host of a URL for
// which there are no tokens.
func (c *Call) isHostOurs(ctx context.Context, url string) bool {
	_, rest, _ := strings.Cut(url, "://")
	host, _, _ := strings.Cut(rest, "/")
	_, err := c.Daemon.Get(ctx, c.Profile, token.Query{URL: "https://" + host + "/", MinTTL: minLife})
	e, ok := errors.AsType[*token.Error](err)
	return !ok || e.Detail == token.AnotherPath ||
		!slices.Contains([]token.Code{token.ErrNotFound, token.ErrInvalid, token.ErrNoDaemon, token.ErrDenied}, e.Code)
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

// userPassword is g for a tool that knows users and passwords. Most services take
// any user where the password is a token.
func userPassword(g token.Grant) (user, password string, err error) {
	user = userOf(g)
	if user == "" && g.Present != "" && g.Present != token.Bearer {
		return "", "", bad("profile %s has present = %q, and this tool sends a user and a password", g.Profile, string(g.Present))
	}
	text, err := format.Token(g, time.Time{})
	return cmp.Or(user, "oauth2"), strings.TrimSuffix(string(text), "\n"), err
}

// userOf is the only user name that g is for, "" if any will do.
func userOf(g token.Grant) string {
	if user, ok := g.Present.User(); ok {
		return user
	}
	return ""
}

// expires is when tools should ask again, in whole seconds: Bazel reads no
// fraction. It is empty for a token without an expiry.
func expires(g token.Grant) string {
	if g.Expiry.IsZero() {
		return ""
	}
	return g.ServeUntil().UTC().Format(time.RFC3339)
}

// write writes text, or one line of JSON, in which < and > stay as they are.
func (c *Call) write(answer any) error {
	if text, ok := answer.(string); ok || answer == nil {
		_, err := io.WriteString(c.Out, text)
		return err
	}
	e := json.NewEncoder(c.Out)
	e.SetEscapeHTML(false)
	return e.Encode(answer)
}

// say writes a line or more for people.
func (c *Call) say(text string, args ...any) {
	_, _ = fmt.Fprintln(c.Err, strings.TrimSuffix(fmt.Sprintf(text, args...), "\n"))
}

// complain says what is wrong and what to do.
func (c *Call) complain(err error) { c.say("tokend: %s", c.Explain(err)) }

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

// bad returns the error for a bad request of a tool.
func bad(text string, args ...any) error {
	return &token.Error{Code: token.ErrInvalid, Message: fmt.Sprintf(text, args...)}
}

// ask asks tokend, and says who asks. A tool that asks again for a token that it has
// got, and waits for each answer, had it refused: then tokend drops it.
func (c *Call) ask(ctx context.Context, q token.Query) (token.Grant, error) {
	asked := c.withAsker(ctx, q.URL)
	g, err := c.Daemon.Get(asked, c.Profile, q)
	if e, ok := errors.AsType[*token.Error](err); !ok || e.Detail != token.AskedAgain {
		return g, err
	}
	if g, err = c.Daemon.Get(ctx, c.Profile, q); err != nil || runsOthers(os.Getppid()) {
		return g, err
	}
	if c.refusals.always {
		asked = ctx
	}
	err = c.Daemon.Invalidate(asked, g.Profile, g.Secret)
	switch {
	case err == nil:
		return c.Daemon.Get(asked, c.Profile, q)
	case c.refusals.always:
		return g, nil
	}
	return token.Grant{}, err
}

// withAsker returns ctx with who asks about url: a process, but for git, whose
// processes come and go.
func (c *Call) withAsker(ctx context.Context, url string) context.Context {
	a := token.Asker{Key: cmp.Or(c.about, url), Again: c.refusals.again}
	if a.Again > 0 {
		a.Key = toolProcess() + " " + a.Key
	}
	return token.WithAsker(ctx, a)
}

// toolProcess names the process that runs this helper: its pid and, where /proc
// says it, when it started, because pids are used again.
func toolProcess() string {
	name := strconv.Itoa(os.Getppid())
	stat, _ := os.ReadFile("/proc/" + name + "/stat")
	// What precedes is the program's name in parentheses, which may hold anything.
	after := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(after) > 19 {
		name += "." + after[19] // the 22nd field of all, proc(5)
	}
	return name
}

// runsOthers reports whether a process runs helpers besides this one, or is about to
// (a child that is still the parent's own program), where /proc says it: so it does not
// ask because of a refusal.
func runsOthers(pid int) bool {
	own, _ := os.Readlink("/proc/self/exe")
	tool, _ := os.Readlink("/proc/" + strconv.Itoa(pid) + "/exe")
	threads, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/children")
	return slices.ContainsFunc(threads, func(file string) bool {
		children, _ := os.ReadFile(file)
		return slices.ContainsFunc(strings.Fields(string(children)), func(child string) bool {
			exe, err := os.Readlink("/proc/" + child + "/exe")
			return err == nil && (exe == own || exe == tool) && child != strconv.Itoa(os.Getpid())
		})
	})
}
