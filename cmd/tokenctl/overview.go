package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tokend/providers/token"
)

// overview says in a few lines how things stand and what to do next: that is
// what tokenctl without arguments is asked for.
func (a *app) overview(c *cobra.Command) error {
	st, err := a.status(c)
	var lines []string
	switch {
	case err == nil:
		lines = overviewOf(st, time.Now())
	case errors.Is(err, token.ErrNoDaemon) && !a.starts():
		lines = append([]string{"tokend does not run: " + printable(a.noSocket(err).Error()) + "."}, a.situation(c, err).noDaemon()...)
	default:
		return err
	}
	for _, line := range append(lines, "All commands: "+typed("tokenctl --help")) {
		if err := a.out.answer([]byte(wrap(line, ""))); err != nil {
			return err
		}
	}
	return nil
}

// overviewOf tells of a daemon that answers.
func overviewOf(st token.Status, now time.Time) []string {
	lines := []string{fmt.Sprintf("tokend %s runs, started %s; its keystore is %s.",
		printable(st.Version), when(st.Started, now), printable(st.Keystore))}
	none := strings.TrimSpace(noProfiles(st))
	switch {
	case len(st.Profiles) > 0:
	case st.MayManage:
		return append(lines, none, "What you have in files and in the environment: "+typed("tokenctl import"))
	default:
		return append(lines, none)
	}
	name := printable(word(st.Profiles[0].Name))
	lines = append(lines, profilesCounted(st.Profiles))
	if ill := illProfile(st.Profiles); ill != "" {
		lines = append(lines, "Look at: "+typed("tokenctl status", printable(word(ill))))
	} else {
		lines = append(lines, "Use one: "+typed(use(st.Profiles[0])))
	}
	return append(lines, "How they are: "+typed("tokenctl status")+"; one at length: "+typed("tokenctl status", name))
}

// profilesCounted counts profiles by their state.
func profilesCounted(profiles []token.ProfileStatus) string {
	var states []string
	counts := map[string]int{}
	for _, p := range profiles {
		state := stateOf(ownToken(p)).text
		if counts[state]++; counts[state] == 1 {
			states = append(states, state)
		}
	}
	slices.Sort(states)
	for i, state := range states {
		states[i] = fmt.Sprintf("%d %s", counts[state], state)
	}
	noun := "profiles"
	if len(profiles) == 1 {
		noun = "profile"
	}
	return fmt.Sprintf("%d %s: %s.", len(profiles), noun, strings.Join(states, ", "))
}

// illProfile is the first profile that goes wrong, "" if none does.
func illProfile(profiles []token.ProfileStatus) string {
	for _, p := range profiles {
		if ownToken(p).Error != nil || len(p.Warnings) > 0 {
			return p.Name
		}
	}
	return ""
}
