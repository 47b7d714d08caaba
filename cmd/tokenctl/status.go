package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tokend/providers/token"
)

func (a *app) statusCommand() *cobra.Command {
	var asJSON, watch bool
	c := &cobra.Command{
		Use:   "status [NAME]",
		Short: "Tell how the daemon and the profiles are",
		Long: `  tokenctl status
  tokenctl status clms
  tokenctl status --watch
  tokenctl status --json | jq '.profiles[] | {name, tokens}'

Tells how the daemon is, what its profiles' tokens are like, how much of their
life is left, when the next is obtained, who used them last, and what is going
wrong. With a name it tells of one profile at length: what its token says of
itself, and what the last attempts to obtain one came to. The exit status is 0
whatever state it tells of; 7 if tokend does not run, 3 if there is no such
profile.

States:
  fresh      good, and not yet due to be renewed
  due        good, and the next one is being obtained
  obtaining  there is none yet, and one is being obtained
  none       there is none; one is obtained when somebody asks
  expired    as none, and the last one has expired
  failing    there is none, and the last attempt failed; tokend tries again
  refused    there is none, because the issuer refuses: it needs you
  locked     there is none, because the keyring is locked
  signs, verifies   what a profile without tokens does`,
		Args:              a.perhapsProfile,
		ValidArgsFunction: a.completeProfiles,
		RunE: func(c *cobra.Command, _ []string) error {
			switch {
			case asJSON && watch:
				return usage("--json and --watch cannot be combined")
			case asJSON && a.profile != "":
				p, err := a.profileStatus(c, a.profile)
				return a.out.answerJSONOf(p, err)
			case asJSON:
				st, err := a.status(c)
				return a.out.answerJSONOf(st, err)
			}
			tell := a.tellStatus
			if a.profile != "" {
				tell = a.tellProfile
			}
			if watch {
				return a.watch(c, tell)
			}
			text, err := tell(c)
			if err != nil {
				return err
			}
			return a.out.answer([]byte(text))
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON (docs/protocol.md: GET /v1/status, /v1/profiles/NAME)")
	c.Flags().BoolVarP(&watch, "watch", "w", false, "show it live until Ctrl-C; for terminals")
	return c
}

// A telling of a state in words, as it is now.
type stateTelling func(*cobra.Command) (string, error)

func (a *app) tellStatus(c *cobra.Command) (string, error) {
	st, err := a.status(c)
	if err != nil {
		return "", err
	}
	now := time.Now()
	text := a.daemonTold(st, now)
	if len(st.Profiles) == 0 {
		return text + "\n" + noProfiles(st) + a.warningsTold(st), nil
	}
	return text + "\n" + a.profilesTold(st.Profiles, now) + a.warningsTold(st), nil
}

func (a *app) daemonTold(st token.Status, now time.Time) string {
	rows := []row{
		pair("tokend", fmt.Sprintf("%s, process %d, started %s", st.Version, st.PID, when(st.Started, now)), plain),
		pair("keystore", st.Keystore, health(st.Keystore)),
		pair("cache", st.Cache, health(st.Cache)),
		pair("config", st.Config, plain),
		pair("state", st.State, plain),
	}
	if st.Sandbox != "" {
		rows = slices.Insert(rows, 3, pair("sandbox", st.Sandbox, health(st.Sandbox)))
	}
	return a.out.table(rows)
}

// health is how a word such as "ok" or "os: locked" is meant.
func health(text string) style {
	if text == "ok" || text == "writing" || strings.HasSuffix(text, ": ok") {
		return good
	}
	return bad
}

func pair(name, value string, as style) row {
	return row{cells: []cell{{name, faint}, {printable(value), as}}}
}

// longestName is how much of a profile's name has room in a table on a
// terminal.
const longestName = 24

// profilesTold is a table with a line for each token, and what goes wrong
// below them.
func (a *app) profilesTold(profiles []token.ProfileStatus, now time.Time) string {
	rows := []row{header("PROFILE", "STATE", "LEFT", "NEXT", "LAST USED")}
	for _, p := range profiles {
		tokens := p.Tokens
		if len(tokens) == 0 {
			tokens = []token.TokenStatus{noToken(p)}
		}
		for i, t := range tokens {
			name := printable(p.Name)
			switch {
			case i > 0:
				name = ""
			case isTerminal(a.out.w):
				name = cut(name, longestName)
			}
			rows = append(rows, row{
				cells: []cell{{text: name}, stateOf(t), leftOf(t, now), {text: nextTry(t, now)}, {text: lastUsed(t, now)}},
				notes: tokenNotes(t, now),
			})
		}
	}
	fitLast(rows, a.out.columns())
	return a.out.table(rows)
}

// barLength is how many characters a token's whole life is drawn with.
const barLength = 8

// leftOf draws what is left of a token's life, and says it.
func leftOf(t token.TokenStatus, now time.Time) cell {
	if !usable(t) {
		return cell{text: "-"}
	}
	life, left := t.Expiry.Sub(t.Issued), max(0, t.Expiry.Sub(now))
	full := 0
	if life > 0 {
		full = min(barLength, int((left*barLength+life-1)/life)) // the last bit shows until it is gone
	}
	as := stateOf(t).as
	return cell{strings.Repeat("#", full) + strings.Repeat("-", barLength-full) + " " + duration(left), as}
}

// nextTry says when the next token is obtained, as far as that is planned.
func nextTry(t token.TokenStatus, now time.Time) string {
	next := t.RenewAt
	if t.Error != nil && (!usable(t) || t.Error.RetryAt.After(next)) {
		next = t.Error.RetryAt
	}
	switch {
	case t.Obtaining:
		return "now"
	case next.IsZero():
		return "-"
	case next.Sub(now) >= time.Second:
		return when(next, now)
	}
	return due
}

// due is what nextTry says of a time that has come.
const due = "due"

// lastUsed says when somebody last asked for a token, and who.
func lastUsed(t token.TokenStatus, now time.Time) string {
	text := whenOr(t.LastUsed, now)
	if who := userTold(t.LastUser); who != "" {
		text += ", " + who
	}
	return text
}

func tokenNotes(t token.TokenStatus, now time.Time) (notes []string) {
	if t.Scope != "" {
		notes = append(notes, "scope "+printable(t.Scope))
	}
	if t.Audience != "" {
		notes = append(notes, "audience "+printable(t.Audience))
	}
	if t.Error != nil {
		notes = append(notes, errorTold(t, now))
	}
	return notes
}

// errorTold says why the last attempt failed, what tokend does about it, and
// what there is meanwhile.
func errorTold(t token.TokenStatus, now time.Time) string {
	text := printable(t.Error.Error())
	if t.Failures > 1 {
		text += fmt.Sprintf(" (%d times in a row)", t.Failures)
	}
	again := "trying again"
	if t.Error.Code == token.ErrRejected {
		again = "asking again"
	}
	switch next := nextTry(t, now); next {
	case "-":
	case due:
		text += "; the next try is due"
	default:
		text += "; " + again + " " + next
	}
	if usable(t) {
		text += "; the token at hand is good for " + duration(t.Expiry.Sub(now))
	}
	return text
}

// userTold is who used something: its program, and the user if that is another
// than this one.
func userTold(u *token.User) string {
	if u == nil {
		return ""
	}
	program := printable(u.Program)
	if program == "" && u.PID != 0 {
		program = fmt.Sprintf("process %d", u.PID)
	}
	if u.UID == os.Getuid() {
		return program
	}
	name := printable(u.Name)
	if name == "" {
		name = fmt.Sprintf("uid %d", u.UID)
	}
	if program == "" {
		return name
	}
	return program + " of " + name
}

func (a *app) warningsTold(st token.Status) string {
	var lines []string
	for _, p := range st.Profiles {
		for _, warning := range p.Warnings {
			lines = append(lines, p.Name+": "+warning)
		}
	}
	return a.noticed("Warnings", warn, lines) +
		a.noticed("Files that could not be loaded (what was in force before stays)", bad, st.ConfigErrors)
}

func (a *app) noticed(heading string, as style, lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	text := "\n" + a.out.paint(as, heading) + "\n"
	for _, line := range lines {
		text += wrap(printable(line), "  ")
	}
	return text
}
