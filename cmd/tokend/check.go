package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/ui"
	"tokend/daemon"
	"tokend/daemon/profile"
	"tokend/providers/token"
	"tokend/store"
)

func (p *program) checkCommand() *cli.Command {
	return &cli.Command{
		Name: "check-config", Short: "Check the configuration",
		Long: `  tokend check-config && tokenctl reload

Reads config.toml and profiles.d as tokend run does, without the keystore and
the network, and reports what is wrong, with file and line.`,
		Run: func(ctx context.Context, _ *cli.Call) error {
			dirs, err := p.at.dirs()
			if err != nil {
				return err
			}
			return checkConfig(ctx, dirs, p.out)
		},
	}
}

func checkConfig(ctx context.Context, dirs profile.Dirs, out io.Writer) error {
	w := newDeps()
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
		fmt.Fprintln(out, ui.Printable(bad))
	}
	for _, p := range st.Profiles {
		if _, err := w.Credentials.Current(p.Name); errors.Is(err, token.ErrNotFound) {
			fmt.Fprintf(out, "%s: has no credential yet: tokenctl rotate %s\n", ui.Printable(p.File), p.Name)
		}
	}
	if n := len(st.ConfigErrors); n > 0 {
		return &token.Error{Code: token.ErrInvalid, Message: fmt.Sprintf("%d bad file(s) in %s", n, dirs.Config)}
	}
	if _, err := os.Stat(dirs.Config); errors.Is(err, fs.ErrNotExist) {
		fmt.Fprintf(out, "%s does not exist: tokend uses the defaults, and has no profile\n", dirs.Config)
		return nil
	}
	fmt.Fprintf(out, "%s is good: %s\n", dirs.Config, counted(len(st.Profiles)))
	return nil
}

// counted returns a number of profiles in words.
func counted(n int) string {
	if n == 1 {
		return "1 profile"
	}
	return fmt.Sprintf("%d profiles", n)
}
