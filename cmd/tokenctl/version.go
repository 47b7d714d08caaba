package main

import (
	"errors"
	"runtime/debug"

	"github.com/spf13/cobra"

	"tokend/providers/token"
)

// versions answers version --json.
type versions struct {
	Tokenctl string `json:"tokenctl"`
	// Tokend is empty if the daemon does not tell.
	Tokend string `json:"tokend,omitempty"`
}

func (a *app) versionCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "version",
		Short: "Print the versions of tokenctl and tokend",
		Long: `  tokenctl version

Prints tokenctl's version, and tokend's if it runs.`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			st, err := a.status(c)
			if asJSON {
				return a.out.answerJSON(versions{ownVersion(), st.Version})
			}
			daemon := st.Version
			switch {
			case errors.Is(err, token.ErrNoDaemon):
				daemon = "does not run"
			case err != nil:
				daemon = err.Error()
			}
			return a.out.answer([]byte(versionLine() + "tokend   " + printable(daemon) + "\n"))
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func versionLine() string { return "tokenctl " + ownVersion() + "\n" }

func ownVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}
