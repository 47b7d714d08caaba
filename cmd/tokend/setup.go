package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"tokend/providers/token"
	"tokend/store"
)

func setupCommand(at *places) *cobra.Command {
	var choice store.Install
	c := &cobra.Command{
		Use:   "setup --keystore os|sealed",
		Short: "Choose where secrets are kept, once",
		Long: `  tokend setup --keystore os
  tokend setup --keystore sealed --key-file /etc/tokend.key
  tokend setup --keystore sealed --credential tokend-key

"os" keeps private keys and client secrets in the OS keyring (GNOME Keyring,
KWallet or KeePassXC through the Secret Service, macOS Keychain, Windows
Credential Manager). "sealed" is for hosts without one: each secret in a file
of its own, encrypted with AES-256-GCM under a key of 32 bytes that lies
elsewhere: in a file that only tokend's user can read (made if it is not
there), or in a systemd credential of that name.

The choice is made once and recorded. tokend never falls back to another
keystore by itself, and never keeps a secret in plain text. The same choice
again changes nothing.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return setup(c.Context(), *at, choice, c.OutOrStdout())
		},
	}
	c.Flags().StringVar(&choice.Keystore, "keystore", "", `"os" or "sealed"`)
	c.Flags().StringVar(&choice.KeyFile, "key-file", "", "file with the key of the sealed secrets")
	c.Flags().StringVar(&choice.Credential, "credential", "", "systemd credential with the key of the sealed secrets")
	return c
}

func setup(ctx context.Context, at places, choice store.Install, out io.Writer) error {
	harden()
	if choice.Keystore == "" {
		return usageError{errors.New(`say --keystore os (the OS keyring) or --keystore sealed with --key-file or --credential (a host without one)`)}
	}
	dirs, err := at.dirs()
	if err != nil {
		return err
	}
	if choice.KeyFile != "" {
		if choice.KeyFile, err = filepath.Abs(choice.KeyFile); err != nil {
			return err
		}
	}
	if err := choice.Check(dirs.State); err != nil {
		return usageError{err}
	}
	before, err := store.ReadInstall(dirs.State)
	if errors.Is(err, token.ErrNotFound) && choice.KeyFile != "" {
		if err := makeKeyFile(choice.KeyFile, out); err != nil {
			return err
		}
	}
	install, err := store.Setup(ctx, dirs.State, choice)
	if errors.Is(err, token.ErrLocked) {
		fmt.Fprintln(out, "The keyring is locked. If a window asks for its password, give it and type the same command again.")
		if err = store.NewKeyring(store.KeyringService).Unlock(ctx); err == nil {
			install, err = store.Setup(ctx, dirs.State, choice)
		}
	}
	switch {
	case errors.Is(err, token.ErrExists):
		return fmt.Errorf("%w; to choose anew, remove all profiles, stop tokend and delete %s", err, dirs.State)
	case choice.Keystore == store.KeystoreOS && (errors.Is(err, token.ErrKeystore) || errors.Is(err, token.ErrLocked)):
		return fmt.Errorf("%w\n  On a host without a keyring: tokend setup --keystore sealed --key-file FILE", err)
	case err != nil:
		return err
	}
	done := "are kept"
	if before.ID == install.ID {
		done = "are kept already"
	}
	fmt.Fprintf(out, "Secrets %s in the keystore %q (installation %s, recorded in %s).\nNext: %s\n",
		done, install.Keystore, install.ID, dirs.State, at.line("run"))
	return nil
}

// makeKeyFile makes the key if there is none, on the first set-up alone: a new
// key could not open what the old one sealed.
func makeKeyFile(file string, out io.Writer) error {
	if _, err := os.Lstat(file); !errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err := store.NewKeyFile(file); err != nil {
		return err
	}
	fmt.Fprintf(out, "A new key is in %s. Without it the secrets cannot be read again: back it up, apart from them.\n", file)
	return nil
}

// setupLine is the command to type when nothing is set up.
func (p places) setupLine() string {
	if p.system {
		return p.line("setup --keystore sealed --key-file /etc/tokend.key")
	}
	return p.line("setup --keystore os")
}

// line is a command for the same places.
func (p places) line(command string) string {
	line := "tokend " + command
	if p.system {
		line += " --system"
	}
	for _, f := range []struct{ name, value string }{{"config", p.config}, {"state", p.state}, {"socket", p.socket}} {
		if f.value != "" {
			line += fmt.Sprintf(" --%s %s", f.name, f.value)
		}
	}
	return line
}
