package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tokend/providers/token"
)

func (a *app) tellProfile(c *cobra.Command) (string, error) {
	p, err := a.profileStatus(c, a.profile)
	if err != nil {
		return "", err
	}
	return a.profileTold(p, time.Now()), nil
}

// profileTold tells of one profile at length.
func (a *app) profileTold(p token.ProfileStatus, now time.Time) string {
	rows := []row{
		pair("profile", p.Name, plain),
		pair("provider", p.Provider, plain),
	}
	if p.Endpoint != "" {
		rows = append(rows, pair("endpoint", p.Endpoint, plain))
	}
	if !p.CredentialExpires.IsZero() {
		rows = append(rows, pair("credential", fmt.Sprintf("expires on %s, %s", day(p.CredentialExpires), when(p.CredentialExpires, now)), plain))
	}
	if isTokenless(p) {
		rows = append(rows, pair("does", p.Does, good), pair("last used", useTold(p.LastUsed, p.LastUser, now), plain))
	}
	text := a.out.table(rows)
	for _, t := range p.Tokens {
		text += "\n" + a.tokenTold(p, t, now)
	}
	return text + a.warningsTold(token.Status{Profiles: []token.ProfileStatus{p}})
}

// tokenTold tells of one token: how it is, what it says of itself, how it was
// come by, and what to do if the last attempt failed.
func (a *app) tokenTold(p token.ProfileStatus, t token.TokenStatus, now time.Time) string {
	var rows []row
	add := func(name, value string) {
		if value != "" {
			rows = append(rows, pair(name, value, plain))
		}
	}
	state := stateOf(t)
	rows = append(rows, pair("state", state.text, state.as))
	if usable(t) {
		rows = append(rows, row{cells: []cell{{"left", faint}, leftOf(t, now)}})
	}
	if !t.Issued.IsZero() {
		add("obtained", when(t.Issued, now)+", for "+duration(t.Expiry.Sub(t.Issued)))
	}
	add("next", nextTry(t, now))
	add("last used", useTold(t.LastUsed, t.LastUser, now))
	add("for scope", t.Scope)
	add("for audience", t.Audience)
	add("granted", t.Granted)
	text := a.out.table(append(rows, contentRows(t.Content)...))
	if t.Error != nil {
		text += "\n" + a.out.paint(bad, "The last attempt failed") + "\n" + wrap(errorTold(t, now), "  ")
		text += a.remedy(p, t, now)
	}
	return text + a.historyTold(t.History, now)
}

// remedy says what to do about an error that does not pass by itself, and where
// more is said of it.
func (a *app) remedy(p token.ProfileStatus, t token.TokenStatus, now time.Time) (text string) {
	var lines []string
	if t.Error.Code != token.ErrUnavailable {
		lines = hints(t.Error, situation{command: "get", profile: printable(p.Name), now: now})
	}
	for _, line := range append(lines, explained(topicOf(t.Error))...) {
		text += wrap(line, "  ")
	}
	return text
}

// contentRows say what a token says of itself.
func contentRows(c *token.ClaimsPreview) []row {
	if c == nil {
		return nil
	}
	format, known := map[string]string{
		"jwt":    "a JWT; what it says was not verified here",
		"jwe":    "an encrypted JWT (JWE); only whom it is for can read it",
		"opaque": "opaque; only its issuer knows what it stands for",
	}[c.Format]
	if !known {
		format = c.Format
	}
	rows := []row{pair("token", format, plain)}
	for _, claim := range []struct{ name, value string }{
		{"issuer", c.Issuer}, {"subject", c.Subject}, {"audience", strings.Join(c.Audience, " ")},
		{"client", c.Client}, {"scopes", strings.Join(c.Scopes, " ")},
	} {
		if claim.value != "" {
			rows = append(rows, pair(claim.name, claim.value, plain))
		}
	}
	return rows
}

// useTold says when something was last used and by whom, at length.
func useTold(at time.Time, by *token.User, now time.Time) string {
	text := whenOr(at, now)
	if who := userTold(by); who != "" {
		text += " by " + who
		if by.PID != 0 && by.Program != "" {
			text += fmt.Sprintf(" (process %d)", by.PID)
		}
	}
	return text
}

// historyTold is a table of the last attempts to obtain a token.
func (a *app) historyTold(history []token.Attempt, now time.Time) string {
	if len(history) == 0 {
		return ""
	}
	rows := []row{header("ATTEMPT", "TOOK", "CAME TO")}
	for _, at := range history {
		result := cell{"a token", good}
		if at.Code != "" {
			result = cell{printable(codeInWords(at.Code)), bad}
		}
		rows = append(rows, row{cells: []cell{{text: when(at.At, now)}, {text: took(at.Took)}, result}})
	}
	return "\n" + a.out.table(rows)
}

// codeInWords is a code as people read it; one from a newer tokend is its own
// word.
func codeInWords(c token.Code) string {
	if text := c.Error(); text != "" {
		return text
	}
	return string(c)
}
