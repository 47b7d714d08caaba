package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"tokend/daemon"
	"tokend/providers/token"
	"tokend/store"
)

func checkCommand(at *places) *cobra.Command {
	return &cobra.Command{
		Use:   "check-config",
		Short: "Read the configuration and say what is wrong with it",
		Long: `  tokend check-config && tokenctl reload

Reads config.toml and profiles.d as tokend run would, without the keystore and
without the network, and says what is wrong, with file and line.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			dirs, err := at.dirs()
			if err != nil {
				return err
			}
			return checkConfig(c.Context(), dirs, c.OutOrStdout())
		},
	}
}

func checkConfig(ctx context.Context, dirs daemon.Dirs, out io.Writer) error {
	w := newWorld()
	w.Credentials = store.NewCredentials(credentialsDir(dirs), nil)
	w.Keystore = func(context.Context) string { return "" }
	d, err := daemon.New(dirs, w.Deps)
	if err != nil {
		return err
	}
	st, err := d.Status(ctx)
	if err != nil {
		return err
	}
	for _, bad := range st.ConfigErrors {
		fmt.Fprintln(out, printable(bad))
	}
	for _, p := range st.Profiles {
		if _, err := w.Credentials.Current(p.Name); errors.Is(err, token.ErrNotFound) {
			fmt.Fprintf(out, "%s: has no credential yet: tokenctl rotate %s\n", printable(p.File), p.Name)
		}
	}
	if n := len(st.ConfigErrors); n > 0 {
		return &token.Error{Code: token.ErrInvalid, Message: fmt.Sprintf("%d bad file(s) in %s", n, dirs.Config)}
	}
	if _, err := os.Stat(dirs.Config); errors.Is(err, fs.ErrNotExist) {
		fmt.Fprintf(out, "%s does not exist: the defaults count, and there is no profile\n", dirs.Config)
		return nil
	}
	fmt.Fprintf(out, "%s is good: %s\n", dirs.Config, counted(len(st.Profiles)))
	return nil
}

// counted is a number of profiles in words.
func counted(n int) string {
	if n == 1 {
		return "1 profile"
	}
	return fmt.Sprintf("%d profiles", n)
}
