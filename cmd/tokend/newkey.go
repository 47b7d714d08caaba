package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokend/confine"
	"tokend/cmd/tokend/service"
	"tokend/store"
)

const newKeyHelp = `  tokend new-key --key-file ~/.config/tokend/new.key
  tokend new-key --system --credential tokend-key-2      as root

Makes a key for sealed secrets, and uses it for nothing: "tokenctl keystore
migrate --to sealed", with the same flag, moves the secrets under it. For places
where a running tokend may not write, and for systemd credentials, which root
makes and tokend.service gets at its next start.`

func (p *program) newKeyCommand() *cli.Command {
	r := setupRequest{at: &p.at}
	return &cli.Command{
		Name: "new-key", Args: "--key-file FILE | --credential NAME", Short: "Make another key for sealed secrets, to move to",
		Long: newKeyHelp,
		Flags: func(f *cli.Flags) {
			f.Text("key-file", "string", "`FILE` to make", absolute(&r.choice.KeyFile))
			f.StringVar(&r.choice.Credential, "credential", "", "`NAME` of the systemd credential to make")
			f.StringVar(&r.user, "service-user", serviceUser, "`USER` that the system service runs as")
		},
		Run: func(ctx context.Context, _ *cli.Call) error { return r.newKey(ctx, cli.Prose(p.out)) },
	}
}

func (r setupRequest) newKey(ctx context.Context, out io.Writer) error {
	confine.Harden()
	dirs, err := r.at.dirs()
	if err != nil {
		return err
	}
	r.choice.Keystore = store.KeystoreSealed
	if err := r.choice.Check(dirs.State); err != nil {
		return cli.Usage("%v", err)
	}
	owner, err := r.at.account(r.user)
	if err != nil {
		return err
	}
	file, next := r.choice.KeyFile, "tokenctl keystore migrate --to sealed --key-file "+r.choice.KeyFile
	if name := r.choice.Credential; name != "" {
		if !owner.mayMakeCredential() {
			return errors.New("only root makes systemd credentials, for the system service (--system), with systemd-creds")
		}
		file, next = credentialPath(dirs, name), "systemctl restart tokend\nthen: tokenctl keystore migrate --to sealed --credential "+name
	}
	if service.Exists(file) {
		return fmt.Errorf("%s exists already: take another name", file)
	}
	if _, err := r.makeKey(ctx, dirs, store.KeystoreConfig{}, owner, out); err != nil {
		return err
	}
	fmt.Fprintln(out, "Next:", next)
	return nil
}
