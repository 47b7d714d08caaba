package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"filippo.io/age"
	"github.com/google/renameio/v2/maybe"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/ui"
	"tokend/cmd/tokend/backup"
	"tokend/cmd/tokend/confine"
	"tokend/daemon/profile"
	"tokend/ipc"
	"tokend/providers/token"
	"tokend/store"
	"tokend/store/cache"
)

// A backupRequest is a call of backup or restore.
type backupRequest struct {
	at                              *places
	passphrase, recipient, identity string
	replace                         bool
	out                             io.Writer
}

const backupHelp = `  tokend backup my.backup           asks for a passphrase
  tokend backup my.backup --recipient age1...

Saves config.toml, the profiles and their secrets in a new file, for a new
machine, sealed to a passphrase or to an age recipient (age-encryption.org).
Tokens, the audit log and files that the configuration names are not in it.`

const restoreHelp = `  tokend restore my.backup          asks for the passphrase
  tokend restore my.backup --identity key.txt

Restores config.toml, the profiles and their secrets from a backup, into the
keystore that "tokend setup" chose here. tokend must not be running. A profile
or a config.toml that is here already stays as it is.`

func (p *program) backupCommands() []*cli.Command {
	r := &backupRequest{at: &p.at, out: cli.Prose(p.out)}
	command := func(name, short, long string, run func(context.Context, string) error, flags func(*cli.Flags)) *cli.Command {
		return &cli.Command{
			Name: name, Args: "FILE", Short: short, Long: long, Check: cli.AnyArgs,
			Flags: func(f *cli.Flags) {
				f.StringVar(&r.passphrase, "passphrase-file", "", "`FILE` with the passphrase (default: ask)")
				flags(f)
			},
			Run: func(ctx context.Context, c *cli.Call) error {
				if len(c.Args) != 1 {
					return cli.Usage("%s takes one file, not %d", name, len(c.Args))
				}
				return run(ctx, c.Args[0])
			},
		}
	}
	return []*cli.Command{
		command("backup", "Save profiles and secrets in a file", backupHelp, r.backup, func(f *cli.Flags) {
			f.StringVar(&r.recipient, "recipient", "", "age `RECIPIENT`, or a file of them, instead of a passphrase")
		}),
		command("restore", "Restore profiles and secrets from a backup", restoreHelp, r.restore, func(f *cli.Flags) {
			f.StringVar(&r.identity, "identity", "", "`FILE` with the age identity of the recipient")
			f.BoolVar(&r.replace, "replace", false, "replace what is here already")
		}),
	}
}

// installed returns the installation's directories, and what changes to their owner and
// returns the credentials there.
func (r *backupRequest) installed(ctx context.Context) (dirs profile.Dirs, become func() (*store.Credentials, error), err error) {
	confine.Harden()
	if dirs, err = r.at.dirs(); err != nil {
		return dirs, nil, err
	}
	install, err := readInstall(ctx, *r.at, dirs)
	if err != nil {
		return dirs, nil, err
	}
	open, err := openAsService(ctx, dirs, install)
	return dirs, func() (*store.Credentials, error) {
		if err := r.at.owner(dirs.State).become(); err != nil {
			return nil, err
		}
		keys, err := open(dirs.State)
		return store.NewCredentials(credentialsDir(dirs), keys), err
	}, err
}

// backup writes a new file. tokend may run meanwhile: it makes each change in one step.
func (r *backupRequest) backup(ctx context.Context, path string) error {
	dirs, become, err := r.installed(ctx)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) // while this may still be root
	if err != nil {
		return errors.New(token.FileFault(err))
	}
	var creds *store.Credentials
	var b backup.Backup
	to, err := r.recipients()
	if err == nil {
		creds, err = become()
	}
	if err == nil {
		b, err = backup.New(ctx, dirs, creds)
	}
	if err == nil {
		err = b.Seal(file, to)
	}
	if err = cmp.Or(err, file.Sync(), file.Close()); err != nil {
		_ = os.Remove(path)
		return err
	}
	fmt.Fprintf(r.out, "Saved %s in %s.\n", counted(len(b.Profiles)), path)
	return nil
}

func (r *backupRequest) restore(ctx context.Context, path string) error {
	dirs, become, err := r.installed(ctx)
	if err != nil {
		return err
	}
	if h := ipc.ReadHolder(dirs.State); h.Serves(ctx) {
		return &ui.Exit{Status: exitRunning, Err: fmt.Errorf("tokend is running, %v; first: %s", h, r.at.line("stop"))}
	}
	sealed, err := token.ReadFile(path, backup.MaxSize)
	if err != nil {
		return errors.New(token.FileFault(err))
	}
	b, err := backup.Unseal(sealed, r.identities)
	if errors.Is(err, cli.ErrUsage) {
		return err
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if file := dirs.ConfigFile(); b.Config != "" && r.mayWrite("config.toml", file) { // the service's user may not
		err := maybe.WriteFile(file, []byte(b.Config), 0o600)
		if gid := r.at.owner(dirs.State).gid; err == nil && gid >= 0 { // which reads it
			err = cmp.Or(os.Lchown(file, -1, gid), os.Chmod(file, 0o640))
		}
		if err != nil {
			return err
		}
		fmt.Fprintln(r.out, "Restored config.toml.")
	}
	creds, err := become()
	if err != nil {
		return err
	}
	lock, err := cache.Open(filepath.Join(dirs.State, "cache.db"), nil)
	if err != nil {
		return &ui.Exit{Status: exitRunning, Err: err}
	}
	defer lock.Close()
	for _, name := range slices.Sorted(maps.Keys(b.Profiles)) {
		if !r.mayWrite(name, dirs.ProfileFile(name)) {
			continue
		}
		if err := b.Profiles[name].Restore(ctx, dirs, creds, name); err != nil {
			return err
		}
		fmt.Fprintf(r.out, "Restored %s.\n", name)
	}
	fmt.Fprintln(r.out, "Next:", r.at.line("setup"))
	return nil
}

// mayWrite reports whether to write a file, and says why not.
func (r *backupRequest) mayWrite(what, file string) bool {
	if _, missing := os.Lstat(file); missing != nil || r.replace {
		return true
	}
	fmt.Fprintf(r.out, "Left as it is: %s, which is here already (--replace replaces it).\n", what)
	return false
}

func (r *backupRequest) recipients() (to []age.Recipient, err error) {
	if r.recipient == "" {
		passphrase, err := r.askPassphrase("Passphrase for the backup", "The same again")
		scrypt, empty := age.NewScryptRecipient(passphrase.Reveal())
		return []age.Recipient{scrypt}, cmp.Or(err, empty)
	}
	text := []byte(r.recipient)
	if !strings.HasPrefix(r.recipient, "age1") {
		text, err = token.ReadConfig(r.recipient)
	}
	if err == nil {
		to, err = age.ParseRecipients(bytes.NewReader(text))
	}
	return to, flagFault("recipient", err)
}

func (r *backupRequest) identities(byPassphrase bool) (by []age.Identity, err error) {
	if byPassphrase {
		passphrase, err := r.askPassphrase("Passphrase of the backup")
		scrypt, empty := age.NewScryptIdentity(passphrase.Reveal())
		return []age.Identity{scrypt}, cmp.Or(err, empty)
	}
	if r.identity == "" {
		return nil, cli.Usage("the backup is sealed to an age recipient: name the file of its identity with --identity")
	}
	text, err := token.ReadConfig(r.identity)
	if err == nil {
		by, err = age.ParseIdentities(bytes.NewReader(text))
	}
	return by, flagFault("identity", err)
}

// askPassphrase returns the passphrase in the file, or asks a person, who must answer
// each question with the same.
func (r *backupRequest) askPassphrase(questions ...string) (passphrase token.Secret, err error) {
	if r.passphrase != "" {
		text, err := token.ReadConfig(r.passphrase)
		return token.NewSecret(strings.TrimRight(string(text), "\r\n")), flagFault("passphrase-file", err)
	}
	terminal, ok := env().Terminal()
	if !ok {
		return passphrase, cli.Usage("there is no terminal to ask for the passphrase at: use --passphrase-file FILE")
	}
	for i, question := range questions {
		text, err := terminal.AskSecret(question, false)
		if err == nil && i > 0 && !text.Equal(passphrase) {
			err = errors.New("the two passphrases differ; nothing was written")
		}
		if passphrase = text; err != nil {
			return passphrase, err
		}
	}
	return passphrase, nil
}

func flagFault(flag string, err error) error {
	if err != nil {
		err = cli.Usage("--%s: %s", flag, token.FileFault(err))
	}
	return err
}
