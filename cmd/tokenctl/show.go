package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/ui"
	"tokend/providers/token"
)

func showCommand(e *ui.Env) *cli.Command {
	var asJSON bool
	return &cli.Command{
		Name:  "show",
		Args:  "NAME",
		Short: "Show a profile's settings, and where they are",
		Long: `  tokenctl show clms

Shows a profile: its file, its settings, where its tokens come from, when its
credential expires, and its tokens' lifetimes. It never shows a secret.`,
		Flags:    jsonFlag(&asJSON),
		Check:    e.OneProfile,
		Complete: e.CompleteProfile,
		Run: func(ctx context.Context, _ *cli.Call) error {
			p, err := e.ProfileStatus(ctx, e.Profile)
			switch {
			case err != nil:
				return err
			case asJSON:
				return e.Out.AnswerJSON(p)
			}
			return e.Out.Answer(showText(e.Out, p, time.Now()))
		},
	}
}

func showText(s ui.Screen, p token.ProfileStatus, now time.Time) string {
	expires := "no known expiry"
	switch {
	case p.Does == doesVerify:
		expires = "none needed"
	case !p.CredentialExpires.IsZero():
		expires = expiryText(p.CredentialExpires, now)
	}
	rows := []ui.Row{
		ui.Pair("profile", p.Name, ui.Plain),
		ui.Pair("provider", p.Provider, ui.Plain),
		ui.Pair("file", p.File, ui.Plain),
		ui.Pair("credential", expires, ui.Plain),
	}
	if !isTokenless(p) {
		rows = append(rows, ui.Pair("endpoint", orDash(p.Endpoint), ui.Plain), ui.Pair("renewal", orDash(p.Renew), ui.Plain))
	}
	if c := p.Pending; c != nil {
		rows = append(rows, ui.Pair("new key", "made "+ui.When(c.Stored, now)+", waits to be registered", ui.Warn))
	}
	for _, host := range p.Hosts {
		rows = append(rows, ui.Pair("for", host, ui.Plain))
	}
	if p.Present != "" {
		rows = append(rows, ui.Pair("shown as", string(p.Present), ui.Plain))
	}
	for _, path := range p.Sinks {
		rows = append(rows, ui.Pair("written to", path, ui.Plain))
	}
	text := s.Table(rows)
	if !p.Settings.IsZero() {
		text += "\n" + s.Table(settingRows(p))
	}
	return text + "\n" + profileTable(s, []token.ProfileStatus{p}, now) +
		warningsText(s, token.Status{Profiles: []token.ProfileStatus{p}})
}

func settingRows(p token.ProfileStatus) []ui.Row {
	rows := []ui.Row{ui.Header("SETTING", "VALUE")}
	values := p.Settings.Values()
	for _, name := range slices.Sorted(maps.Keys(values)) {
		text := settingText(values[name])
		if name == "public_key" {
			text = "printed by: tokenctl public-key " + ui.Word(p.Name)
		}
		rows = append(rows, ui.Row{Cells: []ui.Cell{{Text: ui.Printable(name)}, {Text: ui.Cut(ui.Printable(oneLine(text)), ui.Width-20)}}})
	}
	return rows
}

// oneLine stands for text of several lines; other text is unchanged.
func oneLine(text string) string {
	n := strings.Count(strings.TrimSpace(text), "\n") + 1
	switch {
	case n == 1:
		return strings.TrimSpace(text)
	case strings.Contains(text, "-----BEGIN"):
		return fmt.Sprintf("(PEM, %d lines)", n)
	}
	return fmt.Sprintf("(%d lines)", n)
}

// settingText is a setting's value: text as it is, the rest as JSON.
func settingText(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
