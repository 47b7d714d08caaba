package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"tokend/cmd/tokenctl/ui"
	"tokend/providers/token"
)

// checkState ends with status 1 if something needs a person, and says what in one line.
func checkState(ctx context.Context, e *ui.Env) error {
	st, err := e.State(ctx)
	if err != nil {
		return &ui.Exit{Status: ui.ExitStatus(err), Err: err}
	}
	needs := needsOf(st)
	switch n := len(needs) - 1; {
	case n < 0:
		return nil
	case n > 0:
		needs[0] += fmt.Sprintf(" (and %d more)", n)
	}
	return &ui.Exit{Status: ui.ExitFailure, Err: errors.New(needs[0])}
}

// needsOf lists what needs a person. While a cached token is good, an outage of its
// issuer does not: it passes.
func needsOf(st token.Status) (lines []string) {
	for _, part := range [][2]string{{"keystore", st.Keystore}, {"cache", st.Cache}} {
		if part[1] != "" && health(part[1]) == ui.Bad {
			lines = append(lines, part[0]+" "+part[1])
		}
	}
	lines = append(lines, st.ConfigErrors...)
	for _, p := range st.Profiles {
		for _, t := range tokensOf(p) {
			if t.Error != nil && !(usable(t) && t.Error.Code == token.ErrUnavailable) {
				lines = append(lines, token.WithResource(p.Name, t.Resource)+": "+t.Error.Error())
			}
		}
	}
	return append(lines, warningsOf(st)...)
}

// formatState prints format for each profile, with words for its {fields}. A template of
// Go's would cost every launch of tokenctl 0.15 ms.
func formatState(ctx context.Context, e *ui.Env, format string) error {
	st, err := e.State(ctx)
	text := ""
	for _, p := range st.Profiles {
		for _, t := range ownTokens(p) {
			name, left, failure := token.WithResource(p.Name, t.Resource), "-", ""
			if usable(t) {
				left = ui.Duration(max(0, time.Until(t.Expiry)))
			}
			if t.Error != nil {
				failure = ui.Printable(t.Error.Error())
			}
			text += strings.NewReplacer("{name}", ui.Printable(name), "{state}", stateOf(t).Text, "{left}", left, "{error}", failure).Replace(format) + "\n"
		}
	}
	if err != nil {
		return err
	}
	return e.Out.Answer(text)
}
