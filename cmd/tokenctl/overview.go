package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/form"
	"tokend/cmd/tokenctl/ui"
	"tokend/providers/token"
)

// overview says in a few lines what runs and what to do next, which is what
// tokenctl without arguments is for.
func overview(ctx context.Context, e *ui.Env, c *cli.Call) error {
	st, err := e.Status(ctx)
	var lines []string
	switch {
	case err == nil:
		lines = overviewLines(st, time.Now())
	case errors.Is(err, token.ErrNoDaemon) && !e.Starts:
		lines = append([]string{"tokend is not running: " + ui.Printable(err.Error()) + "."}, ui.Hints(token.ErrNoDaemon, e.Situation(ctx, c, err))...)
	default:
		return err
	}
	text := ""
	for _, line := range append(lines, "All commands: "+ui.Typed("tokenctl --help")) {
		text += ui.Wrap(line, "")
	}
	return e.Out.Answer(text)
}

// endingShown is how many credentials that end soon the overview names.
const endingShown = 3

// overviewLines are the lines about a daemon that answers.
func overviewLines(st token.Status, now time.Time) []string {
	whose := ""
	if ui.IsSystem(st) {
		whose = "The system's "
	}
	lines := []string{fmt.Sprintf("%stokend %s is running, started %s; its keystore is %s.",
		whose, ui.Printable(st.Version), ui.When(st.Started, now), ui.Printable(st.Keystore))}
	if len(st.Profiles) == 0 {
		lines = append(lines, strings.Split(strings.TrimSpace(noProfiles(st)), "\n")...)
		if st.MayManage {
			lines = append(lines, "Import what you have in files and in the environment: "+ui.Typed("tokenctl import"))
		}
		return lines
	}
	for _, p := range st.Profiles {
		if p.CredentialState != "" && len(lines) <= endingShown {
			lines = append(lines, ui.Printable(p.Name+": "+strings.Join(p.Warnings, "; ")))
		}
	}
	next := "Use one: " + ui.Typed(form.UseOf(st.Profiles[0]))
	for _, p := range slices.Backward(st.Profiles) { // the first one counts
		if slices.ContainsFunc(ownTokens(p), func(t token.TokenStatus) bool { return t.Error != nil }) || len(p.Warnings) > 0 {
			next = "Needs attention: " + ui.Typed("tokenctl status", ui.Printable(ui.Word(p.Name)))
		}
	}
	return append(lines, next, "See all: "+ui.Typed("tokenctl status")+"; one in detail: "+ui.Typed("tokenctl status NAME"))
}
