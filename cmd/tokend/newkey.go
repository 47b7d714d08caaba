package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"tokend/store"
)

const newKeyHelp = `  tokend new-key --key-file ~/.config/tokend/new.key
  tokend new-key --system --credential tokend-key-2      as root

Makes a key for sealed secrets and puts it in force nowhere: "tokenctl keystore
migrate --to sealed", with the same flag, moves the secrets under it. For where
a running tokend may not write, and for systemd credentials, which root makes
and tokend.service is handed at its next start.`

func newKeyCommand(at *places) *cobra.Command {
	var r setupRequest
	c := &cobra.Command{
		Use:   "new-key --key-file FILE | --credential NAME",
		Short: "Make another key for sealed secrets, to move to",
		Long:  newKeyHelp,
		Args:  noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			harden()
			r.at = *at
			return r.newKey(c)
		},
	}
	f := c.Flags()
	f.StringVar(&r.choice.KeyFile, "key-file", "", "file to make")
	f.StringVar(&r.choice.Credential, "credential", "", "systemd credential to make")
	f.StringVar(&r.user, "service-user", serviceUser, "user that the system service runs as")
	return c
}

func (r setupRequest) newKey(c *cobra.Command) error {
	out := c.OutOrStdout()
	dirs, err := r.at.dirs()
	if err != nil {
		return err
	}
	r.choice.Keystore = store.KeystoreSealed
	if r.choice.KeyFile != "" && !store.LooksLikeKey(r.choice.KeyFile) {
		if r.choice.KeyFile, err = filepath.Abs(r.choice.KeyFile); err != nil {
			return err
		}
	}
	if err := r.choice.Check(dirs.State); err != nil {
		return usageError{err}
	}
	owner, err := r.at.account(r.user)
	if err != nil {
		return err
	}
	const next = "Next: tokenctl keystore migrate --to sealed"
	if file := r.choice.KeyFile; file != "" {
		if err := store.NewKeyFileFor(file, owner.uid, owner.gid); err != nil {
			return err
		}
		fmt.Fprintf(out, "A new key is in %s.\n%s --key-file %s\n", file, next, file)
		return nil
	}
	switch {
	case !r.at.system || os.Geteuid() != 0:
		return errors.New("root makes systemd credentials, for the system service: --system")
	case !owner.mayMakeCredential():
		return errors.New("this machine has no systemd-creds: take --key-file")
	case exists(credentialPath(dirs, r.choice.Credential)):
		return fmt.Errorf("%s exists already: take another name", credentialPath(dirs, r.choice.Credential))
	}
	if _, err := makeCredential(c.Context(), r.choice.Credential, dirs, true, out); err != nil {
		return err
	}
	fmt.Fprintf(out, "Next: systemctl restart tokend\nthen: tokenctl keystore migrate --to sealed --credential %s\n", r.choice.Credential)
	return nil
}
