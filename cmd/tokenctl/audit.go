package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/ui"
	"tokend/providers/token"
)

func auditCommand(e *ui.Env) *cli.Command {
	var asJSON bool
	var since time.Duration
	var q token.AuditQuery
	return &cli.Command{
		Name:  "audit",
		Args:  "[NAME]",
		Short: "Show who asked for what",
		Long: `  tokenctl audit --since 24h
  tokenctl audit clms --user alice
  tokenctl audit --json | jq 'select(.code)'   what was refused

Prints the audit log, the oldest entry first: who got, or was refused, a token,
a signature, a verdict or a change of a profile. Those who may manage profiles
see all entries, others their own. With a name, it shows those of one profile.
The program's name is what the program calls itself.

docs/configuration.md says where the files are and how long tokend keeps them.`,
		Flags: func(f *cli.Flags) {
			jsonFlag(&asJSON)(f)
			f.Span(&since, "since", "only the last `TIME`: 90m, 24h")
			f.StringVar(&q.User, "user", "", "only this `USER`: a name or a uid")
		},
		Check:    e.MaybeProfile,
		Complete: e.CompleteProfile,
		Run: func(ctx context.Context, _ *cli.Call) error {
			if q.Profile = e.Profile; since > 0 {
				q.Since = time.Now().Add(-since)
			}
			d, err := e.Client()
			if err != nil {
				return err
			}
			return d.AuditLog(ctx, q, func(entry token.AuditEntry) error {
				line, _ := json.Marshal(entry) // it came as JSON
				text := ui.PlainJSON(string(line)) + "\n"
				if !asJSON {
					text = auditText(e.Out, entry)
				}
				return e.Out.Answer(text)
			})
		},
	}
}

// auditText shows an entry in a line.
func auditText(s ui.Screen, a token.AuditEntry) string {
	who := ui.Printable(cmp.Or(a.Name, fmt.Sprintf("uid %d", a.UID)))
	words := []string{fmt.Sprintf("%-11s %s", ui.Printable(a.Do), cmp.Or(ui.Printable(a.Profile), "-"))}
	for _, part := range [][2]string{{"by", a.Program}, {"for", a.Origin}, {"scope", a.Scope}, {"audience", a.Audience}} {
		if part[1] != "" {
			words = append(words, part[0]+" "+ui.Printable(part[1]))
		}
	}
	text := strings.Join(words, "  ")
	switch {
	case a.Lines > 0:
		who, text = "-", s.Paint(ui.Bad, fmt.Sprintf("%d lines are missing: they could not be written", a.Lines))
	case a.LeftOut > 0:
		text = s.Paint(ui.Warn, fmt.Sprintf("%d more refusals within a minute", a.LeftOut))
	case a.Code != "":
		text += "  " + s.Paint(ui.Bad, "refused: "+ui.Printable(string(a.Code)))
	}
	return fmt.Sprintf("%s  %-10s  %s\n", a.Time.Local().Format(time.DateTime), who, text)
}
