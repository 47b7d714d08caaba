package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tokend/providers/token"
)

func (a *app) showCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "show NAME",
		Short: "Show a profile's settings, and where they are",
		Long: `  tokenctl show clms

Shows a profile: its file, its settings, where its tokens come from, when its
credential ends, and its tokens' lifetimes. It never shows a secret.`,
		Args:              a.oneProfile,
		ValidArgsFunction: a.completeProfiles,
		RunE: func(c *cobra.Command, args []string) error {
			p, err := a.profileStatus(c, args[0])
			if err != nil {
				return err
			}
			if asJSON {
				return a.out.answerJSON(p)
			}
			return a.out.answer([]byte(a.shown(p, time.Now())))
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (a *app) shown(p token.ProfileStatus, now time.Time) string {
	ends := "no end known"
	if p.Does == doesVerify {
		ends = "none needed"
	}
	if !p.CredentialExpires.IsZero() {
		ends = fmt.Sprintf("expires on %s, %s", day(p.CredentialExpires), when(p.CredentialExpires, now))
	}
	rows := []row{
		pair("profile", p.Name, plain),
		pair("provider", p.Provider, plain),
		pair("file", p.File, plain),
		pair("credential", ends, plain),
	}
	if !isTokenless(p) {
		rows = append(rows, pair("endpoint", orDash(p.Endpoint), plain), pair("renewal", orDash(p.Renew), plain))
	}
	if c := p.Pending; c != nil {
		rows = append(rows, pair("new key", "made "+when(c.Stored, now)+", waits to be registered", warn))
	}
	for _, host := range p.Hosts {
		rows = append(rows, pair("for", host, plain))
	}
	if p.Present != "" {
		rows = append(rows, pair("shown as", string(p.Present), plain))
	}
	for _, path := range p.Sinks {
		rows = append(rows, pair("kept in", path, plain))
	}
	text := a.out.table(rows)
	if !p.Settings.IsZero() {
		text += "\n" + a.out.table(settingRows(p))
	}
	return text + "\n" + a.profilesTold([]token.ProfileStatus{p}, now) +
		a.warningsTold(token.Status{Profiles: []token.ProfileStatus{p}})
}

func settingRows(p token.ProfileStatus) []row {
	rows := []row{header("SETTING", "VALUE")}
	values := p.Settings.Values()
	for _, name := range slices.Sorted(maps.Keys(values)) {
		text := settingText(values[name])
		if name == "public_key" {
			text = "printed by: tokenctl public-key " + word(p.Name)
		}
		rows = append(rows, row{cells: []cell{{text: printable(name)}, {text: cut(printable(inOneLine(text)), width-20)}}})
	}
	return rows
}

// inOneLine stands for text of several lines; the rest is as it is.
func inOneLine(text string) string {
	n := strings.Count(strings.TrimSpace(text), "\n") + 1
	switch {
	case n == 1:
		return strings.TrimSpace(text)
	case strings.Contains(text, pemBegin):
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
