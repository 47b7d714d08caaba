package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/ui"
	"tokend/providers/token"
)

// usable reports whether tokend serves a token.
func usable(t token.TokenStatus) bool {
	return t.State == token.Fresh.String() || t.State == token.Due.String()
}

// stateOf is a word for a token: its state while it can be used, else why
// there is none.
func stateOf(t token.TokenStatus) ui.Cell {
	state := ui.Cell{Text: ui.Printable(t.State), As: ui.Faint}
	switch {
	case hasNoTokens(t.State), usable(t) && t.Error == nil:
		state.As = ui.Good
	case usable(t):
		state.As = ui.Warn
	case t.Error != nil:
		why := map[token.Code]string{token.ErrRejected: "refused", token.ErrLocked: "locked"}[t.Error.Code]
		state = ui.Cell{Text: cmp.Or(why, "failing"), As: ui.Bad}
	case t.Obtaining:
		state = ui.Cell{Text: "obtaining", As: ui.Warn}
	}
	return state
}

const statusHelp = `  tokenctl status
  tokenctl status clms
  tokenctl status --watch
  tokenctl status --check || echo "tokend needs you"
  tokenctl status clms --format '{state} {left}'
  tokenctl status --json | jq '.profiles[] | {name, tokens}'

Shows the state of tokend and its profiles: how much of each token's life is
left, when tokend renews it, who used it last, and what is going wrong. With a
name it shows one profile in detail: its settings, what its token contains, and
the results of the last attempts to obtain one. The exit status is 0 whatever
the state is; 7 if tokend is not running, 3 if there is no such profile.

For prompts and scripts, --check prints nothing and exits with 0 if all is fine.
If something needs you, it says what in one line and exits with 1.

States:
  fresh      valid, and not yet due for renewal
  due        valid, and tokend is obtaining the next one
  obtaining  no token yet; tokend is obtaining one
  none       no token; tokend obtains one when you ask for it
  expired    no token; the last one has expired
  failing    no token; the last attempt failed, and tokend tries again
  refused    no token, because the issuer refuses: you need to act
  locked     no token, because the keyring is locked
  signs, verifies   the profile has no tokens; it does this instead`

func statusCommand(e *ui.Env) *cli.Command {
	var asJSON, watched, checked bool
	var format string
	return &cli.Command{
		Name:  "status",
		Args:  "[NAME]",
		Short: "Show the state of tokend and its profiles",
		Long:  statusHelp,
		Flags: func(f *cli.Flags) {
			f.BoolVar(&asJSON, "json", false, "print JSON (docs/protocol.md: GET /v1/status, /v1/profiles/NAME)")
			f.BoolVar(&watched, "watch, w", false, "show it live until Ctrl-C; for terminals")
			f.BoolVar(&checked, "check", false, "print nothing if all is fine; else one line, and exit with status 1")
			f.StringVar(&format, "format", "", "print `TEXT` for each profile, with {name}, {state}, {left} and {error} filled in")
		},
		Check:    e.MaybeProfile,
		Complete: e.CompleteProfile,
		Run: func(ctx context.Context, c *cli.Call) error {
			forms := slices.DeleteFunc([]string{"json", "watch", "check", "format"}, func(name string) bool { return !c.Flags.Changed(name) })
			switch {
			case len(forms) > 1:
				return cli.Usage("--%s and --%s cannot be combined", forms[0], forms[1])
			case watched:
				return watch(ctx, e)
			case checked:
				return checkState(ctx, e)
			case format != "":
				return formatState(ctx, e, format)
			}
			return answerState(ctx, e, asJSON)
		},
	}
}

// answerState answers with the state of the profile that was named, or of all.
func answerState(ctx context.Context, e *ui.Env, asJSON bool) error {
	state, text, err := currentState(ctx, e)
	if err != nil {
		return err
	}
	return answer(e, asJSON, state, text)
}

// currentState is what answerState answers, as a value and in words.
func currentState(ctx context.Context, e *ui.Env) (state any, text string, err error) {
	st, err := e.State(ctx)
	if e.Profile != "" {
		p := st.Profiles[0]
		return p, profileText(e.Out, p, time.Now()), err
	}
	return st, daemonText(e.Out, st, time.Now()), err
}

// daemonText shows tokend and all profiles.
func daemonText(s ui.Screen, st token.Status, now time.Time) string {
	rows := []ui.Row{
		ui.Pair("tokend", fmt.Sprintf("%s, process %d, started %s", st.Version, st.PID, ui.When(st.Started, now)), ui.Plain),
		ui.Pair("keystore", st.Keystore, health(st.Keystore)),
		ui.Pair("cache", st.Cache, health(st.Cache)),
	}
	if st.Sandbox != "" {
		rows = append(rows, ui.Pair("sandbox", st.Sandbox, health(st.Sandbox)))
	}
	text := s.Table(append(rows, pairs("config", st.Config, "state", st.State)...)) + "\n"
	if len(st.Profiles) == 0 {
		text += noProfiles(st)
	} else {
		text += profileTable(s, st.Profiles, now)
	}
	return text + warningsText(s, st)
}

// health is the style of a text such as "ok" or "os: locked".
func health(text string) ui.Style {
	if text == "ok" || text == "writing" || strings.HasSuffix(text, ": ok") {
		return ui.Good
	}
	return ui.Bad
}

// profileTable has a line for each token, and what goes wrong below it.
func profileTable(s ui.Screen, profiles []token.ProfileStatus, now time.Time) string {
	var rows []ui.Row
	for _, p := range profiles {
		for i, t := range tokensOf(p) {
			name := ui.Printable(token.WithResource(p.Name, t.Resource))
			if i > 0 && t.Resource == "" {
				name = ""
			}
			var notes []string
			for _, part := range [][2]string{{"scope ", t.Scope}, {"audience ", t.Audience}} {
				if part[1] != "" {
					notes = append(notes, part[0]+ui.Printable(part[1]))
				}
			}
			if t.Error != nil {
				notes = append(notes, failureText(t, now))
			}
			rows = append(rows, ui.Row{
				Cells: []ui.Cell{{Text: name}, stateOf(t), lifeLeft(t, now), {Text: nextTry(t, now)}, {Text: lastUse(t.LastUsed, t.LastUser, ", ", now)}},
				Notes: notes,
			})
		}
	}
	return s.List(rows, "PROFILE", "STATE", "LEFT", "NEXT", "LAST USED")
}

// barLength is how many characters draw a token's whole life.
const barLength = 8

// lifeLeft is what is left of a token's life, drawn and in words.
func lifeLeft(t token.TokenStatus, now time.Time) ui.Cell {
	if !usable(t) {
		return ui.Cell{Text: "-"}
	}
	life, left := t.Expiry.Sub(t.Issued), max(0, t.Expiry.Sub(now))
	full := 0
	if life > 0 {
		full = min(barLength, int((left*barLength+life-1)/life)) // the last bit shows until it is gone
	}
	return ui.Cell{Text: strings.Repeat("#", full) + strings.Repeat("-", barLength-full) + " " + ui.Duration(left), As: stateOf(t).As}
}

// nextTry says when tokend obtains the next token, if that is planned.
func nextTry(t token.TokenStatus, now time.Time) string {
	next := t.RenewAt
	if t.Error != nil && (!usable(t) || t.Error.RetryAt.After(next)) {
		next = t.Error.RetryAt
	}
	switch {
	case next.IsZero() && !t.Obtaining:
		return "-"
	case t.Obtaining || next.Before(now):
		return "now"
	}
	return ui.When(next, now)
}

// lastUse says when something was last used, and after sep by whom.
func lastUse(at time.Time, by *token.User, sep string, now time.Time) string {
	text := ui.WhenOrDash(at, now)
	if name := userText(by); name != "" {
		text += sep + name
	}
	return text
}

// userText names a program, and its user if that is another than this one.
func userText(u *token.User) string {
	if u == nil {
		return ""
	}
	text := ui.Printable(u.Program)
	if text == "" && u.PID != 0 {
		text = fmt.Sprintf("process %d", u.PID)
	}
	if u.UID != os.Getuid() {
		text += " of " + cmp.Or(ui.Printable(u.Name), fmt.Sprintf("uid %d", u.UID))
	}
	return strings.TrimPrefix(text, " of ")
}

// failureText says why the last attempt failed, when tokend tries again, and
// how long the cached token lasts.
func failureText(t token.TokenStatus, now time.Time) string {
	text := ui.Printable(t.Error.Error())
	if t.Failures > 1 {
		text += fmt.Sprintf(" (%d times in a row)", t.Failures)
	}
	if next := nextTry(t, now); next != "-" {
		text += "; trying again " + next
	}
	if usable(t) {
		text += "; the cached token is valid for " + ui.Duration(t.Expiry.Sub(now))
	}
	return text
}

// warningsOf are the warnings of tokend and of all profiles.
func warningsOf(st token.Status) []string {
	lines := slices.Clone(st.Warnings)
	for _, p := range st.Profiles {
		for _, warning := range p.Warnings {
			lines = append(lines, p.Name+": "+warning)
		}
	}
	return lines
}

func warningsText(s ui.Screen, st token.Status) string {
	var orphans []string
	for _, name := range st.Orphans {
		orphans = append(orphans, name+": delete them with tokenctl remove "+ui.Word(name)+", or, if you renamed the file, move them with tokenctl rename "+ui.Word(name)+" NEW")
	}
	return s.Section("Warnings", ui.Warn, warningsOf(st)) +
		s.Section("Secrets without a profile, whose file was deleted or renamed", ui.Warn, orphans) +
		s.Section("Files that could not be loaded (their previous settings stay active)", ui.Bad, st.ConfigErrors)
}
