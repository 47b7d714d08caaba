package main

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/ui"
	"tokend/providers/token"
)

func auditCommand(e *ui.Env) *cli.Command {
	var asJSON bool
	var since time.Duration
	var user string
	return &cli.Command{
		Name:  "audit",
		Args:  "[NAME]",
		Short: "Show who asked for what",
		Long: `  tokenctl audit --since 24h
  tokenctl audit clms --user alice
  tokenctl audit --json | jq 'select(.code)'   what was refused

Prints the audit log, or its entries about one profile, the oldest first. Those
who may manage profiles see all entries, others their own. The program's name is
what the program calls itself.`,
		Flags: func(f *cli.Flags) {
			jsonFlag(&asJSON)(f)
			f.Span(&since, "since", "only the last `TIME`: 90m, 24h")
			f.StringVar(&user, "user", "", "only this `USER`: a name or a uid")
		},
		Check:    e.MaybeProfile,
		Complete: e.CompleteProfile,
		Run: func(ctx context.Context, _ *cli.Call) error {
			d, err := e.Client()
			if err != nil {
				return err
			}
			begin := time.Now().Add(-since)
			return d.AuditLog(ctx, func(entry token.AuditEntry) error {
				switch {
				case e.Profile != "" && entry.Profile != e.Profile && !strings.HasPrefix(entry.Profile, e.Profile+"/"), since > 0 && entry.Time.Before(begin),
					user != "" && user != entry.Name && user != strconv.Itoa(entry.UID):
					return nil
				case asJSON:
					return e.Out.AnswerLine(entry)
				}
				return e.Out.Answer(auditText(e.Out, entry))
			})
		},
	}
}

// auditText shows an entry in a line.
func auditText(s ui.Screen, a token.AuditEntry) string {
	text := fmt.Sprintf("%s  %-10s  ", a.Time.Local().Format(time.DateTime), ui.Printable(cmp.Or(a.Name, fmt.Sprintf("uid %d", a.UID))))
	switch {
	case a.Lines > 0:
		return text + s.Paint(ui.Bad, fmt.Sprintf("%d lines are missing: they could not be written\n", a.Lines))
	case a.LeftOut > 0:
		return text + s.Paint(ui.Warn, fmt.Sprintf("%d more refusals within a minute\n", a.LeftOut))
	}
	text += fmt.Sprintf("%-11s %s", ui.Printable(a.Do), cmp.Or(ui.Printable(a.Profile), "-"))
	for _, part := range [][2]string{{"by", a.Program}, {"for", a.Origin}, {"scope", a.Scope}, {"audience", a.Audience}, {"of", a.Settings}} {
		if part[1] != "" {
			text += "  " + part[0] + " " + ui.Printable(part[1])
		}
	}
	if a.Code != "" {
		text += "  " + s.Paint(ui.Bad, "refused: "+ui.Printable(string(a.Code)))
	}
	return text + "\n"
}
