package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tokend/ipc"
	"tokend/providers/token"
)

const migrateHelp = `  tokenctl keystore migrate --to os
  tokenctl keystore migrate --to sealed
  tokenctl keystore migrate --to sealed --key-file ~/.config/tokend/new.key

Moves all keys and secrets to another keystore while tokend serves: it copies
them, reads each back, puts the new keystore in force, and deletes the old
copies. If anything fails, or Ctrl-C comes before it is done, all is as before.

"os" is the OS keyring, "sealed" are files under a key: in a file, which is
made if it is not there (default: tokend.key in the configuration directory),
or in a systemd credential that the service was started with. From sealed to
sealed under another key, it changes the key. "tokend new-key" makes keys where
a running tokend cannot.`

// moveLimit bounds a migration; its steps have limits of their own.
const moveLimit = 10 * time.Minute

func (a *app) keystoreCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "keystore",
		Short: "Tell where secrets are kept, or move them",
		Long: `  tokenctl keystore
  tokenctl keystore migrate --to sealed

Tells in which keystore tokend keeps keys and secrets, and how it is.`,
		Args: noCommand,
		RunE: func(c *cobra.Command, _ []string) error { return a.tellKeystore(c, asJSON) },
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.AddCommand(a.migrateCommand())
	return c
}

func (a *app) migrateCommand() *cobra.Command {
	var to token.KeystoreChoice
	var asJSON bool
	c := &cobra.Command{
		Use:   "migrate --to os|sealed",
		Short: "Move all secrets to another keystore",
		Long:  migrateHelp,
		Args:  noArguments,
		RunE:  func(c *cobra.Command, _ []string) error { return a.migrate(c, to, asJSON) },
	}
	f := c.Flags()
	f.SortFlags = false
	f.StringVar(&to.Keystore, "to", "", "`KEYSTORE` to move to: os or sealed")
	f.StringVar(&to.KeyFile, "key-file", "", "`FILE` with the key of the sealed secrets")
	f.BoolVar(&to.GroupRead, "key-file-group-read", false, "the key file's group may read it")
	f.StringVar(&to.Credential, "credential", "", "`NAME` of the systemd credential with the key")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (a *app) tellKeystore(c *cobra.Command, asJSON bool) error {
	var st token.KeystoreStatus
	err := a.ask(c, func(ctx context.Context, d *ipc.Client) (err error) {
		st, err = d.Keystore(ctx)
		return err
	})
	if err != nil {
		return err
	}
	if asJSON {
		return a.out.answerJSON(st)
	}
	return a.out.answer([]byte(a.keystoreTold(st)))
}

func (a *app) keystoreTold(st token.KeystoreStatus) string {
	rows := []row{
		pair("keystore", named(st.KeystoreChoice), plain),
		pair("state", st.State, health(st.State)),
		pair("since", day(st.Since), plain),
	}
	if key := keyPlace(st.KeystoreChoice); key != "" {
		rows = append(rows, pair("key", key+" ("+st.KeyID+")", plain))
	}
	if m := st.Moving; m != nil {
		rows = append(rows, pair("moving", progressTold(*m), warn))
	}
	if st.Leftovers > 0 {
		rows = append(rows, pair("left over", fmt.Sprintf("%d old copies, deleted as soon as that keystore can be used", st.Leftovers), warn))
	}
	return a.out.table(rows)
}

// named is what a person calls a keystore.
func named(k token.KeystoreChoice) string {
	switch k.Keystore {
	case "os":
		return "os, the OS keyring"
	case "sealed":
		return "sealed, files of their own under a key"
	}
	return k.Keystore
}

// keyPlace is where the key of sealed secrets is.
func keyPlace(k token.KeystoreChoice) string {
	switch {
	case k.KeyFile != "":
		return k.KeyFile
	case k.Credential != "":
		return "systemd credential " + k.Credential
	}
	return ""
}

func progressTold(m token.KeystoreMove) string {
	return fmt.Sprintf("%s %d of %d", m.Doing, min(m.Done+1, m.Total), m.Total)
}

func (a *app) migrate(c *cobra.Command, to token.KeystoreChoice, asJSON bool) error {
	switch to.Keystore {
	case "":
		return usage("say where to: --to os or --to sealed")
	case "os", "sealed":
	default:
		return usage("--to: %q is no keystore; there are os and sealed", to.Keystore)
	}
	if to.KeyFile != "" && to.Credential != "" {
		return usage("--key-file and --credential exclude each other")
	}
	if to.Keystore == "os" && (to.KeyFile != "" || to.Credential != "" || to.GroupRead) {
		return usage("the OS keyring needs no key: leave out --key-file and --credential")
	}
	if to.KeyFile != "" {
		var err error
		if to.KeyFile, err = filepath.Abs(to.KeyFile); err != nil {
			return err
		}
	}
	d, err := a.daemon()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context(), moveLimit)
	defer cancel()
	before, err := d.Keystore(ctx)
	if err != nil {
		return err
	}
	watching, stop := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() {
		a.watchMove(watching, d)
		close(watched)
	}()
	done, err := d.Migrate(ctx, to)
	stop()
	<-watched
	if err != nil {
		return err
	}
	if asJSON {
		return a.out.answerJSON(done)
	}
	return a.out.answer([]byte(toldMigrated(before, done)))
}

// watchMove tells on stderr how far a migration is, each of its parts once and
// then every second.
func (a *app) watchMove(ctx context.Context, d *ipc.Client) {
	var last token.KeystoreMove
	var told time.Time
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		st, err := d.Keystore(ctx)
		if err != nil || st.Moving == nil {
			continue
		}
		if now := time.Now(); st.Moving.Doing != last.Doing || st.Moving.Done != last.Done && now.Sub(told) >= time.Second {
			last, told = *st.Moving, now
			a.err.print(printable(progressTold(last)) + "\n")
		}
	}
}

func toldMigrated(before token.KeystoreStatus, done token.Migrated) string {
	var b strings.Builder
	now := done.Keystore
	if done.Moved == 0 {
		b.WriteString("The secrets stay where they are; their key is now the one in the new place.\n")
	} else {
		b.WriteString(wrap(fmt.Sprintf("%d secrets moved, each read back: from %s to %s.", done.Moved,
			printable(named(before.KeystoreChoice)), printable(named(now.KeystoreChoice))), ""))
	}
	if key := printable(keyPlace(now.KeystoreChoice)); done.NewKey {
		b.WriteString(wrap("A new key is in "+key+". Without it the secrets cannot be read again: back it up, apart from them.", ""))
	} else if key != "" {
		b.WriteString(wrap("Their key: "+key+".", ""))
	}
	switch old := printable(keyPlace(before.KeystoreChoice)); {
	case old == "", old == printable(keyPlace(now.KeystoreChoice)):
	case done.Moved == 0:
		b.WriteString(wrap("The same key is still in "+old+". Unless that is the same file under another name, it can be deleted.", ""))
	default:
		b.WriteString(wrap("The old key opens nothing any more, unless in a backup: "+old+". It can be deleted.", ""))
	}
	if now.Leftovers > 0 {
		b.WriteString(wrap("Old copies could not be deleted yet; tokend does it when it starts, or at: "+typed("tokenctl unlock"), ""))
	}
	return b.String()
}

const unlockHelp = `  tokenctl unlock

Has the desktop ask for the keyring's password, and waits until it is unlocked.
Everything that waits for the keyring is tried at once then. tokend also notices
by itself, within a minute, when the keyring is unlocked in another way.`

func (a *app) unlockCommand() *cobra.Command {
	wait := time.Minute
	c := &cobra.Command{
		Use:   "unlock",
		Short: "Have the OS keyring ask for its password",
		Long:  unlockHelp,
		Args:  noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if wait < 0 {
				return usage("--timeout: a time cannot be negative")
			}
			return a.unlock(c, wait)
		},
	}
	c.Flags().DurationVar(&wait, "timeout", wait, "how long to wait for the prompt to be answered")
	return c
}

func (a *app) unlock(c *cobra.Command, wait time.Duration) error {
	d, err := a.daemon()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context(), patience+wait)
	defer cancel()
	err = d.Unlock(ctx)
	if promptWaits(err) && wait > 0 {
		a.err.print("The keyring asks for its password. Waiting for the answer ...\n")
		err = awaitUnlocked(ctx, d, err, wait)
	}
	if err != nil {
		return err
	}
	return a.out.answer([]byte("The keyring is unlocked.\n"))
}

// promptWaits tells whether a prompt is there that a person can answer.
func promptWaits(err error) bool {
	var e *token.Error
	return errors.As(err, &e) && e.Code == token.ErrLocked && e.Topic == "keyring-prompt"
}

// awaitUnlocked waits for the prompt's answer, and has tokend notice it.
func awaitUnlocked(ctx context.Context, d *ipc.Client, err error, wait time.Duration) error {
	limit := time.After(wait)
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	for promptWaits(err) {
		select {
		case <-limit:
			return err
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		st, failed := d.Keystore(ctx)
		if failed != nil {
			return failed
		}
		if st.State == "ok" {
			err = d.Unlock(ctx)
		}
	}
	return err
}
