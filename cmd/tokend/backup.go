package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"filippo.io/age"
	"github.com/google/renameio/v2/maybe"
	"github.com/pelletier/go-toml/v2"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/ui"
	"tokend/cmd/tokend/confine"
	"tokend/daemon/profile"
	"tokend/ipc"
	"tokend/providers/token"
	"tokend/store"
	"tokend/store/cache"
)

// maxBackup bounds a backup, in bytes.
const maxBackup = 256 << 20

// A saved is what a backup holds, as TOML in age's format.
type saved struct {
	Version  int                     `toml:"tokend_backup"`
	Config   string                  `toml:"config,multiline,omitempty"`
	Profiles map[string]savedProfile `toml:"profiles"`
}

// A savedProfile has the current credential and, if there is one, the pending one.
type savedProfile struct {
	Text        string            `toml:"text,multiline"`
	Credentials []savedCredential `toml:"credentials,omitempty"`
}

type savedCredential struct {
	Secrets  map[string]string `toml:"secrets"` // in base64
	Expires  time.Time         `toml:"expires,omitempty"`
	Settings map[string]any    `toml:"settings,omitempty"`
}

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
			Name: name, Args: "FILE", Short: short, Long: long,
			Flags: func(f *cli.Flags) {
				f.StringVar(&r.passphrase, "passphrase-file", "", "`FILE` with the passphrase (default: ask)")
				flags(f)
			},
			Check: func(_ context.Context, c *cli.Call) error {
				if len(c.Args) != 1 {
					return cli.Usage("%s takes one file, not %d", name, len(c.Args))
				}
				return nil
			},
			Run: func(ctx context.Context, c *cli.Call) error { return run(ctx, c.Args[0]) },
		}
	}
	return []*cli.Command{
		command("backup", "Save profiles and secrets in a file", backupHelp, r.backup, func(f *cli.Flags) {
			f.StringVar(&r.recipient, "recipient", "", "age `RECIPIENT`, or a file of them, in place of a passphrase")
		}),
		command("restore", "Restore profiles and secrets from a backup", restoreHelp, r.restore, func(f *cli.Flags) {
			f.StringVar(&r.identity, "identity", "", "`FILE` with the age identity of the recipient")
			f.BoolVar(&r.replace, "replace", false, "replace what is here already")
		}),
	}
}

// installed returns the installation's directories, and what opens its keystore.
func (r *backupRequest) installed(ctx context.Context) (dirs profile.Dirs, open func(string) (store.Keystore, error), err error) {
	confine.Harden()
	if dirs, err = r.at.dirs(); err != nil {
		return dirs, nil, err
	}
	install, err := readInstall(ctx, *r.at, dirs)
	if err == nil {
		open, err = openAsService(ctx, dirs, install)
	}
	return dirs, open, err
}

// backup writes a new file. tokend may run meanwhile: it makes each change in one step.
func (r *backupRequest) backup(ctx context.Context, path string) error {
	dirs, open, err := r.installed(ctx)
	if err != nil {
		return err
	}
	to, err := r.recipients()
	if err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) // while this may still be root
	if err != nil {
		return errors.New(token.FileFault(err))
	}
	content := saved{Version: 1, Profiles: map[string]savedProfile{}}
	if err = r.at.owner(dirs.State).become(); err == nil {
		err = content.fill(ctx, dirs, open)
	}
	if err == nil {
		err = content.seal(file, to)
	}
	if err = cmp.Or(err, file.Sync(), file.Close()); err != nil {
		_ = os.Remove(path)
		return err
	}
	fmt.Fprintf(r.out, "Saved %s in %s.\n", counted(len(content.Profiles)), path)
	return nil
}

// fill takes in what there is to save.
func (s *saved) fill(ctx context.Context, dirs profile.Dirs, open func(string) (store.Keystore, error)) error {
	text, err := token.ReadConfig(dirs.ConfigFile())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return errors.New(token.FileFault(err))
	}
	s.Config = string(text)
	names, err := dirs.Names()
	if err != nil {
		return err
	}
	keys, err := open(dirs.State)
	if err != nil {
		return err
	}
	creds := store.NewCredentials(credentialsDir(dirs), keys)
	for _, name := range names {
		file, err := dirs.Read(name)
		if err != nil {
			return err
		}
		p := savedProfile{Text: string(file.Text)}
		current, pending, err := creds.Kept(name)
		for _, c := range []token.Credential{current, pending} {
			secrets := map[string]string{}
			for _, field := range c.Fields {
				secret, failed := creds.Secret(ctx, c, field)
				err = cmp.Or(err, failed)
				secrets[field] = base64.StdEncoding.EncodeToString([]byte(secret.Reveal()))
			}
			if c.ID != "" {
				p.Credentials = append(p.Credentials, savedCredential{secrets, c.Expires, c.Settings})
			}
		}
		if s.Profiles[name] = p; err != nil {
			return err
		}
	}
	return nil
}

func (s *saved) seal(file io.Writer, to []age.Recipient) error {
	text, err := toml.Marshal(s)
	if err == nil && toml.Unmarshal(text, new(saved)) != nil {
		err = errors.New("config.toml, or the file of a profile, is not in UTF-8")
	}
	if err != nil {
		return err
	}
	sealed, err := age.Encrypt(file, to...)
	if err == nil {
		_, err = sealed.Write(text)
		err = cmp.Or(err, sealed.Close())
	}
	return err
}

// unseal returns what is in a backup.
func (r *backupRequest) unseal(path string) (s saved, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return s, errors.New(token.FileFault(err))
	}
	file, _, err := token.ReadRegular(f, maxBackup)
	if err != nil {
		return s, err
	}
	stanza, isAge := bytes.CutPrefix(file, []byte("age-encryption.org/v1\n"))
	if !isAge {
		return s, fmt.Errorf("%s is not a backup that tokend made", path)
	}
	by, err := r.identities(bytes.HasPrefix(stanza, []byte("-> scrypt ")))
	if err != nil {
		return s, err
	}
	opened, err := age.Decrypt(bytes.NewReader(file), by...)
	if _, wrong := errors.AsType[*age.NoIdentityMatchError](err); wrong {
		return s, errors.New("that passphrase or identity does not open the backup")
	}
	var text []byte
	if err == nil {
		text, err = io.ReadAll(opened)
	}
	if err != nil {
		return s, fmt.Errorf("%s is damaged, or a part of it is missing: %w", path, err)
	}
	if toml.Unmarshal(text, &s) != nil || s.Version != 1 {
		return s, fmt.Errorf("%s is not a backup that this version of tokend can read", path)
	}
	for name := range s.Profiles {
		err = cmp.Or(err, token.CheckName(name))
	}
	return s, err
}

func (r *backupRequest) restore(ctx context.Context, path string) error {
	s, err := r.unseal(path)
	if err != nil {
		return err
	}
	dirs, open, err := r.installed(ctx)
	if err != nil {
		return err
	}
	if h := ipc.ReadHolder(dirs.State); h.Serves(ctx) {
		return exitError{exitRunning, fmt.Errorf("tokend is running, %v; first: %s", h, r.at.line("stop"))}
	}
	owner := r.at.owner(dirs.State)
	if file := dirs.ConfigFile(); s.Config != "" && r.mayWrite("config.toml", file) { // the service's user may not
		if err := cmp.Or(maybe.WriteFile(file, []byte(s.Config), 0o640), os.Lchown(file, -1, owner.gid)); err != nil {
			return err
		}
		fmt.Fprintln(r.out, "Restored config.toml.")
	}
	if err := owner.become(); err != nil {
		return err
	}
	lock, err := cache.Open(filepath.Join(dirs.State, "cache.db"), nil)
	if err != nil {
		return exitError{exitRunning, err}
	}
	defer lock.Close()
	keys, err := open(dirs.State)
	if err != nil {
		return err
	}
	creds := store.NewCredentials(credentialsDir(dirs), keys)
	for _, name := range slices.Sorted(maps.Keys(s.Profiles)) {
		if !r.mayWrite(name, dirs.ProfileFile(name)) {
			continue
		}
		if err := s.Profiles[name].restore(ctx, dirs, creds, name); err != nil {
			return err
		}
		fmt.Fprintf(r.out, "Restored %s.\n", name)
	}
	return nil
}

// mayWrite reports whether to write a file, and says why not.
func (r *backupRequest) mayWrite(what, file string) bool {
	_, missing := os.Lstat(file)
	if missing == nil && !r.replace {
		fmt.Fprintf(r.out, "Left as it is: %s, which is here already (--replace replaces it).\n", what)
	}
	return missing != nil || r.replace
}

// restore stores the credentials of a profile, bound to this keystore, then its file.
func (p savedProfile) restore(ctx context.Context, dirs profile.Dirs, creds *store.Credentials, name string) error {
	put := creds.Put
	for _, c := range p.Credentials {
		secrets := map[string]token.Secret{}
		for field, text := range c.Secrets {
			secret, err := base64.StdEncoding.DecodeString(text)
			if err != nil {
				return fmt.Errorf("%s: its %s is damaged: %w", name, field, err)
			}
			secrets[field] = token.NewSecret(string(secret))
		}
		if _, err := put(ctx, name, secrets, token.Credential{Expires: c.Expires, Settings: c.Settings}); err != nil {
			return err
		}
		put = creds.PutPending
	}
	return profile.Write(dirs.ProfileFile(name), []byte(p.Text))
}

func (r *backupRequest) recipients() (to []age.Recipient, err error) {
	if r.recipient == "" {
		passphrase, err := r.askPassphrase("Passphrase for the backup", "The same again")
		if err != nil {
			return nil, err
		}
		scrypt, err := age.NewScryptRecipient(passphrase.Reveal())
		return []age.Recipient{scrypt}, err
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
		if err != nil {
			return nil, err
		}
		scrypt, err := age.NewScryptIdentity(passphrase.Reveal())
		return []age.Identity{scrypt}, err
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
	terminal, ok := (&ui.Env{In: os.Stdin, Err: ui.NewScreen(os.Stderr)}).Terminal()
	if !ok {
		return passphrase, cli.Usage("there is no terminal to ask for the passphrase at: say --passphrase-file FILE")
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
