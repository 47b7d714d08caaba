package main

import (
	"context"
	"errors"
	"fmt"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/ui"
	"tokend/ipc"
	"tokend/providers/token"
)

func reloadCommand(e *ui.Env) *cli.Command {
	return &cli.Command{
		Name:  "reload",
		Short: "Have tokend read its configuration again",
		Long: `  tokenctl reload

Has tokend read config.toml and the profiles' files again. If a file is bad,
tokend names it and keeps what it had loaded before.`,
		Run: func(ctx context.Context, _ *cli.Call) error {
			err := e.Ask(ctx, func(ctx context.Context, d *ipc.Client) error { return d.Reload(ctx) })
			if errors.Is(err, token.ErrInvalid) {
				return listBadFiles(ctx, e, err)
			}
			if err != nil {
				return err
			}
			return e.Out.Answer("tokend has reloaded its configuration.\n")
		},
	}
}

// listBadFiles prints a line for each bad file, if there are several.
func listBadFiles(ctx context.Context, e *ui.Env, err error) error {
	st, failed := e.Status(ctx)
	if failed != nil || len(st.ConfigErrors) < 2 {
		return err
	}
	e.Err.Print(badFilesText(e.Err, st))
	return &ui.Exit{Status: ui.ExitUsage, Err: fmt.Errorf("%d files are bad. Correct them, then: tokenctl reload", len(st.ConfigErrors))}
}
