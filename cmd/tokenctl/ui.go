package main

// Everything that tokenctl says to a person on its own account is worded here:
// errors, hints, exit statuses, states and times. The rules:
//
//   - Facts come from the libraries and from tokend. What to do about them is
//     said here and nowhere else, as a hint.
//   - An error is one line on stderr, "tokenctl: …". Hints follow, indented by
//     two spaces, in plain words and with the exact command to type.
//   - stdout is for answers. Questions, errors and hints go to stderr.
//   - What was not written here (profile names, issuers' words, file names)
//     goes through printable before it reaches a terminal.
//   - Colour is for terminals, and NO_COLOR turns it off. It only repeats what
//     a word says already.
//   - Times are said as people say them ("in 42 min"); --json has RFC 3339 in
//     UTC.
//   - Lines that are ours fit in 80 columns.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"tokend/cmd/tokenctl/child"
	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/helper"
	"tokend/ipc"
	"tokend/providers/token"
	"tokend/providers/token/format"
)

// Exit statuses. 75 is EX_TEMPFAIL of sysexits.h: the same call may succeed
// later.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitDenied      = 4
	exitRejected    = 5
	exitLocked      = 6
	exitNoDaemon    = 7
	exitUnavailable = 75
	// exitInterrupted is what shells make of an end by Ctrl-C (SIGINT, 2).
	exitInterrupted = 130
)

const exitStatuses = `  0   it is done
  1   something else went wrong; verify: the token is not valid
  2   wrong usage, a bad setting or file, or a name that is taken
  3   there is no such profile
  4   this user may not
  5   the issuer refuses, and asking again will not help
  6   the keyring is locked or cannot be reached
  7   tokend does not run
  75  the issuer cannot be reached now; tokend keeps trying
  126 exec: the program cannot be run; 127: it was not found
  130 stopped by Ctrl-C
curl and exec pass on the status of the program that they run.
`

// exitStatus is the status for an error.
func exitStatus(err error) int {
	switch codeOf(err) {
	case token.ErrInvalid, token.ErrExists:
		return exitUsage
	case token.ErrNotFound:
		return exitNotFound
	case token.ErrDenied:
		return exitDenied
	case token.ErrRejected:
		return exitRejected
	case token.ErrLocked, token.ErrKeystore:
		return exitLocked
	case token.ErrNoDaemon:
		return exitNoDaemon
	case token.ErrUnavailable:
		return exitUnavailable
	}
	return exitFailure
}

func codeOf(err error) token.Code {
	var e *token.Error
	var code token.Code
	switch {
	case errors.As(err, &e):
		return e.Code
	case errors.As(err, &code):
		return code
	case errors.Is(err, context.DeadlineExceeded):
		return token.ErrUnavailable
	}
	return token.ErrInternal
}

// usage makes the error for a command that was typed wrongly.
func usage(format string, args ...any) error {
	return &token.Error{Code: token.ErrInvalid, Message: fmt.Sprintf(format, args...), Cause: errUsage}
}

// errUsage marks errors that the command's --help helps with.
var errUsage = cli.ErrUsage

// fail tells of err and returns the exit status.
func (a *app) fail(c *cobra.Command, err error) int {
	if errors.Is(err, errNotValid) || errors.Is(err, errSomethingFailed) || errors.Is(err, helper.ErrTold) { // that was told already
		return exitFailure
	}
	var already toldAlready
	if errors.As(err, &already) {
		return exitStatus(err)
	}
	var ended *child.ExitError
	if errors.As(err, &ended) {
		if ended.Reason != "" {
			a.err.print(a.err.paint(bad, "tokenctl:") + " " + printable(ended.Reason) + "\n")
		}
		ended.DieAlike()
		return ended.Status
	}
	if errors.Is(err, errInterrupted) { // whoever did it knows
		return exitInterrupted
	}
	err = a.noSocket(err)
	text := err.Error()
	if errors.Is(err, context.DeadlineExceeded) {
		text = "tokend did not answer in time"
	}
	a.err.print(a.err.paint(bad, "tokenctl:") + " " + printable(text) + "\n")
	var files badFiles
	if errors.As(err, &files) {
		for _, line := range files.lines {
			a.err.print("  " + printable(line) + "\n")
		}
	}
	s := a.situation(c, err)
	if codeOf(err) == token.ErrNotFound {
		for _, p := range a.profiles(c.Context()) {
			s.profiles = append(s.profiles, printable(p.Name))
		}
	}
	for _, hint := range append(hints(err, s), explained(topicOf(err))...) {
		a.err.print(wrap(hint, "  "))
	}
	return exitStatus(err)
}

// noSocket is the error to tell where err came of a socket's path that leads to
// something else.
func (a *app) noSocket(err error) error {
	code := codeOf(err)
	d, failed := a.daemon()
	if failed != nil || runtime.GOOS == "windows" || code != token.ErrNoDaemon && code != token.ErrDenied {
		return err
	}
	info, failed := os.Stat(d.Socket)
	if failed != nil || info.Mode()&os.ModeSocket != 0 {
		return err
	}
	return &token.Error{Code: token.ErrNoDaemon, Message: d.Socket + " is not a socket", Cause: errNoSocket}
}

// errNoSocket marks that the socket's path is wrong.
var errNoSocket = errors.New("not a socket")

// A situation is what hints depend on beside the error. Its texts are
// printable.
type situation struct {
	// help is the command to type for its help.
	command, profile, help string
	// flags are those that were given, asked the fields that were asked for.
	flags, asked []string
	// socket is the path that --socket gives.
	socket string
	// profiles are the names that there are, as far as known.
	profiles []string
	// here is how tokend stands where it does not answer.
	here standing
	now  time.Time
}

func (a *app) situation(c *cobra.Command, err error) situation {
	s := situation{command: c.Name(), help: c.CommandPath() + " --help", profile: printable(a.profile), asked: a.asked, now: time.Now()}
	c.Flags().Visit(func(f *pflag.Flag) { s.flags = append(s.flags, f.Name) })
	if d, err := a.daemon(); err == nil && a.socket != "" {
		s.socket = printable(d.Socket)
	}
	if codeOf(err) == token.ErrNoDaemon {
		s.here = lookAround()
	}
	return s
}

// hints say what to do about an error.
func hints(err error, s situation) []string {
	e := &token.Error{Code: codeOf(err)}
	errors.As(err, &e)
	switch {
	case errors.Is(err, errNoAnswer):
		return hintsNoAnswer(s)
	case errors.Is(err, errNotStarted): // it said why
		if s.here.program == "" {
			return nil
		}
		return []string{"What is wrong, and what to do: " + typed("tokend doctor")}
	case errors.Is(err, errNoSocket):
		return []string{"Is the path right?"}
	case errors.Is(err, errUsage):
		return []string{"See: " + typed(s.help)}
	case errors.Is(err, context.DeadlineExceeded):
		return hintsTimeout(s)
	}
	switch e.Code {
	case token.ErrNoDaemon:
		return s.noDaemon()
	case token.ErrNotFound:
		return hintsNotFound(e, s)
	case token.ErrExists:
		if s.command == "setup" || s.command == "migrate" { // what stands in the way is in the error
			return nil
		}
		return []string{"Take another name, or give that profile a new secret: " + typed("tokenctl rotate", word(s.profile))}
	case token.ErrDenied:
		return hintsDenied(e)
	case token.ErrRejected:
		return hintsRejected(e, s)
	case token.ErrUnavailable:
		return hintsUnavailable(e, s)
	case token.ErrLocked:
		return append(hintsLocked(s), nothingChanged(s)...)
	case token.ErrKeystore:
		return append(hintsKeystore(e, s), nothingChanged(s)...)
	case token.ErrInvalid:
		return hintsInvalid(e, s)
	}
	if !saidByTokend(err) {
		return nil
	}
	return []string{"tokend's log may say more. How it is: " + typed("tokenctl status")}
}

// topicOf is what explain explains of an error.
func topicOf(err error) string {
	var e *token.Error
	if !errors.As(err, &e) {
		return ""
	}
	return e.Topic
}

// explained says where a topic is explained.
func explained(topic string) []string {
	if topic == "" {
		return nil
	}
	return []string{"See: " + typed("tokenctl explain", word(printable(topic)))}
}

// saidByTokend tells whether tokend has sent an error. A cause never crosses
// the socket.
func saidByTokend(err error) bool {
	var e *token.Error
	return errors.As(err, &e) && e.Cause == nil
}

func hintsNoAnswer(s situation) []string {
	if s.command == "remove" {
		return []string{"Nothing is removed."}
	}
	return nothingChanged(s)
}

func hintsTimeout(s situation) []string {
	if s.command != "get" {
		return []string{"How it is: " + typed("tokenctl status")}
	}
	return []string{"tokend goes on without you: ask again, or wait longer with " + typed("--timeout 1m")}
}

// noDaemon says how to get a daemon that answers.
func (s situation) noDaemon() []string {
	if s.socket != "" {
		return []string{"Start it: " + typed("tokend run --socket", word(s.socket)) + ", or is the path right?"}
	}
	lines := s.here.steps()
	if os.Getenv(ipc.SocketEnv) != "" {
		lines = append(lines, "The socket is the one that $"+ipc.SocketEnv+" names.")
	}
	return lines
}

func hintsDenied(e *token.Error) []string {
	switch {
	case e.Field == "admin_users":
		return nil
	case strings.Contains(e.Message, ipc.SystemSocket()):
		return []string{"Members of the group tokend may connect; as root, and then log in anew: " + typed("usermod -aG tokend USER")}
	}
	return []string{"tokend serves the user that it runs as. Ask whoever runs it, or run one of your own: " + typed("tokend run")}
}

func hintsNotFound(e *token.Error, s situation) []string {
	if e.Field == topicField {
		return []string{"All there are: " + typed("tokenctl explain")}
	}
	if e.Field == "url" {
		return []string{"To have a profile claim it, add it to hosts = [...] in the profile's file (" +
			typed("tokenctl show NAME") + " tells which) and run " + typed("tokenctl reload") + "."}
	}
	for _, name := range s.profiles {
		if name == s.profile {
			return []string{"The profile is there and its secret is not. Give it again: " + typed("tokenctl rotate", word(name))}
		}
	}
	if near := token.Nearest(s.profile, s.profiles); near != "" {
		return []string{fmt.Sprintf("Did you mean %q? All there are: %s", near, typed("tokenctl list"))}
	}
	if s.profile == "" {
		return nil
	}
	if !canBeName(s.profile) {
		return []string{"No profile can be called that. " + nameRule + " All there are: " + typed("tokenctl list")}
	}
	return []string{"All there are: " + typed("tokenctl list"), "A new one: " + typed("tokenctl add", word(s.profile))}
}

// nameRule is what tokend asks of a profile's name.
const nameRule = "A name is made of at most 64 letters, digits, '.', '_' and '-', and begins with a letter or digit."

// canBeName tells whether tokend would make a profile of this name.
func canBeName(name string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	return name != "" && len(name) <= 64 && strings.Trim(name, letters+"._-") == "" && strings.Contains(letters, name[:1])
}

func hintsLocked(s situation) []string {
	how := "log in to the desktop, or open its password manager (Passwords and Keys, KWalletManager, KeePassXC)"
	if s.command != "unlock" {
		how = typed("tokenctl unlock") + ", or " + how
	}
	switch runtime.GOOS {
	case "darwin":
		how = "security unlock-keychain, or open Keychain Access"
	case "windows":
		how = "log in to Windows as this user"
	}
	return []string{"Unlock the keyring: " + how + ". Then try again; tokend need not be restarted."}
}

func hintsKeystore(e *token.Error, s situation) []string {
	if e.Field != "" && s.profile != "" {
		return []string{"Hand it in: " + typed("tokenctl rotate", s.profile)}
	}
	if strings.HasPrefix(e.Topic, "key-file") { // which is not about the keyring
		return nil
	}
	lines := []string{"How the keystore is: " + typed("tokenctl status")}
	if runtime.GOOS == "linux" {
		lines = append(lines, "The OS keyring needs a desktop session with a keyring service, and tokend started within it. "+
			"A host without one keeps secrets in sealed files: "+typed("tokend setup --help"))
	}
	return lines
}

func hintsUnavailable(e *token.Error, s situation) (lines []string) {
	if fix := fixOfAADSTS(e.Detail, s); fix != "" {
		lines = append(lines, fix)
	}
	switch {
	case isNew(s):
		lines = append(lines, nothingChanged(s)...)
		return append(lines, "Try again later, or keep it untested with --no-check.")
	case s.command == "verify":
		return append(lines, "There is no verdict: do not accept the token. Ask again in a while.")
	case s.command == "invalidate":
		return append(lines, hintInvalidated(e, s))
	case e.RetryAt.After(s.now) && e.RetryAt.Sub(s.now) < time.Second:
		return append(lines, "tokend keeps trying; the next try is due.")
	case e.RetryAt.After(s.now):
		return append(lines, fmt.Sprintf("tokend keeps trying; the next try is %s (%s).",
			when(e.RetryAt, s.now), e.RetryAt.Local().Format("15:04:05")))
	}
	return append(lines, "tokend keeps trying; ask again in a while.")
}

// hintInvalidated says when a token may be dropped again.
func hintInvalidated(e *token.Error, s situation) string {
	wait := e.RetryAt.Sub(s.now)
	if wait <= 0 {
		return "Nothing was dropped."
	}
	return "Nothing was dropped. Again in " + duration(wait+time.Second-1) + ", if you must."
}

// isNew tells of commands that hand in something new.
func isNew(s situation) bool {
	return s.command == "add" || s.command == "rotate" || s.command == "import"
}

// nothingChanged tells how things stand after a failure.
func nothingChanged(s situation) []string {
	switch s.command {
	case "add":
		return []string{"Nothing was kept."}
	case "rotate":
		return []string{"The old secret or key is still in use."}
	case "migrate":
		return []string{"All secrets are where they were."}
	}
	return nil
}

// hintsInvalid say how to mend a file, or name the flag for the field that is
// wrong.
func hintsInvalid(e *token.Error, s situation) []string {
	switch {
	case e.Field == nameField && !isNew(s) && !canBeName(s.profile):
		return []string{nameRule}
	case s.command == "import": // there is no flag for what a file says
		return nil
	case s.command == "reload":
		return []string{"Mend what is wrong, then: " + typed("tokenctl reload")}
	case strings.Contains(e.Message, notInForce):
		return []string{"Mend the file, then: " + typed("tokenctl reload")}
	case s.command == "get" && (e.Field == "scope" || e.Field == "audience") && slices.Contains(s.flags, e.Field):
		return []string{"Leave out --" + e.Field + "."}
	case !isNew(s) || e.Field == "":
		return nil
	}
	field := strings.TrimPrefix(e.Field, "settings.")
	if slices.Contains(s.asked, field) {
		return nothingChanged(s)
	}
	if field == nameField || s.command == "rotate" && secretInputFor(field).flag == "" {
		return nil
	}
	return []string{"The flag for it: " + printable(flagFor(field))}
}

// notInForce stands in what tokend says of a profile whose file is bad.
const notInForce = " is not in force: "

// hintsRejected explain a refusal: by the issuer's own code if that is known,
// else by that of RFC 6749 §5.2.
func hintsRejected(e *token.Error, s situation) []string {
	fix := fixOfAADSTS(e.Detail, s)
	if fix == "" {
		fix = fixOfOAuth(e.OAuth, s)
	}
	lines := []string{fix}
	if isNew(s) {
		return append(lines, nothingChanged(s)...)
	}
	return append(lines, "tokend asks again only now and then. After the fix: "+typed("tokenctl get --fresh", word(s.profile)))
}

// fixOfOAuth says what to do about an error of RFC 6749 §5.2.
func fixOfOAuth(code string, s situation) string {
	switch code {
	case "invalid_client":
		return "invalid_client: the issuer does not know this client ID, or the secret or key is not its own. Check both. " + newSecret(s)
	case "invalid_grant":
		return "invalid_grant: the issuer does not accept what was signed: the key was revoked or belongs to somebody else, " +
			"or this machine's clock is wrong. Check the clock; else get a new key. " + newSecret(s)
	case "unauthorized_client":
		return "unauthorized_client: the issuer knows this client and does not allow it to get tokens this way. " +
			"Its administrator can allow the grant type."
	case "invalid_scope":
		return "invalid_scope: the scope is misspelt, or not granted to this client. " + mendSetting("scope", s)
	case "unsupported_grant_type":
		return "unsupported_grant_type: this issuer gives no tokens for this kind of credential. " +
			"Check the token URL, or take another provider. " + mendSetting("token URL", s)
	case "invalid_request":
		return "invalid_request: the issuer misses a parameter, or dislikes one. Compare the settings with its documentation. " +
			mendSetting("settings", s)
	}
	return "Check the credential and the settings. " + newSecret(s)
}

// fixOfAADSTS says what to do about an error code of Microsoft Entra ID, ""
// for one that is not known.
func fixOfAADSTS(detail string, s situation) string {
	code, ok := strings.CutPrefix(detail, "AADSTS")
	if !ok {
		return ""
	}
	text := ""
	switch code {
	case "7000215":
		text = "the secret is wrong. In the portal, the column \"Value\" is the secret; \"Secret ID\" is not. " + newSecret(s)
	case "7000222":
		text = "the secret has expired. Make a new one in the portal (Certificates & secrets). " + newSecret(s)
	case "700016":
		text = "the tenant has no such application. Check client_id and tenant. " + mendSetting("settings", s)
	case "90002":
		text = "there is no such tenant in this cloud. Check tenant and authority. " + mendSetting("settings", s)
	case "70011", "1002012":
		text = "the scope must be one resource followed by /.default, such as https://graph.microsoft.com/.default. " + mendSetting("scope", s)
	case "500011":
		text = "the tenant does not know the resource in the scope: it is misspelt, or its application was never granted there. " + mendSetting("scope", s)
	case "700027":
		text = "the application does not have this certificate. Upload its public part in the portal (Certificates & secrets), or take another. " + newSecret(s)
	case "700024":
		text = "the assertion is too old or from the future: this machine's clock is wrong. Set it (timedatectl set-ntp true)."
	case "50012":
		text = "the certificate or its signature is not accepted. Check that it is the one in the portal; AD FS and old set-ups need algorithm = RS256."
	case "7000112":
		text = "the application is disabled. An administrator can enable it (Enterprise applications, Properties)."
	case "53003":
		text = "a conditional access policy blocks the application. An administrator can exempt it, or name this machine's address."
	default:
		return ""
	}
	return detail + ": " + text
}

// newSecret says how to give another secret.
func newSecret(s situation) string {
	if isNew(s) {
		return "Then run this command again."
	}
	return "Hand it in: " + typed("tokenctl rotate", word(s.profile))
}

// mendSetting says how to change a setting.
func mendSetting(what string, s situation) string {
	if s.command == "add" {
		return "Run this command again with the right " + what + "."
	}
	return "The file to edit is named by " + typed("tokenctl show", word(s.profile)) + "; after that: " + typed("tokenctl reload")
}

// called is a command as it is typed after tokenctl.
func called(c *cobra.Command) string {
	return strings.TrimPrefix(c.CommandPath(), c.Root().Name()+" ")
}

// flagError words what pflag says, with the nearest flag, and without values:
// they may be secrets.
func flagError(c *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return badValue(err)
	}
	name := unknown.GetSpecifiedName()
	if short := unknown.GetSpecifiedShortnames(); short != "" {
		return usage("there is no flag -%s", name)
	}
	if flag := secretInArgv(name); flag != "" && c.Flags().Lookup(flag) != nil {
		return usage("there is no --%s: what stands on a command line is seen by every user (ps) and kept in the shell's history; use --%s FILE, or --%s - to read it from stdin", name, flag, flag)
	}
	var names []string
	c.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	return usage("%s has no flag --%s%s", called(c), name, didYouMean("--"+name, dashed(names)))
}

func badValue(err error) error {
	var invalid *pflag.InvalidValueError
	if errors.As(err, &invalid) {
		return usage("--%s: %v", invalid.GetFlag().Name, invalid.Unwrap())
	}
	return usage("%v", err)
}

func dashed(names []string) []string {
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = "--" + name
	}
	return out
}

// secretInArgv is the flag to use in place of one that would take a secret
// itself, "" if name means no secret.
func secretInArgv(name string) string {
	switch name {
	case "client-secret", "secret", "password", "api-key":
		return "client-secret-file"
	case "pfx-password":
		return "pfx-password-file"
	case "service-key-json", "service-key-file":
		return "service-key"
	case "private-key-file", "private-key-pem":
		return "private-key"
	}
	return ""
}

// didYouMean continues a message with the nearest candidate.
func didYouMean(said string, candidates []string) string {
	if near := token.Nearest(said, candidates); near != "" {
		return fmt.Sprintf("; did you mean %s?", near)
	}
	return ""
}

// typed is something to type, which wrap does not break.
func typed(parts ...string) string {
	line := strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), " ")
	return strings.ReplaceAll(line, " ", noBreak)
}

// noBreak is a space (U+00A0) where wrap must not break a line.
const noBreak = "\u00a0"

// word is a profile's name as it is typed in a shell.
func word(name string) string {
	if name == "" {
		return "NAME"
	}
	if strings.ContainsFunc(name, func(r rune) bool {
		return r >= utf8.RuneSelf || !strings.ContainsRune("._-", r) && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	}) {
		return format.ShellQuote(name)
	}
	return name
}

// duration is a length of time to the nearest of the unit that people would
// use.
func duration(d time.Duration) string {
	seconds, minutes, hours := d/time.Second, nearest(d, time.Minute), nearest(d, time.Hour)
	switch {
	case seconds < 120 && seconds != 60:
		return strconv.Itoa(int(seconds)) + " s"
	case minutes < 120 && minutes != 60:
		return strconv.Itoa(int(minutes)) + " min"
	case hours < 48:
		return strconv.Itoa(int(hours)) + " h"
	}
	return strconv.Itoa(int(nearest(d, 24*time.Hour))) + " days"
}

func nearest(d, unit time.Duration) time.Duration { return (d + unit/2) / unit }

// when says a moment as seen from now.
func when(t, now time.Time) string {
	switch d := t.Sub(now); {
	case d >= time.Second:
		return "in " + duration(d)
	case d <= -time.Second:
		return duration(-d) + " ago"
	}
	return "now"
}

// whenOr is when, or a dash for no time at all.
func whenOr(t, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return when(t, now)
}

// took is how long something lasted.
func took(d time.Duration) string {
	if d < time.Second {
		return strconv.Itoa(int(d/time.Millisecond)) + " ms"
	}
	return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
}

// day is a date.
func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// printable makes text fit for a terminal: one line, and nothing in it that a
// terminal obeys (control characters, escape sequences) or that makes it show
// another order than there is (bidirectional overrides).
func printable(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }) {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], string(utf8.RuneError)):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
	}
	return b.String()
}

// wrap breaks printable text between words, and indents each line.
func wrap(text, indent string) string {
	var b strings.Builder
	column := 0
	for i, word := range strings.FieldsFunc(text, func(r rune) bool { return r == ' ' }) {
		word = strings.ReplaceAll(word, noBreak, " ")
		n := utf8.RuneCountInString(word)
		switch {
		case i == 0:
			b.WriteString(indent)
			column = len(indent)
		case column+1+n > width:
			b.WriteString("\n" + indent)
			column = len(indent)
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += n
	}
	return b.String() + "\n"
}

// cut shortens text to n characters.
func cut(text string, n int) string {
	if utf8.RuneCountInString(text) <= n {
		return text
	}
	return string([]rune(text)[:n-3]) + "..."
}

// A style says how a word is meant; colours show it where there are any.
type style string

const (
	plain style = ""
	good  style = "\x1b[32m"
	warn  style = "\x1b[33m"
	bad   style = "\x1b[31m"
	faint style = "\x1b[2m"
)

// A screen is where words go.
type screen struct {
	w      io.Writer
	colour bool
}

func newScreen(w io.Writer) screen {
	return screen{w, isTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && runtime.GOOS != "windows"}
}

// isTerminal tells whether a reader or writer is a terminal.
func isTerminal(v any) bool {
	f, ok := v.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// print writes text; what cannot be written cannot be complained about there.
func (s screen) print(text string) { _, _ = io.WriteString(s.w, text) }

// answer writes what a command was asked for.
func (s screen) answer(b []byte) error {
	if _, err := s.w.Write(b); err != nil {
		return fmt.Errorf("the answer could not be written: %w", err)
	}
	return nil
}

// answerJSON writes the answer to a command with --json.
func (s screen) answerJSON(v any) error {
	b, err := indented(v)
	if err != nil {
		return err
	}
	return s.answer(b)
}

// answerJSONOf writes the answer unless there is an error in its place.
func (s screen) answerJSONOf(v any, err error) error {
	if err != nil {
		return err
	}
	return s.answerJSON(v)
}

func (s screen) paint(as style, text string) string {
	if !s.colour || as == plain {
		return text
	}
	return string(as) + text + "\x1b[0m"
}

// A cell is a word in a table.
type cell struct {
	text string
	as   style
}

// A row of a table can have notes, which stand below it.
type row struct {
	cells []cell
	notes []string
}

func header(names ...string) row {
	var r row
	for _, name := range names {
		r.cells = append(r.cells, cell{name, faint})
	}
	return r
}

// fitLast shortens the last cells of rows to what is left of so many columns;
// a few characters of them stay in any case.
func fitLast(rows []row, columns int) {
	const least = 8
	last := len(rows[0].cells) - 1
	for i := range last {
		widest := 0
		for _, r := range rows {
			widest = max(widest, utf8.RuneCountInString(r.cells[i].text))
		}
		columns -= widest + 2
	}
	for _, r := range rows {
		r.cells[last].text = cut(r.cells[last].text, max(least, columns))
	}
}

// table lines up the cells of rows, which must be printable.
func (s screen) table(rows []row) string {
	var widths []int
	for _, r := range rows {
		for i, c := range r.cells {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(c.text))
		}
	}
	var b strings.Builder
	for _, r := range rows {
		for i, c := range r.cells {
			b.WriteString(s.paint(c.as, c.text))
			if i < len(r.cells)-1 {
				b.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c.text)+2))
			}
		}
		b.WriteByte('\n')
		for _, note := range r.notes {
			b.WriteString(wrap(note, "    "))
		}
	}
	return b.String()
}
