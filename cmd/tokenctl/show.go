package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/ui"
	"tokend/ipc"
	"tokend/providers/token"
)

func showCommand(e *ui.Env) *cli.Command {
	var asJSON, held bool
	return e.ForProfile(&cli.Command{
		Name:  "show",
		Short: "Show a profile's settings, and where they are",
		Long: `  tokenctl show clms
  tokenctl show api --token         what the API sees: aud, roles, scp, tid, ver

Shows a profile, as "tokenctl status NAME" does: its file, its settings, where
its tokens come from, when its credential expires, what its tokens contain, and
the last attempts to obtain one. It never shows a secret. For configuration
management, --json has when the credential was stored and, for root and tokend's
own user, SHA-256 digests of its secrets.`,
		Flags: func(f *cli.Flags) {
			jsonFlag(&asJSON)(f)
			f.BoolVar(&held, "token", false, "show only the claims of the tokens that tokend holds, never a token")
		},
		Run: func(ctx context.Context, _ *cli.Call) error {
			if !held && !asJSON {
				return answerState(ctx, e, false)
			}
			p, err := e.ProfileStatus(ctx, e.Profile)
			if err != nil {
				return err
			}
			if !held {
				p.CredentialSHA256, _ = ui.Ask(ctx, e, func(d *ipc.Client, ctx context.Context) (map[string]string, error) {
					return d.Digests(ctx, e.Profile) // not every caller may have them
				})
				return e.Out.AnswerJSON(p)
			}
			p.Tokens = slices.DeleteFunc(p.Tokens, func(t token.TokenStatus) bool { return t.Content == nil })
			return answer(e, asJSON, p.Tokens, heldText(e.Out, p, time.Now()))
		},
	})
}

// heldText shows what the tokens of a profile say to an API.
func heldText(s ui.Screen, p token.ProfileStatus, now time.Time) (text string) {
	for _, t := range p.Tokens {
		rows := pairs("resource", t.Resource, "for scope", t.Scope, "for audience", t.Audience)
		if t.Content.Claims == nil { // not a JWT
			rows = append(rows, claimRows(t.Content)...)
		}
		for _, name := range token.ShownClaims {
			if value, ok := t.Content.Claims[name]; ok {
				text := ui.Setting(value)
				if name == "exp" {
					text += ", " + ui.When(t.Expiry, now)
				}
				rows = append(rows, ui.Pair(name, text, ui.Plain))
			}
		}
		text += s.Table(rows)
	}
	return cmp.Or(text, ui.Wrap("tokend holds no token of "+ui.Printable(p.Name)+"; \"tokenctl get "+ui.Printable(ui.Word(p.Name))+"\" obtains one.", ""))
}

// profileText shows one profile: what it is made of, its tokens, and what tokend
// warns of.
func profileText(s ui.Screen, p token.ProfileStatus, now time.Time) string {
	expires := "no known expiry"
	switch {
	case p.Does == "verifies":
		expires = "none needed"
	case !p.CredentialExpires.IsZero():
		expires = fmt.Sprintf("expires on %s, %s", ui.Day(p.CredentialExpires), ui.When(p.CredentialExpires, now))
	}
	rows := pairs("profile", p.Name, "provider", p.Provider, "file", p.File, "credential", expires, "endpoint", p.Endpoint, "renewal", p.Renew)
	if c := p.Pending; c != nil {
		rows = append(rows, ui.Pair("new key", "made "+ui.When(c.Stored, now)+", waits to be registered", ui.Warn))
	}
	admins := slices.Clone(p.AdminUsers)
	for _, group := range p.AdminGroups {
		admins = append(admins, "group "+group)
	}
	rows = slices.Concat(rows, each("for", p.Hosts), each("administered by", admins),
		pairs("shown as", string(p.Present), "second header", p.SecondHeader), each("written to", p.Sinks))
	text := s.Table(rows)
	if len(p.Settings) > 0 {
		text += "\n" + settingsTable(s, p)
	}
	for _, t := range tokensOf(p) {
		text += "\n" + tokenText(s, p, t, now)
	}
	return text + warningsText(s, token.Status{Profiles: []token.ProfileStatus{p}})
}

// pairs are rows of names and values; one without a value is left out.
func pairs(texts ...string) (rows []ui.Row) {
	for pair := range slices.Chunk(texts, 2) {
		if pair[1] != "" {
			rows = append(rows, ui.Pair(pair[0], pair[1], ui.Plain))
		}
	}
	return rows
}

// each is a row for each of several values.
func each(name string, values []string) (rows []ui.Row) {
	for _, value := range values {
		rows = append(rows, ui.Pair(name, value, ui.Plain))
	}
	return rows
}

// tokenText shows one token: its state, what it contains, its history, and what
// to do if the last attempt failed.
func tokenText(s ui.Screen, p token.ProfileStatus, t token.TokenStatus, now time.Time) string {
	state, obtained, used := stateOf(t), "", lastUse(t.LastUsed, t.LastUser, " by ", now)
	rows := append(resourceRows(p, t), ui.Pair("state", state.Text, state.As))
	if usable(t) {
		rows = append(rows, ui.Row{Cells: []ui.Cell{{Text: "left", As: ui.Faint}, lifeLeft(t, now)}})
	}
	if !t.Issued.IsZero() {
		obtained = ui.When(t.Issued, now) + ", for " + ui.Duration(t.Expiry.Sub(t.Issued))
	}
	if by := t.LastUser; by != nil && by.PID != 0 && by.Program != "" {
		used += fmt.Sprintf(" (process %d)", by.PID)
	}
	rows = append(rows, pairs("obtained", obtained, "next", nextTry(t, now), "last used", used,
		"for scope", t.Scope, "for audience", t.Audience, "granted", t.Granted)...)
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

// resourceRows say what a resource is for.
func resourceRows(p token.ProfileStatus, t token.TokenStatus) (rows []ui.Row) {
	for _, r := range p.Resources {
		if r.Name == t.Resource {
			rows = pairs("resource", r.Name)
			for _, name := range slices.Sorted(maps.Keys(r.Settings)) {
				rows = append(rows, pairs(name, ui.Setting(r.Settings[name]))...)
			}
			rows = slices.Concat(rows, each("for", r.Hosts), pairs("shown as", string(r.Present), "second header", r.SecondHeader))
		}
	}
	return rows
}

// claimRows show what a token contains.
func claimRows(c *token.ClaimsPreview) []ui.Row {
	if c == nil {
		return nil
	}
	format := map[string]string{
		"jwt":    "a JWT; tokend has not verified what it says",
		"jwe":    "an encrypted JWT (JWE); only its recipient can read it",
		"opaque": "opaque; only its issuer knows what it stands for",
	}[c.Format]
	return pairs("token", cmp.Or(format, c.Format), "issuer", c.Issuer, "subject", c.Subject, "audience", strings.Join(c.Audience, " "),
		"client", c.Client, "scopes", strings.Join(c.Scopes, " "))
}

// historyText is a table of the last attempts to obtain a token.
func historyText(s ui.Screen, history []token.Attempt, now time.Time) string {
	if len(history) == 0 {
		return ""
	}
	var rows []ui.Row
	for _, at := range history {
		result := ui.Cell{Text: "a token", As: ui.Good}
		if at.Code != "" {
			result = ui.Cell{Text: ui.Printable(cmp.Or(at.Code.Error(), string(at.Code))), As: ui.Bad}
		}
		rows = append(rows, ui.Row{Cells: []ui.Cell{{Text: ui.When(at.At, now)}, {Text: ui.Took(at.Took)}, result}})
	}
	return "\n" + s.List(rows, "ATTEMPT", "TOOK", "RESULT")
}

func settingsTable(s ui.Screen, p token.ProfileStatus) string {
	var rows []ui.Row
	for _, name := range slices.Sorted(maps.Keys(p.Settings)) {
		text := ui.Setting(p.Settings[name])
		if name == "public_key" {
			text = "printed by: tokenctl public-key " + ui.Word(p.Name)
		}
		rows = append(rows, ui.Pair(ui.Printable(name), text, ui.Plain))
	}
	return s.List(rows, "SETTING", "VALUE")
}
