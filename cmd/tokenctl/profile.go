package main

import (
	"fmt"
	"strings"
	"time"

	"tokend/cmd/tokenctl/ui"
	"tokend/providers/token"
)

// profileText shows one profile at length.
func profileText(s ui.Screen, p token.ProfileStatus, now time.Time) string {
	rows := []ui.Row{
		ui.Pair("profile", p.Name, ui.Plain),
		ui.Pair("provider", p.Provider, ui.Plain),
	}
	if p.Endpoint != "" {
		rows = append(rows, ui.Pair("endpoint", p.Endpoint, ui.Plain))
	}
	if !p.CredentialExpires.IsZero() {
		rows = append(rows, ui.Pair("credential", expiryText(p.CredentialExpires, now), ui.Plain))
	}
	if isTokenless(p) {
		rows = append(rows, ui.Pair("does", p.Does, ui.Good), ui.Pair("last used", useText(p.LastUsed, p.LastUser, now), ui.Plain))
	}
	text := s.Table(rows)
	for _, t := range p.Tokens {
		text += "\n" + tokenText(s, p, t, now)
	}
	return text + warningsText(s, token.Status{Profiles: []token.ProfileStatus{p}})
}

func expiryText(at, now time.Time) string {
	return fmt.Sprintf("expires on %s, %s", ui.Day(at), ui.When(at, now))
}

// tokenText shows one token: its state, what it contains, its history, and what
// to do if the last attempt failed.
func tokenText(s ui.Screen, p token.ProfileStatus, t token.TokenStatus, now time.Time) string {
	var rows []ui.Row
	add := func(name, value string) {
		if value != "" {
			rows = append(rows, ui.Pair(name, value, ui.Plain))
		}
	}
	state := stateOf(t)
	rows = append(rows, ui.Pair("state", state.Text, state.As))
	if usable(t) {
		rows = append(rows, ui.Row{Cells: []ui.Cell{{Text: "left", As: ui.Faint}, lifeLeft(t, now)}})
	}
	if !t.Issued.IsZero() {
		add("obtained", ui.When(t.Issued, now)+", for "+ui.Duration(t.Expiry.Sub(t.Issued)))
	}
	add("next", nextTry(t, now))
	add("last used", useText(t.LastUsed, t.LastUser, now))
	add("for scope", t.Scope)
	add("for audience", t.Audience)
	add("granted", t.Granted)
	text := s.Table(append(rows, claimRows(t.Content)...))
	if t.Error != nil {
		text += "\n" + s.Paint(ui.Bad, "The last attempt failed") + "\n" + ui.Wrap(failureText(t, now), "  ")
		hints := ui.SeeTopic(t.Error.Topic)
		if t.Error.Code != token.ErrUnavailable { // which passes by itself
			hints = ui.Hints(t.Error, ui.Situation{Command: "get", Profile: ui.Printable(p.Name), Now: now})
		}
		for _, line := range hints {
			text += ui.Wrap(line, "  ")
		}
	}
	return text + historyText(s, t.History, now)
}

// claimRows show what a token contains.
func claimRows(c *token.ClaimsPreview) []ui.Row {
	if c == nil {
		return nil
	}
	format, known := map[string]string{
		"jwt":    "a JWT; tokend has not verified what it says",
		"jwe":    "an encrypted JWT (JWE); only its recipient can read it",
		"opaque": "opaque; only its issuer knows what it stands for",
	}[c.Format]
	if !known {
		format = c.Format
	}
	rows := []ui.Row{ui.Pair("token", format, ui.Plain)}
	for _, claim := range []struct{ name, value string }{
		{"issuer", c.Issuer}, {"subject", c.Subject}, {"audience", strings.Join(c.Audience, " ")},
		{"client", c.Client}, {"scopes", strings.Join(c.Scopes, " ")},
	} {
		if claim.value != "" {
			rows = append(rows, ui.Pair(claim.name, claim.value, ui.Plain))
		}
	}
	return rows
}

// useText says when something was last used and by whom, at length.
func useText(at time.Time, by *token.User, now time.Time) string {
	text := lastUse(at, by, " by ", now)
	if by != nil && by.PID != 0 && by.Program != "" {
		text += fmt.Sprintf(" (process %d)", by.PID)
	}
	return text
}

// historyText is a table of the last attempts to obtain a token.
func historyText(s ui.Screen, history []token.Attempt, now time.Time) string {
	if len(history) == 0 {
		return ""
	}
	rows := []ui.Row{ui.Header("ATTEMPT", "TOOK", "RESULT")}
	for _, at := range history {
		result := ui.Cell{Text: "a token", As: ui.Good}
		if at.Code != "" {
			result = ui.Cell{Text: ui.Printable(codeText(at.Code)), As: ui.Bad}
		}
		rows = append(rows, ui.Row{Cells: []ui.Cell{{Text: ui.When(at.At, now)}, {Text: ui.Took(at.Took)}, result}})
	}
	return "\n" + s.Table(rows)
}

// codeText is a code in words; one from a newer tokend stands for itself.
func codeText(c token.Code) string {
	if text := c.Error(); text != "" {
		return text
	}
	return string(c)
}
