package main

import (
	"context"
	"time"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/ui"
	"tokend/ipc"
	"tokend/providers/token"
)

func listCommand(e *ui.Env) *cli.Command {
	var asJSON bool
	return &cli.Command{
		Name:  "list",
		Short: "List the profiles",
		Long: `  tokenctl list
  tokenctl list --json | jq -r '.profiles[].name'

Lists the profiles with the state of their tokens and how long those live. A
profile without tokens shows what it does instead: it signs or verifies.`,
		Flags: jsonFlag(&asJSON),
		Run: func(ctx context.Context, _ *cli.Call) error {
			st, err := e.Status(ctx)
			if err != nil {
				return err
			}
			return answer(e, asJSON, ipc.ProfileList{Profiles: st.Profiles}, listText(e.Out, st, time.Now()))
		},
	}
}

// noProfiles says that there are none, or none for this user.
func noProfiles(st token.Status) string {
	if st.MayManage {
		return "There is no profile yet. Make one: tokenctl add\n"
	}
	return "There is no profile that you may use. Ask the person who manages them.\n"
}

func listText(s ui.Screen, st token.Status, now time.Time) string {
	if len(st.Profiles) == 0 {
		return noProfiles(st)
	}
	rows := []ui.Row{ui.Header("PROFILE", "PROVIDER", "STATE", "EXPIRES")}
	for _, p := range st.Profiles {
		t := tokensOf(p)[0]
		rows = append(rows, ui.Row{Cells: []ui.Cell{
			{Text: ui.Printable(p.Name)}, {Text: ui.Printable(p.Provider)}, stateOf(t), {Text: ui.WhenOrDash(t.Expiry, now)},
		}})
	}
	return s.Table(rows)
}

// tokensOf are the profile's tokens, that for its own target first, or what stands
// for them.
func tokensOf(p token.ProfileStatus) []token.TokenStatus {
	if len(p.Tokens) == 0 {
		return []token.TokenStatus{noToken(p)}
	}
	return p.Tokens
}

// noToken stands for the token of a profile that has none: its state is what
// the profile does instead, if it is of such a kind.
func noToken(p token.ProfileStatus) token.TokenStatus {
	if p.Does == "signs" || p.Does == "verifies" {
		return token.TokenStatus{State: p.Does, LastUsed: p.LastUsed, LastUser: p.LastUser}
	}
	return token.TokenStatus{State: "none"}
}

// usable reports whether tokend serves a token.
func usable(t token.TokenStatus) bool {
	return t.State == token.Fresh.String() || t.State == token.Due.String()
}

// stateOf is a word for a token: its state while it can be used, else why
// there is none.
func stateOf(t token.TokenStatus) ui.Cell {
	state := ui.Printable(t.State)
	switch {
	case t.State == "signs" || t.State == "verifies":
		return ui.Cell{Text: state, As: ui.Good}
	case usable(t) && t.Error != nil:
		return ui.Cell{Text: state, As: ui.Warn}
	case usable(t):
		return ui.Cell{Text: state, As: ui.Good}
	case t.Error == nil && t.Obtaining:
		return ui.Cell{Text: "obtaining", As: ui.Warn}
	case t.Error == nil:
		return ui.Cell{Text: state, As: ui.Faint}
	}
	switch t.Error.Code {
	case token.ErrRejected:
		return ui.Cell{Text: "refused", As: ui.Bad}
	case token.ErrLocked:
		return ui.Cell{Text: "locked", As: ui.Bad}
	}
	return ui.Cell{Text: "failing", As: ui.Bad}
}
