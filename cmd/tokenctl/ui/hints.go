package ui

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"tokend/cmd/tokenctl/cli"
	"tokend/docs"
	"tokend/ipc"
	"tokend/providers/token"
)

// A Situation is what hints depend on beside the error. Its texts are
// printable.
type Situation struct {
	// Command is the last word of the command, Help the command for its help.
	Command, Help string
	Profile       string
	// Flags are those that were given, Answered the fields that were answered
	// at the terminal.
	Flags, Answered []string
	// FieldFlag is the flag for the field that the error is about.
	FieldFlag string
	// Socket is the path that --socket gives.
	Socket string
	// Profiles are the names of the profiles, as far as they are known.
	Profiles []string
	// Machine is what there is of tokend here, if it does not answer.
	Machine Machine
	Now     time.Time
}

// Situation describes a call that ended with err.
func (e *Env) Situation(ctx context.Context, c *cli.Call, err error) Situation {
	s := Situation{
		Command: c.Command.Name, Help: c.Path + " --help", Profile: Printable(e.Profile), Answered: e.Answered, Now: time.Now(),
	}
	c.Flags.Visit(func(f *pflag.Flag) { s.Flags = append(s.Flags, f.Name) })
	if d, err := e.Client(); err == nil && e.Socket != "" {
		s.Socket = Printable(d.Socket)
	}
	var about *token.Error
	if errors.As(err, &about) && about.Field != "" && e.FlagFor != nil {
		s.FieldFlag = Printable(e.FlagFor(strings.TrimPrefix(about.Field, "settings.")))
	}
	switch CodeOf(err) {
	case token.ErrNoDaemon:
		s.Machine = InspectMachine()
	case token.ErrNotFound:
		for _, p := range e.Profiles(ctx) {
			s.Profiles = append(s.Profiles, Printable(p.Name))
		}
	}
	return s
}

// Causes of errors of ours that hints depend on.
var (
	// ErrNotStarted: a tokend was started and did not come up, or could not be.
	ErrNotStarted = errors.New("not started")
	// ErrNoTopic: there is no such topic to explain.
	ErrNoTopic = errors.New("no topic")
)

// Hints say what to do about an error, and where more is said.
func Hints(err error, s Situation) []string {
	lines := advice(err, s)
	var e *token.Error
	if errors.As(err, &e) {
		lines = append(lines, SeeTopic(e.Topic)...)
	}
	return lines
}

// SeeTopic says where a topic is explained. There is none if it is empty.
func SeeTopic(topic string) []string {
	if topic == "" {
		return nil
	}
	return []string{"See: " + Typed("tokenctl explain", Word(Printable(topic)))}
}

func advice(err error, s Situation) []string {
	e := &token.Error{Code: CodeOf(err)}
	errors.As(err, &e)
	switch {
	case errors.Is(err, ErrNoAnswer):
		return s.unchanged()
	case errors.Is(err, ErrNotStarted): // it says why
		if s.Machine.Program == "" {
			return nil
		}
		return []string{"Find out why: " + Typed("tokend doctor")}
	case errors.Is(err, errNoSocket):
		return []string{"Is the path right?"}
	case errors.Is(err, ErrNoTopic):
		return []string{"All topics: " + Typed("tokenctl explain")}
	case errors.Is(err, cli.ErrUsage):
		return []string{"See: " + Typed(s.Help)}
	case errors.Is(err, context.DeadlineExceeded) && s.Command == "get":
		return []string{"tokend is still at it: run the command again, or wait longer with " + Typed("--timeout 1m")}
	case errors.Is(err, context.DeadlineExceeded):
		return []string{"See its state: " + Typed("tokenctl status")}
	}
	return s.adviceOn(e, err)
}

// adviceOn is the advice by the error's code.
func (s Situation) adviceOn(e *token.Error, err error) []string {
	switch e.Code {
	case token.ErrNoDaemon:
		return s.NoDaemon()
	case token.ErrNotFound:
		return s.notFound(e)
	case token.ErrExists:
		if s.Command == "setup" || s.Command == "migrate" { // the error says what is in the way
			return nil
		}
		return []string{"Take another name, or give that profile a new secret: " + Typed("tokenctl rotate", Word(s.Profile))}
	case token.ErrDenied:
		return denied(e)
	case token.ErrRejected:
		return s.rejected(e)
	case token.ErrUnavailable:
		return s.unavailable(e)
	case token.ErrLocked:
		return append(s.locked(), s.unchanged()...)
	case token.ErrKeystore:
		return append(s.keystore(e), s.unchanged()...)
	case token.ErrInvalid:
		return s.invalid(e)
	}
	var sent *token.Error
	if !errors.As(err, &sent) || sent.Cause != nil { // it is not tokend's: causes do not cross the socket
		return nil
	}
	return []string{"tokend's log may say more. See its state: " + Typed("tokenctl status")}
}

// NoDaemon says how to get a tokend that answers.
func (s Situation) NoDaemon() []string {
	if s.Socket != "" {
		return []string{"Start it: " + Typed("tokend run --socket", Word(s.Socket)) + ", or is the path right?"}
	}
	lines := s.Machine.steps()
	if os.Getenv(ipc.SocketEnv) != "" {
		lines = append(lines, "$"+ipc.SocketEnv+" names the socket.")
	}
	return lines
}

func denied(e *token.Error) []string {
	switch {
	case e.Field == "admin_users":
		return nil
	case strings.Contains(e.Message, ipc.SystemSocket()):
		return []string{"Members of the group tokend may connect. As root, and then log in again: " + Typed("usermod -aG tokend USER")}
	}
	return []string{"tokend serves the user that it runs as. Ask its owner, or run one of your own: " + Typed("tokend run")}
}

func (s Situation) notFound(e *token.Error) []string {
	all := "All profiles: " + Typed("tokenctl list")
	switch near := token.Nearest(s.Profile, s.Profiles); {
	case e.Field == "url":
		return []string{"Add it to hosts = [...] in a profile's file (" + Typed("tokenctl show NAME") + " prints its path) and run " + Typed("tokenctl reload") + "."}
	case slices.Contains(s.Profiles, s.Profile):
		return []string{"The profile exists, but its secret does not. Hand it in again: " + Typed("tokenctl rotate", Word(s.Profile))}
	case near != "":
		return []string{fmt.Sprintf("Did you mean %q? %s", near, all)}
	case s.Profile == "":
		return nil
	}
	if err := token.CheckName(s.Profile); err != nil {
		return []string{Printable(err.Error()), all}
	}
	return []string{all, "A new one: " + Typed("tokenctl add", Word(s.Profile))}
}

func (s Situation) locked() []string {
	how := "log in to the desktop, or open its password manager (Passwords and Keys, KWalletManager, KeePassXC)"
	if s.Command != "unlock" {
		how = Typed("tokenctl unlock") + ", or " + how
	}
	switch runtime.GOOS {
	case "darwin":
		how = "security unlock-keychain, or open Keychain Access"
	case "windows":
		how = "log in to Windows as this user"
	}
	return []string{"Unlock the keyring: " + how + ". Then try again; tokend need not be restarted."}
}

func (s Situation) keystore(e *token.Error) []string {
	if e.Field != "" && s.Profile != "" {
		return []string{"Hand it in: " + Typed("tokenctl rotate", s.Profile)}
	}
	if strings.HasPrefix(e.Topic, "key-file") { // which is not about the keyring
		return nil
	}
	lines := []string{"See the keystore's state: " + Typed("tokenctl status")}
	if runtime.GOOS == "linux" {
		lines = append(lines, "The OS keyring needs a desktop session with a keyring service, and tokend started within it. "+
			"A host without one keeps secrets in sealed files: "+Typed("tokend setup --help"))
	}
	return lines
}

func (s Situation) unavailable(e *token.Error) (lines []string) {
	if e.Detail != "" { // a refusal that passes
		if fix := s.fix(e.Detail); fix != "" {
			lines = append(lines, e.Detail+": "+fix)
		}
	}
	wait := e.RetryAt.Sub(s.Now)
	switch {
	case s.isNew():
		lines = append(lines, s.unchanged()...)
		return append(lines, "Try again later, or keep it untested with --no-check.")
	case s.Command == "verify":
		return append(lines, "There is no verdict: do not accept the token. Try again later.")
	case s.Command == "invalidate" && wait > 0:
		return append(lines, "Nothing was dropped. You can try again in "+Duration(wait+time.Second-1)+".")
	case s.Command == "invalidate":
		return append(lines, "Nothing was dropped.")
	case wait >= time.Second:
		return append(lines, fmt.Sprintf("tokend keeps trying; the next try is %s (%s).", When(e.RetryAt, s.Now), e.RetryAt.Local().Format("15:04:05")))
	case wait > 0:
		return append(lines, "tokend keeps trying; the next try is due.")
	}
	return append(lines, "tokend keeps trying; try again later.")
}

// isNew reports whether the command hands in something new.
func (s Situation) isNew() bool {
	return s.Command == "add" || s.Command == "rotate" || s.Command == "import"
}

// unchanged says what a failed command left as it was.
func (s Situation) unchanged() []string {
	switch s.Command {
	case "add":
		return []string{"Nothing was saved."}
	case "remove":
		return []string{"Nothing was removed."}
	case "rotate":
		return []string{"The old secret or key is still in use."}
	case "migrate":
		return []string{"All secrets are where they were."}
	}
	return nil
}

// badFile is part of what tokend says of a profile whose file is bad.
const badFile = " is not active: "

// invalid says how to correct a file, or names the flag for the field that is
// wrong.
func (s Situation) invalid(e *token.Error) []string {
	switch {
	case e.Field == "name" && !s.isNew(), s.Command == "import": // the error says it all
		return nil
	case s.Command == "reload", strings.Contains(e.Message, badFile):
		return []string{"Correct it, then: " + Typed("tokenctl reload")}
	case s.Command == "get" && (e.Field == "scope" || e.Field == "audience") && slices.Contains(s.Flags, e.Field):
		return []string{"Leave out --" + e.Field + "."}
	case !s.isNew() || e.Field == "":
		return nil
	case slices.Contains(s.Answered, strings.TrimPrefix(e.Field, "settings.")):
		return s.unchanged()
	case s.FieldFlag == "":
		return nil
	}
	return []string{"Its flag: " + s.FieldFlag}
}

// rejected says what to do about a refusal: by its topic, by the issuer's own
// code, or by that of RFC 6749 §5.2.
func (s Situation) rejected(e *token.Error) (lines []string) {
	fix := "Check the credential and the settings, or hand in another: " + Typed("tokenctl rotate", Word(s.Profile))
	for _, code := range []string{e.Topic, e.Detail, e.OAuth} {
		if found := s.fix(code); found != "" {
			fix = code + ": " + found
			break
		}
	}
	if s.isNew() {
		if !strings.Contains(fix, again) {
			fix += " Then " + again + "."
		}
		return append([]string{fix}, s.unchanged()...)
	}
	retry := "tokend will retry later"
	if e.RetryAt.After(s.Now) {
		retry = "tokend will retry " + When(e.RetryAt, s.Now)
	}
	return []string{fix, retry + ". To try at once: " + Typed("tokenctl get --fresh", Word(s.Profile))}
}

// fix is what docs/errors.md says to do about a topic, empty if it is not
// there.
func (s Situation) fix(topic string) string {
	if topic == "" {
		return ""
	}
	t, ok := docs.FindTopic(topic)
	if !ok {
		return ""
	}
	var b strings.Builder
	for i, part := range strings.Split(t.Fix(), "`") {
		switch {
		case i%2 == 0:
		case s.isNew() && part == "tokenctl rotate NAME", s.isNew() && s.Command != "rotate" && part == "tokenctl reload":
			part = again
		default:
			part = Typed(strings.ReplaceAll(part, "NAME", Word(s.Profile)))
		}
		b.WriteString(part)
	}
	return b.String()
}

// again is advice for commands that hand in something new.
const again = "run this command again"
