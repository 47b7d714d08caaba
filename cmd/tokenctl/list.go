package main

import (
	"time"

	"github.com/spf13/cobra"

	"tokend/ipc"
	"tokend/providers/token"
)

func (a *app) listCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "list",
		Short: "List the profiles",
		Long: `  tokenctl list
  tokenctl list --json | jq -r '.profiles[].name'

Lists the profiles, and how long their tokens live. In place of a token's state
it tells of a profile that it signs requests or verifies tokens.`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			st, err := a.status(c)
			if err != nil {
				return err
			}
			if asJSON {
				return a.out.answerJSON(ipc.ProfileList{Profiles: st.Profiles})
			}
			if len(st.Profiles) == 0 {
				return a.out.answer([]byte(noProfiles(st)))
			}
			return a.out.answer([]byte(a.listed(st.Profiles, time.Now())))
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// noProfiles says that there are none, or none for this user.
func noProfiles(st token.Status) string {
	if st.MayManage {
		return "There is no profile yet. Make one: tokenctl add\n"
	}
	return "There is no profile that you may use. Ask whoever manages them.\n"
}

func (a *app) listed(profiles []token.ProfileStatus, now time.Time) string {
	rows := []row{header("PROFILE", "PROVIDER", "STATE", "EXPIRES")}
	for _, p := range profiles {
		t := ownToken(p)
		rows = append(rows, row{cells: []cell{
			{text: printable(p.Name)}, {text: printable(p.Provider)}, stateOf(t), {text: whenOr(t.Expiry, now)},
		}})
	}
	return a.out.table(rows)
}

// ownToken tells of the token for the profile's own target.
func ownToken(p token.ProfileStatus) token.TokenStatus {
	if len(p.Tokens) > 0 && p.Tokens[0].Target == (token.Target{}) {
		return p.Tokens[0]
	}
	return noToken(p)
}

// noToken stands for the token of a profile that has none: its state is what
// the profile does instead, if it is of such a kind.
func noToken(p token.ProfileStatus) token.TokenStatus {
	if isTokenless(p) {
		return token.TokenStatus{State: p.Does, LastUsed: p.LastUsed, LastUser: p.LastUser}
	}
	return token.TokenStatus{State: "none"}
}

// What the profiles without tokens do.
const (
	doesSign   = "signs"
	doesVerify = "verifies"
)

func isTokenless(p token.ProfileStatus) bool { return p.Does == doesSign || p.Does == doesVerify }

// usable tells of a token that can be handed out.
func usable(t token.TokenStatus) bool {
	return t.State == token.Fresh.String() || t.State == token.Due.String()
}

// stateOf is a word for how a token is: its state while it can be used, else
// why there is none.
func stateOf(t token.TokenStatus) cell {
	switch {
	case t.State == doesSign || t.State == doesVerify:
		return cell{t.State, good}
	case usable(t) && t.Error != nil:
		return cell{printable(t.State), warn}
	case usable(t):
		return cell{printable(t.State), good}
	case t.Error == nil && t.Obtaining:
		return cell{"obtaining", warn}
	case t.Error == nil:
		return cell{printable(t.State), faint}
	}
	switch t.Error.Code {
	case token.ErrRejected:
		return cell{"refused", bad}
	case token.ErrLocked:
		return cell{"locked", bad}
	}
	return cell{"failing", bad}
}
