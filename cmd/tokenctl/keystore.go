package main

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"time"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/ui"
	"tokend/ipc"
	"tokend/providers/token"
)

const migrateHelp = `  tokenctl keystore migrate --to os
  tokenctl keystore migrate --to sealed
  tokenctl keystore migrate --to sealed --key-file ~/.config/tokend/new.key

Moves all keys and secrets to another keystore while tokend serves. It copies
them, reads each back, switches to the new keystore, and deletes the old copies.
If anything fails, or you press Ctrl-C before it is done, nothing changes.

"os" is the OS keyring. "sealed" means files, encrypted with a key that is in a
file or in a systemd credential of the service. tokend makes the key file if it
does not exist (default: tokend.key in the configuration directory). From sealed
to sealed it changes the key. "tokend new-key" makes keys where a running
tokend cannot.`

// moveLimit bounds a migration; its steps have limits of their own.
const moveLimit = 10 * time.Minute

func keystoreCommand(e *ui.Env) *cli.Command {
	var asJSON bool
	return &cli.Command{
		Name:  "keystore",
		Short: "Show where secrets are kept, or move them",
		Long: `  tokenctl keystore
  tokenctl keystore migrate --to sealed

Shows which keystore holds tokend's keys and secrets, and its state.`,
		Flags: jsonFlag(&asJSON),
		Run: func(ctx context.Context, _ *cli.Call) error {
			st, err := ui.Ask(ctx, e, (*ipc.Client).Keystore)
			if err != nil {
				return err
			}
			return answer(e, asJSON, st, keystoreText(e.Out, st))
		},
		Commands: []*cli.Command{migrateCommand(e)},
	}
}

func migrateCommand(e *ui.Env) *cli.Command {
	var to token.KeystoreChoice
	var asJSON bool
	return &cli.Command{
		Name:  "migrate",
		Args:  "--to os|sealed",
		Short: "Move all secrets to another keystore",
		Long:  migrateHelp,
		Flags: func(f *cli.Flags) {
			f.StringVar(&to.Keystore, "to", "", "`KEYSTORE` to move to: os or sealed")
			f.Text("key-file", "FILE", "FILE with the key of the sealed secrets", func(file string) (err error) {
				to.KeyFile, err = filepath.Abs(file)
				return err
			})
			f.BoolVar(&to.GroupRead, "key-file-group-read", false, "the key file's group may read it")
			f.StringVar(&to.Credential, "credential", "", "`NAME` of the systemd credential with the key")
			f.BoolVar(&asJSON, "json", false, "print JSON")
			f.Complete("to", cli.Words("os", "sealed"))
		},
		Run: func(ctx context.Context, _ *cli.Call) error {
			if to.Keystore == "" {
				return cli.Usage("To which keystore? Use --to os or --to sealed")
			}
			before, err := ui.Ask(ctx, e, (*ipc.Client).Keystore)
			if err != nil {
				return err
			}
			done, err := ui.AskFor(ctx, e, moveLimit, "Moving the secrets", func(d *ipc.Client, ctx context.Context) (token.Migrated, error) {
				return d.Migrate(ctx, to)
			})
			if err != nil {
				return err
			}
			return answer(e, asJSON, done, migratedText(before, done))
		},
	}
}

func keystoreText(s ui.Screen, st token.KeystoreStatus) string {
	rows := []ui.Row{
		ui.Pair("keystore", keystoreName(st.KeystoreChoice), ui.Plain),
		ui.Pair("state", st.State, health(st.State)),
		ui.Pair("since", ui.Day(st.Since), ui.Plain),
	}
	if key := keyPlace(st.KeystoreChoice); key != "" {
		rows = append(rows, ui.Pair("key", key+" ("+st.KeyID+")", ui.Plain))
	}
	if m := st.Moving; m != nil {
		rows = append(rows, ui.Pair("moving", fmt.Sprintf("%s %d of %d", m.Doing, min(m.Done+1, m.Total), m.Total), ui.Warn))
	}
	if st.Leftovers > 0 {
		rows = append(rows, ui.Pair("left over", fmt.Sprintf("%d old copies, deleted as soon as that keystore can be used", st.Leftovers), ui.Warn))
	}
	return s.Table(rows)
}

// keystoreName is a keystore in words.
func keystoreName(k token.KeystoreChoice) string {
	names := map[string]string{"os": "os, the OS keyring", "sealed": "sealed, files encrypted with a key"}
	return cmp.Or(names[k.Keystore], k.Keystore)
}

// keyPlace is where the key of sealed secrets is.
func keyPlace(k token.KeystoreChoice) string {
	if k.KeyFile == "" && k.Credential != "" {
		return "systemd credential " + k.Credential
	}
	return k.KeyFile
}

func migratedText(before token.KeystoreStatus, done token.Migrated) (text string) {
	add := func(format string, args ...any) { text += ui.Wrap(fmt.Sprintf(format, args...), "") }
	now := done.Keystore
	key, old := ui.Printable(keyPlace(now.KeystoreChoice)), ui.Printable(keyPlace(before.KeystoreChoice))
	if done.Moved > 0 {
		add("Moved %d secrets and read each back: from %s to %s.", done.Moved, ui.Printable(keystoreName(before.KeystoreChoice)), ui.Printable(keystoreName(now.KeystoreChoice)))
	}
	switch {
	case done.NewKey:
		add("A new key is in %s. Without it the secrets cannot be read again: back it up separately.", key)
	case key != "":
		add("The key of the secrets is in %s.", key)
	}
	if name := before.Credential; name != "" && name != now.Credential {
		add("The service still gets the %s. As root, delete the drop-in that passes it (systemctl cat tokend shows it), and only then, if you need no old backups, the credential:", old)
		add("%s", ui.Typed("rm /etc/systemd/system/tokend.service.d/"+name+".conf && systemctl daemon-reload"))
	} else if old != "" && old != key {
		add("Only old backups need the key in %s. You can delete it, unless it is the new file under another name.", old)
	}
	if now.Leftovers > 0 {
		add("Old copies could not be deleted yet; tokend deletes them at its next start, or at: %s", ui.Typed("tokenctl unlock"))
	}
	return text
}
