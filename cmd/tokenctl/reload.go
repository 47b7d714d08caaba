package main

import (
	"context"

	"github.com/spf13/cobra"

	"tokend/ipc"
)

func (a *app) reloadCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "reload",
		Short: "Have tokend read its configuration again",
		Long: `  tokenctl reload

Has tokend read config.toml and the profiles' files again. A file that is bad
is told of, and changes nothing: what was in force before stays in force.`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := a.ask(c, func(ctx context.Context, d *ipc.Client) error { return d.Reload(ctx) }); err != nil {
				return err
			}
			return a.out.answer([]byte("The configuration is read and in force.\n"))
		},
	}
}
