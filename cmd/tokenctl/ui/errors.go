package ui

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"tokend/cmd/tokenctl/cli"
	"tokend/docs"
	"tokend/ipc"
	"tokend/providers/token"
)

// Exit statuses. 75 is EX_TEMPFAIL of sysexits.h: the same call may succeed
// later.
const (
	ExitOK          = 0
	ExitFailure     = 1
	ExitUsage       = 2
	ExitNotFound    = 3
	ExitDenied      = 4
	ExitRejected    = 5
	ExitLocked      = 6
	ExitNoDaemon    = 7
	ExitUnavailable = 75
	// What shells use for a program that cannot be run, or is not found.
	ExitCannotRun     = 126
	ExitNotFoundToRun = 127
	// What shells use for an end by Ctrl-C (128 + SIGINT).
	ExitInterrupted = 130
)

// ExitStatuses is the list of them for help.
const ExitStatuses = `  0   success
  1   any other failure; verify: the token is not valid
  2   wrong usage, a bad setting or file, or a name that is taken
  3   there is no such profile
  4   you may not use it
  5   the issuer refuses, and asking again will not help
  6   the keyring is locked or cannot be reached
  7   tokend is not running
  75  the issuer cannot be reached now; tokend keeps trying
  126 exec: the program cannot be run; 127: it was not found
  130 stopped by Ctrl-C
curl and exec pass on the status of the program that they run.
`

// ExitStatus is the status for an error.
func ExitStatus(err error) int {
	return cmp.Or(map[token.Code]int{
		token.ErrInvalid: ExitUsage, token.ErrExists: ExitUsage,
		token.ErrNotFound: ExitNotFound,
		token.ErrDenied:   ExitDenied,
		token.ErrRejected: ExitRejected,
		token.ErrLocked:   ExitLocked, token.ErrKeystore: ExitLocked,
		token.ErrNoDaemon:    ExitNoDaemon,
		token.ErrUnavailable: ExitUnavailable,
	}[CodeOf(err)], ExitFailure)
}

// CodeOf is the code of an error.
func CodeOf(err error) token.Code {
	if e, ok := errors.AsType[*token.Error](err); ok {
		return e.Code
	}
	if code, ok := errors.AsType[token.Code](err); ok {
		return code
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return token.ErrUnavailable
	}
	return token.ErrInternal
}

// An Exit ends tokenctl with a status. It prints Err and no hints, or nothing
// if Err is nil because the user has seen the reason already.
type Exit struct {
	Status int
	Err    error
}

// Error implements error.
func (e *Exit) Error() string { return fmt.Sprint(e.Err) }

// Unwrap returns Err.
func (e *Exit) Unwrap() error { return e.Err }

// ErrInterrupted ends a command after Ctrl-C.
var ErrInterrupted = &Exit{Status: ExitInterrupted}

// ErrNoAnswer means that the user ended the input at a question.
var ErrNoAnswer = errors.New("nothing was entered")

// Report prints an error with hints, and returns the exit status.
func (e *Env) Report(err error, hints []string) int {
	if exit, ok := errors.AsType[*Exit](err); ok {
		if exit.Err != nil {
			e.printError(exit.Err)
		}
		return exit.Status
	}
	e.printError(err)
	for _, hint := range hints {
		e.Err.Print(Wrap(hint, "  "))
	}
	return ExitStatus(err)
}

func (e *Env) printError(err error) {
	text := cli.Message(e.Err.W, "tokenctl: "+Printable(Message(err))+"\n")
	e.Err.Print(e.Err.Paint(Bad, "tokenctl:") + strings.TrimPrefix(text, "tokenctl:"))
}

// Message is an error in words.
func Message(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return "tokend did not answer in time"
	}
	return err.Error()
}

// A Situation is what hints depend on beside the error. Its texts are
// printable.
type Situation struct {
	// Command is the last word of the command, Help the command for its help.
	Command, Help string
	Profile       string
	// FieldFlag is the flag for the field that the error is about, empty if the
	// field was answered at the terminal.
	FieldFlag string
	// Socket is the path that --socket gives.
	Socket string
	// System: the system's tokend was asked, not by root. Sudo is the user who runs
	// this as root.
	System bool
	Sudo   string
	// Profiles are the names of the profiles, as far as they are known, and Hosts those
	// with hosts: "clms (https://land.copernicus.eu)".
	Profiles, Hosts []string
	// Machine is what there is of tokend here, if it does not answer.
	Machine Machine
	Now     time.Time
}

// Situation describes a call that ended with err.
func (e *Env) Situation(ctx context.Context, c *cli.Call, err error) Situation {
	profile, _, _ := strings.Cut(e.Profile, "/") // without a resource
	s := Situation{Command: c.Command.Name, Help: c.Path + " --help", Profile: Printable(profile), Now: time.Now()}
	isRoot := os.Geteuid() == 0
	if d, err := e.Client(); err == nil {
		s.System = d.Socket == ipc.SystemSocket() && !isRoot
		if e.Socket != "" {
			s.Socket = Printable(d.Socket)
		}
	}
	if isRoot {
		s.Sudo = Printable(os.Getenv("SUDO_USER"))
	}
	if about, ok := errors.AsType[*token.Error](err); ok && about.Field != "" && e.FlagFor != nil {
		field := strings.TrimPrefix(about.Field, "settings.")
		if !slices.Contains(e.Answered, field) {
			s.FieldFlag = Printable(e.FlagFor(field))
		}
	}
	switch CodeOf(err) {
	case token.ErrNoDaemon:
		s.Machine = InspectMachine()
	case token.ErrNotFound:
		for _, p := range e.Profiles(ctx) {
			s.Profiles = append(s.Profiles, Printable(p.Name))
			if hosts := p.AllHosts(); hosts != nil {
				s.Hosts = append(s.Hosts, Printable(p.Name+" ("+strings.Join(hosts, ", ")+")"))
			}
		}
	}
	return s
}

// ErrNotStarted is the cause of an error about a tokend that was started and did
// not come up. The error says why.
var ErrNotStarted = errors.New("not started")

// Hints say what to do about an error, what the failed command left as it was,
// and where more is said.
func Hints(err error, s Situation) (lines []string) {
	e := &token.Error{Code: CodeOf(err)}
	errors.As(err, &e)
	switch {
	case errors.Is(err, ErrNoAnswer):
		return s.unchanged()
	case errors.Is(err, ErrNotStarted):
		return nil
	case errors.Is(err, cli.ErrUsage):
		return []string{"See: " + Typed(s.Help)}
	case errors.Is(err, context.DeadlineExceeded):
		return []string{"tokend is still working on it: run the command again, or see its state: " + Typed("tokend doctor")}
	}
	for _, line := range s.advice(e) {
		lines = append(lines, s.render(line))
	}
	if s.System && (e.Code == token.ErrDenied || e.Code == token.ErrNotFound) {
		lines = append(lines, OwnInstead)
	}
	return append(lines, SeeTopic(e.Topic)...)
}

// OwnInstead says how to do without the system's tokend.
const OwnInstead = "This is the system's tokend. For one of your own: tokend" + cli.NoBreak + "setup, then tokend" + cli.NoBreak + "install"

// SeeTopic says where a topic is explained. There is none if it is empty.
func SeeTopic(topic string) []string {
	if topic == "" {
		return nil
	}
	return []string{"See: " + Typed("tokenctl explain", Word(Printable(topic)))}
}

// render makes a hint of text, in which commands stand between backquotes and NAME
// for the profile.
func (s Situation) render(text string) string {
	parts := strings.Split(text, "`")
	for i := 1; i < len(parts); i += 2 {
		parts[i] = Typed(strings.ReplaceAll(parts[i], "NAME", Word(s.Profile)))
	}
	return strings.Join(parts, "")
}

// advice is what to do about an error of tokend's, by its code, to be rendered.
func (s Situation) advice(e *token.Error) []string {
	switch e.Code {
	case token.ErrNoDaemon:
		return s.noDaemon()
	case token.ErrNotFound:
		return s.notFound(e)
	case token.ErrInvalid:
		return s.invalid(e)
	case token.ErrRejected, token.ErrUnavailable:
		return append(s.refused(e), s.unchanged()...)
	case token.ErrExists:
		if !s.isNew() { // the error says what is in the way
			return nil
		}
		return []string{"Use another name, or replace that profile's secret: `tokenctl rotate NAME`"}
	case token.ErrDenied:
		return s.denied(e)
	case token.ErrLocked:
		return append([]string{"Unlock the keyring: `tokenctl unlock`, or in the desktop's password manager. Then try again; you need not restart tokend."}, s.unchanged()...)
	case token.ErrKeystore:
		switch {
		case e.Topic == "disk-full": // which says it all
			return s.unchanged()
		case e.Field != "": // which the keystore lacks
			return []string{"Enter it: `tokenctl rotate NAME`"}
		}
		return append([]string{"See the keystore's state: `tokenctl status`"}, s.unchanged()...)
	}
	if e.Message == "" || e.Cause != nil { // it is not tokend's: causes do not cross the socket
		return nil
	}
	return []string{"tokend's log may say more: `tokenctl logs`"}
}

func (s Situation) noDaemon() (lines []string) {
	m := s.Machine
	switch {
	case m.running != "":
		return []string{"Yours is " + m.running + ": leave out --socket, and unset $" + ipc.SocketEnv + "."}
	case s.Sudo != "" && !m.setUp && !m.system:
		return s.withoutSudo()
	case s.Socket != "":
		return []string{"Start it: `tokend run --socket " + Word(s.Socket) + "`, or is the path right?"}
	}
	if m.Program == "" {
		lines = append(lines, "tokend is neither beside tokenctl nor in $PATH; install it first.")
	}
	switch {
	case m.setUp:
		lines = append(lines, "Start it: `tokenctl --start`, or as a service: `tokend install`")
	case m.system:
		lines = append(lines, "The system's tokend is not running. As root: `tokend start --system`")
	default:
		lines = append(lines, "Set it up and start it: `tokend setup`")
	}
	if os.Getenv(ipc.SocketEnv) != "" {
		lines = append(lines, "$"+ipc.SocketEnv+" names the socket.")
	}
	return lines
}

func (s Situation) withoutSudo() []string {
	return []string{"With sudo you are root, and have no tokend of " + s.Sudo + "'s: leave out sudo."}
}

func (s Situation) denied(e *token.Error) []string {
	switch {
	case s.Sudo != "":
		return s.withoutSudo()
	case e.Field != "": // the error says it all
		return nil
	case strings.Contains(e.Message, ipc.SystemSocket()):
		return []string{"Only members of the group tokend may connect. As root, then log in again: `usermod -aG tokend USER`"}
	}
	return []string{"tokend serves the user that it runs as. Ask its owner, or set up your own: `tokend setup`"}
}

func (s Situation) notFound(e *token.Error) (lines []string) {
	near := token.Nearest(s.Profile, s.Profiles)
	switch {
	case e.Field == "resource": // the error says it all
		return nil
	case e.Detail == token.OwnPermission:
		return []string{"The link carries its own permission and takes no token. Download it without one, with plain curl for example."}
	case e.Field == "url":
		if s.Hosts != nil {
			lines = []string{"Profiles with hosts: " + strings.Join(s.Hosts, ", ")}
		}
		return append(lines, "Add it to hosts = [...] in a profile's file ("+Typed("tokenctl show NAME")+" prints its path) and run `tokenctl reload`.")
	case slices.Contains(s.Profiles, s.Profile):
		return []string{"You can see this profile, but not use its tokens: its allow_users and allow_groups do not name you."}
	case near != "":
		return []string{fmt.Sprintf("Did you mean %q? All profiles: `tokenctl list`", near)}
	case s.Profile == "":
		return nil
	}
	return []string{"All profiles: `tokenctl list`", "A new one: `tokenctl add NAME`"}
}

// invalid says how to correct a file, or names the flag for the field that is
// wrong.
func (s Situation) invalid(e *token.Error) []string {
	switch {
	case s.Command == "reload", strings.Contains(e.Message, " is not active: "): // its file is bad
		return []string{"Correct it, then: `tokenctl reload`"}
	case s.FieldFlag != "":
		return []string{"Its flag: " + s.FieldFlag}
	case s.isNew():
		return s.unchanged()
	}
	return nil
}

// refused says what to do about an issuer that refuses or cannot be reached:
// what docs/errors.md has on its error, and when tokend tries again.
func (s Situation) refused(e *token.Error) (lines []string) {
	for _, topic := range []string{e.Topic, e.Detail, e.OAuth} {
		fix := s.fix(topic)
		if passes := strings.HasPrefix(fix, "wait") || strings.HasPrefix(fix, "nothing"); fix != "" {
			if !passes || e.Code != token.ErrUnavailable {
				lines = []string{topic + ": " + fix}
			}
			break
		}
	}
	if s.Command == "edit" {
		return lines
	}
	if e.Code == token.ErrRejected && len(lines) == 0 {
		lines = []string{"Check the credential and the settings, or enter another: `tokenctl rotate NAME`"}
	}
	next := "later."
	if e.RetryAt.After(s.Now) {
		next = When(e.RetryAt, s.Now) + "."
	}
	const atOnce = " To try at once: `tokenctl get --fresh NAME`"
	switch {
	case s.isNew() && len(lines) == 0:
		return []string{"Try again later, or keep it untested with --no-check."}
	case e.Topic == token.RefusedTwice:
		return append(lines, "Tools get a token again "+next)
	case s.isNew():
		return lines
	case e.Code == token.ErrRejected:
		return append(lines, "tokend will retry within 10 minutes."+atOnce)
	case len(lines) > 0:
		return append(lines, "tokend keeps trying."+atOnce)
	case len(s.unchanged()) > 0:
		return []string{"Try again " + next}
	}
	return []string{"tokend keeps trying. Try again " + next}
}

// fix is what docs/errors.md says to do about a topic, empty if it is not
// there. A command that hands in something new is run again.
func (s Situation) fix(topic string) string {
	t, _ := docs.FindTopic(topic)
	fix := t.Fix()
	if s.isNew() {
		fix = strings.ReplaceAll(fix, "`tokenctl rotate NAME`", "run this command again")
	}
	if s.isNew() && s.Command != "rotate" { // there is no profile yet
		fix = strings.NewReplacer("`tokenctl reload`", "run this command again", "`tokenctl show NAME`", "what you gave").Replace(fix)
	}
	return fix
}

// isNew reports whether the command hands in something new.
func (s Situation) isNew() bool {
	return s.Command == "add" || s.Command == "rotate" || s.Command == "import" || s.Command == "edit"
}

// unchanged says what a failed command left as it was.
func (s Situation) unchanged() []string {
	text := map[string]string{
		"add":        "Nothing was saved.",
		"remove":     "Nothing was removed.",
		"rename":     "The profile keeps its old name.",
		"edit":       "Nothing was changed.",
		"rotate":     "The old secret or key is still in use.",
		"migrate":    "All secrets are where they were.",
		"invalidate": "Nothing was dropped.",
		"verify":     "There is no verdict: do not accept the token.",
	}[s.Command]
	return slices.DeleteFunc([]string{text}, func(text string) bool { return text == "" })
}
