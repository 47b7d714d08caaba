package main

import (
	"context"
	"slices"
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

Lists the profiles with the state of their tokens and the time until they
expire. A profile without tokens signs or verifies instead.`,
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
		return "There is no profile yet. Add one: tokenctl add\n"
	}
	text := "There is no profile that you may use. Ask the person who manages them.\n"
	if ui.IsSystem(st) {
		text += ui.Wrap(ui.OwnInstead, "")
	}
	return text
}

func listText(s ui.Screen, st token.Status, now time.Time) string {
	if len(st.Profiles) == 0 {
		return noProfiles(st)
	}
	var rows []ui.Row
	for _, p := range st.Profiles {
		var notes []string
		for _, text := range p.Warnings {
			notes = append(notes, ui.Printable(text))
		}
		for _, t := range ownTokens(p) {
			rows = append(rows, ui.Row{Cells: []ui.Cell{
				{Text: ui.Printable(token.WithResource(p.Name, t.Resource))}, {Text: ui.Printable(p.Provider)}, stateOf(t), {Text: ui.WhenOrDash(t.Expiry, now)},
			}, Notes: notes})
			notes = nil
		}
	}
	return s.List(rows, "PROFILE", "PROVIDER", "STATE", "EXPIRES")
}

// tokensOf are the profile's tokens, that for its own target first, or what stands
// for them: what the profile does instead, if it is of such a kind.
func tokensOf(p token.ProfileStatus) []token.TokenStatus {
	switch {
	case len(p.Tokens) > 0:
		return p.Tokens
	case hasNoTokens(p.Does):
		return []token.TokenStatus{{State: p.Does, LastUsed: p.LastUsed, LastUser: p.LastUser}}
	}
	return []token.TokenStatus{{State: "none"}}
}

// ownTokens are tokensOf without those for other scopes and audiences.
func ownTokens(p token.ProfileStatus) []token.TokenStatus {
	return slices.DeleteFunc(slices.Clone(tokensOf(p)), func(t token.TokenStatus) bool { return t.Target != (token.Target{}) })
}

func hasNoTokens(does string) bool { return does == "signs" || does == "verifies" }
