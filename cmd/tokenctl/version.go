package main

import (
	"context"
	"errors"
	"runtime/debug"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/ui"
	"tokend/providers/token"
)

func versionCommand(e *ui.Env) *cli.Command {
	var asJSON bool
	return &cli.Command{
		Name:  "version",
		Short: "Print the versions of tokenctl and tokend",
		Long: `  tokenctl version

Prints tokenctl's version, and tokend's if it is running.`,
		Flags: jsonFlag(&asJSON),
		Run: func(ctx context.Context, _ *cli.Call) error {
			st, err := e.Status(ctx)
			daemon := st.Version
			switch {
			case asJSON:
				return e.Out.AnswerJSON(struct {
					Tokenctl string `json:"tokenctl"`
					Tokend   string `json:"tokend,omitempty"`
				}{ownVersion(), st.Version})
			case errors.Is(err, token.ErrNoDaemon):
				daemon = "is not running"
			case err != nil:
				daemon = err.Error()
			}
			return e.Out.Answer(versionLine() + "\ntokend   " + ui.Printable(daemon) + "\n")
		},
	}
}

func versionLine() string { return "tokenctl " + ownVersion() }

func ownVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}
