// Package ui is how tokenctl speaks to people: screens, tables, questions,
// times, and errors with what to do about them. The rules:
//
//   - Facts come from the libraries and from tokend. What to do about them is a
//     hint, and hints are worded here or in docs/errors.md.
//   - An error is one line on stderr, "tokenctl: …". Hints follow, indented by
//     two spaces, with the exact command to type.
//   - stdout is for answers. Questions, errors and hints go to stderr.
//   - What was not written here (profile names, issuers' words, file names)
//     goes through Printable before it reaches a terminal.
//   - Colour is for terminals, and NO_COLOR turns it off. It only repeats what
//     a word says already.
//   - People read "in 42 min"; --json has RFC 3339 in UTC.
//   - Our lines fit in 80 columns.
package ui

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"tokend/cmd/tokenctl/cli"
	"tokend/ipc"
	"tokend/providers/token"
)

// An Env is what the commands of one run share.
type Env struct {
	In       io.Reader
	Out, Err Screen
	// Socket is the path that --socket gives, empty for the usual places.
	Socket string
	// Start starts a tokend where none answers at socket, if the user wants that.
	Start  func(ctx context.Context, socket string) error
	Starts bool

	// For hints: the profile that the command is about, the fields that were
	// answered at the terminal, and the flag for a field.
	Profile  string
	Answered []string
	FlagFor  func(field string) string

	// Watching: the screen belongs to a command that shows a state live.
	Watching bool
}

// Patience bounds the wait for tokend, which itself gives up on an issuer or a
// keyring earlier.
const Patience = 2 * time.Minute

// Client returns the client for tokend.
func (e *Env) Client() (*ipc.Client, error) {
	socket, err := e.Socket, error(nil)
	if socket == "" {
		socket, err = ipc.FindSocket()
	}
	if err == nil {
		socket, err = filepath.Abs(socket)
	}
	isChosen := e.Socket != "" || os.Getenv(ipc.SocketEnv) != ""
	if !isChosen && socket == ipc.SystemSocket() { // the user's own comes first
		h := ownHolder()
		switch state, _ := StateDir(); {
		case h.Serves(context.Background()):
			socket = h.Socket
		case e.Starts && IsSetUp(state):
			socket, err = ipc.UserSocket()
		}
	}
	d := &ipc.Client{Socket: socket}
	d.Start = func(ctx context.Context) error {
		if h := ownHolder(); !isChosen && h.Socket != socket && h.Serves(ctx) {
			d.Socket = h.Socket
			return nil
		}
		if !e.Starts {
			return fs.ErrNotExist
		}
		return e.Start(ctx, socket)
	}
	if IsTerminal(e.Err.W) {
		d.Warn = func(text string) { e.Note(Printable(text)) }
	}
	return d, err
}

// ownHolder is the tokend that uses the user's own state directory.
func ownHolder() (h ipc.Holder) {
	if state, err := StateDir(); err == nil {
		h = ipc.ReadHolder(state)
	}
	return h
}

// progressAfter is how long something may last before the screen says so.
const progressAfter = 500 * time.Millisecond

// Progress tells a person at a terminal, on stderr, what tokenctl waits for if it
// lasts, until end is called.
func (e *Env) Progress(text string) (end func()) {
	if e.Watching || !IsTerminal(e.Err.W) {
		return func() {}
	}
	timer := time.AfterFunc(progressAfter, func() { e.Err.Print(text + " ...\n") })
	return func() { timer.Stop() }
}

// Do has tokend do something, and says what was done.
func (e *Env) Do(ctx context.Context, done string, f func(*ipc.Client, context.Context) error) error {
	_, err := Ask(ctx, e, func(d *ipc.Client, ctx context.Context) (any, error) { return nil, f(d, ctx) })
	if err != nil {
		return err
	}
	return e.Say(done)
}

// Ask calls f with the client, bounds its time, and shows that it waits.
func Ask[T any](ctx context.Context, e *Env, f func(*ipc.Client, context.Context) (T, error)) (T, error) {
	return AskFor(ctx, e, Patience, "Waiting for tokend", f)
}

// AskFor is Ask with another limit, and words for what it waits for.
func AskFor[T any](ctx context.Context, e *Env, limit time.Duration, what string, f func(*ipc.Client, context.Context) (T, error)) (answer T, err error) {
	d, err := e.Client()
	if err != nil {
		return answer, err
	}
	d.Deadline = time.Now().Add(limit)
	defer e.Progress(what)()
	return f(d, ctx)
}

// Status asks for the state of tokend and its profiles.
func (e *Env) Status(ctx context.Context) (token.Status, error) {
	return Ask(ctx, e, (*ipc.Client).Status)
}

// ProfileStatus asks for the state of one profile.
func (e *Env) ProfileStatus(ctx context.Context, name string) (token.ProfileStatus, error) {
	return Ask(ctx, e, func(d *ipc.Client, ctx context.Context) (token.ProfileStatus, error) { return d.Profile(ctx, name) })
}

// State asks for the state of e.Profile alone or, if that is empty, of everything.
func (e *Env) State(ctx context.Context) (token.Status, error) {
	if e.Profile == "" {
		return e.Status(ctx)
	}
	p, err := e.ProfileStatus(ctx, e.Profile)
	return token.Status{Profiles: []token.ProfileStatus{p}}, err
}

// IsURL reports whether an argument is a URL, and not a profile's name.
func IsURL(arg string) bool { return strings.Contains(arg, "://") }

// lookupPatience bounds the wait for what is only a help.
const lookupPatience = 2 * time.Second

// Profiles lists the profiles if tokend answers soon, for completions and
// hints, which are no place for an error.
func (e *Env) Profiles(ctx context.Context) []token.ProfileStatus {
	d, err := e.Client()
	if err != nil {
		return nil
	}
	d.Start = nil // the user has not asked for anything yet
	d.Deadline = time.Now().Add(lookupPatience)
	st, err := d.Status(ctx)
	if err != nil {
		return nil
	}
	return st.Profiles
}

// CompleteProfile is a cli.Completer for a profile's name as the first
// argument.
func (e *Env) CompleteProfile(args []string) []cli.Candidate {
	return cli.First(func() []cli.Candidate { return e.CompleteProfiles(nil) })(args)
}

// CompleteProfiles is a cli.Completer for names of profiles.
func (e *Env) CompleteProfiles([]string) (names []cli.Candidate) {
	for _, p := range e.Profiles(context.Background()) {
		names = append(names, cli.Candidate{Text: Printable(p.Name), Doc: Printable(p.Provider)})
	}
	return names
}

// ResourceFlag defines the flag for a resource of the profile that is named.
func (e *Env) ResourceFlag(f *cli.Flags, resource *string, doc string) {
	f.Text("resource", "NAME", doc, func(text string) error { *resource = text; return nil })
	f.Complete("resource", func(args []string) (names []cli.Candidate) {
		for _, p := range e.Profiles(context.Background()) {
			for _, r := range p.Resources {
				if len(args) > 0 && args[0] == p.Name {
					names = append(names, cli.Candidate{Text: Printable(r.Name), Doc: Printable(strings.Join(r.Hosts, " "))})
				}
			}
		}
		return names
	})
}

// OneProfile is the check of a command that takes a profile's name.
func (e *Env) OneProfile(ctx context.Context, c *cli.Call) error {
	switch len(c.Args) {
	case 0:
		return e.WhichProfile(ctx)
	case 1:
		e.Profile = c.Args[0]
		return nil
	}
	return cli.Usage("%s takes one profile name, not %d", c.Name(), len(c.Args))
}

// MaybeProfile is OneProfile for a command that also does without a name.
func (e *Env) MaybeProfile(ctx context.Context, c *cli.Call) error {
	if len(c.Args) == 0 {
		return nil
	}
	return e.OneProfile(ctx, c)
}

// ForProfile makes a command one that takes a profile's name.
func (e *Env) ForProfile(c *cli.Command) *cli.Command {
	c.Args, c.Check, c.Complete = "NAME", e.OneProfile, e.CompleteProfile
	return c
}

// WhichProfile is the error for a command that lacks a profile's name.
func (e *Env) WhichProfile(ctx context.Context) error {
	const most = 10
	var names []string
	for _, p := range e.Profiles(ctx) {
		names = append(names, p.Name)
	}
	switch {
	case len(names) == 0:
		return cli.Usage("Which profile?")
	case len(names) > most:
		names = append(names[:most], "...")
	}
	return cli.Usage("Which profile? You have: %s", strings.Join(names, ", "))
}

// Note prints on stderr what comes with an answer.
func (e *Env) Note(text string) { e.Err.Print(Wrap(text, "")) }

// Say prints a sentence as the answer.
func (e *Env) Say(text string) error { return e.Out.Answer(cli.Message(e.Out.W, Printable(text)+"\n")) }

// Notef formats a note.
func (e *Env) Notef(format string, args ...any) { e.Note(fmt.Sprintf(format, args...)) }
