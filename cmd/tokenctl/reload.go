package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"tokend/ipc"
	"tokend/providers/token"
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
			err := a.ask(c, func(ctx context.Context, d *ipc.Client) error { return d.Reload(ctx) })
			if errors.Is(err, token.ErrInvalid) {
				return a.oneByOne(c, err)
			}
			if err != nil {
				return err
			}
			return a.out.answer([]byte("The configuration is read and in force.\n"))
		},
	}
}

// badFiles is the refusal of several files, a line for each.
type badFiles struct {
	error
	lines []string
}

// Error implements error.
func (b badFiles) Error() string {
	return fmt.Sprintf("%d files are bad; what was in force before stays in force:", len(b.lines))
}

// Unwrap gives what tokend said of them all.
func (b badFiles) Unwrap() error { return b.error }

// oneByOne is err, with the bad files apart if there are several.
func (a *app) oneByOne(c *cobra.Command, err error) error {
	st, failed := a.status(c)
	if failed != nil || len(st.ConfigErrors) < 2 {
		return err
	}
	return badFiles{err, st.ConfigErrors}
}
