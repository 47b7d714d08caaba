package main

import (
	"context"
	"fmt"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/ui"
	"tokend/daemon"
	"tokend/store"
)

func (p *program) checkCommand() *cli.Command {
	return &cli.Command{
		Name: "check-config", Short: "Check the configuration",
		Long: `  tokend check-config && tokenctl reload

Reads config.toml and profiles.d as tokend run does, without the keystore and
the network, and reports what is wrong, with file and line.`,
		Run: p.checkConfig,
	}
}

// checkConfig does what the daemon does to read its configuration, and what the
// doctor then says of it.
func (p *program) checkConfig(ctx context.Context, _ *cli.Call) error {
	dirs, err := p.at.dirs()
	if err != nil {
		return err
	}
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
	checks := append(checkProfiles(st, dirs), w.checkCredentials(st)...)
	for _, c := range checks {
		fmt.Fprintln(p.out, ui.Printable(c.Text))
	}
	return refuseFailed(checks, exitConfig)
}

// counted returns a number of profiles in words.
func counted(n int) string {
	if n == 1 {
		return "1 profile"
	}
	return fmt.Sprintf("%d profiles", n)
}
