package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tokend/providers/token"
)

func (a *app) statusCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "status [NAME]",
		Short: "Tell how the daemon and the profiles are",
		Long: `  tokenctl status
  tokenctl status clms
  tokenctl status --json | jq '.profiles[] | {name, tokens}'

Tells how the daemon is, what its profiles' tokens are like, when the next is
obtained, and what went wrong last. The exit status is 0 whatever state it tells
of; 7 if tokend does not run, 3 if there is no such profile.`,
		Args:              a.perhapsProfile,
		ValidArgsFunction: a.completeProfiles,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 {
				return a.tellProfile(c, args[0], asJSON)
			}
			return a.tellStatus(c, asJSON)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (a *app) tellStatus(c *cobra.Command, asJSON bool) error {
	st, err := a.status(c)
	if err != nil {
		return err
	}
	if asJSON {
		return a.out.answerJSON(st)
	}
	now := time.Now()
	text := a.daemonTold(st, now)
	if len(st.Profiles) > 0 {
		text += "\n" + a.profilesTold(st.Profiles, now)
	}
	return a.out.answer([]byte(text + a.warningsTold(st)))
}

func (a *app) tellProfile(c *cobra.Command, name string, asJSON bool) error {
	p, err := a.profileStatus(c, name)
	if err != nil {
		return err
	}
	if asJSON {
		return a.out.answerJSON(p)
	}
	text := a.profilesTold([]token.ProfileStatus{p}, time.Now())
	return a.out.answer([]byte(text + a.warningsTold(token.Status{Profiles: []token.ProfileStatus{p}})))
}

func (a *app) daemonTold(st token.Status, now time.Time) string {
	return a.out.table([]row{
		pair("tokend", fmt.Sprintf("%s, process %d, started %s", st.Version, st.PID, when(st.Started, now)), plain),
		pair("keystore", st.Keystore, health(st.Keystore)),
		pair("cache", st.Cache, health(st.Cache)),
		pair("config", st.Config, plain),
		pair("state", st.State, plain),
	})
}

// health is how a word such as "ok" or "os: locked" is meant.
func health(text string) style {
	if text == "ok" || strings.HasSuffix(text, ": ok") {
		return good
	}
	return bad
}

func pair(name, value string, as style) row {
	return row{cells: []cell{{name, faint}, {printable(value), as}}}
}

// profilesTold is a table with a line for each token, and errors below them.
func (a *app) profilesTold(profiles []token.ProfileStatus, now time.Time) string {
	rows := []row{header("PROFILE", "STATE", "EXPIRES", "NEXT", "LAST USED")}
	for _, p := range profiles {
		tokens := p.Tokens
		if len(tokens) == 0 {
			tokens = []token.TokenStatus{noToken(p)}
		}
		for i, t := range tokens {
			name := printable(p.Name)
			if i > 0 {
				name = ""
			}
			rows = append(rows, row{
				cells: []cell{{text: name}, stateOf(t), {text: whenOr(t.Expiry, now)}, {text: nextTry(t, now)}, {text: whenOr(t.LastUsed, now)}},
				notes: tokenNotes(t, now),
			})
		}
	}
	return a.out.table(rows)
}

// nextTry says when the next token is obtained, as far as that is planned.
func nextTry(t token.TokenStatus, now time.Time) string {
	next := t.RenewAt
	if t.Error != nil {
		next = t.Error.RetryAt
	}
	switch {
	case next.IsZero():
		return "-"
	case next.Sub(now) >= time.Second:
		return when(next, now)
	}
	return due
}

// due is what nextTry says of a time that has come.
const due = "due"

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

// errorTold says why the last attempt failed, and when the next is.
func errorTold(t token.TokenStatus, now time.Time) string {
	text := printable(t.Error.Error())
	if t.Failures > 1 {
		text += fmt.Sprintf(" (%d times in a row)", t.Failures)
	}
	switch next := nextTry(t, now); next {
	case "-":
		return text
	case due:
		return text + "; the next try is due"
	default:
		return text + "; next try " + next
	}
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
