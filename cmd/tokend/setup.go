package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/ui"
	"tokend/cmd/tokend/confine"
	"tokend/cmd/tokend/service"
	"tokend/daemon/profile"
	"tokend/providers/token"
	"tokend/store"
	"tokend/store/cache"
)

// How a container says where its key is mounted.
const (
	keyFileEnv   = "TOKEND_KEK_FILE"
	groupReadEnv = "TOKEND_KEK_FILE_GROUP_READ"
	// refusedKeyEnv would hold a key itself, where too many can see it.
	refusedKeyEnv = "TOKEND_KEK"
)

const setupHelp = `  tokend setup                      asks what it needs to know
  tokend setup --system --start     a server, as root: sealed files; start it
  tokend setup --keystore sealed --key-file ~/.tokend.key

Takes the OS keyring or, if there is none, offers sealed files. Then it offers
to start tokend, now and when you log in. Run it again to see what is set up,
and to add what is missing. Without a terminal it asks and starts nothing: use
flags.

"os" keeps private keys and client secrets in the OS keyring (GNOME Keyring,
KWallet or KeePassXC through the Secret Service, macOS Keychain, Windows
Credential Manager). "sealed" is for hosts without one: each secret in its own
file, encrypted with AES-256-GCM. The key of 32 bytes is elsewhere: in a file
that only tokend's user can read (--key-file; tokend makes it if it does not
exist), or in a systemd credential (--credential).

With --system and no choice, root makes an encrypted systemd credential for
tokend.service, bound to the machine's TPM 2.0 if it has one, otherwise to the
host's key. Without systemd-creds or such a unit, root makes a key file in the
configuration directory. tokend's files then belong to the service's user.
$` + keyFileEnv + ` names a key file that is mounted in a container; tokend run
then needs no setup.

tokend records the choice. It never falls back to another keystore, and never
keeps a secret in plain text. The same choice again changes nothing; to change
it: "tokenctl keystore migrate".

--reset is for a lost key or keyring: it lists the secrets that are lost with
it, asks, and lets you choose again. Profiles and their settings stay. The old
files move to another place in the state directory, in case you find the key.`

const (
	// keyFileName is the name of a key file in the configuration directory.
	keyFileName = "tokend.key"
	// credentialName is that of the credential that setup makes by itself.
	credentialName = "tokend-key"
)

// credentialPath is the file of an encrypted credential.
func credentialPath(dirs profile.Dirs, name string) string {
	return filepath.Join(dirs.Config, name+".cred")
}

// A setupRequest is a call of setup or new-key.
type setupRequest struct {
	at     *places
	choice store.Choice
	user   string // that the system service runs as
	// mounted says that the key comes with the container, and is not made.
	mounted bool
	// reset gives up the secrets of a keystore that is lost, yes without asking.
	reset, yes bool
	// next says to print the next command to type.
	next bool
}

func (p *program) setupCommand() *cli.Command {
	r := setupRequest{at: &p.at}
	var start bool
	return &cli.Command{
		Name: "setup", Short: "Choose where secrets are kept, once", Long: setupHelp,
		Flags: func(f *cli.Flags) {
			f.StringVar(&r.choice.Keystore, "keystore", "", "`KEYSTORE`: os or sealed")
			f.Text("key-file", "string", "`FILE` with the key of the sealed secrets", absolute(&r.choice.KeyFile))
			f.BoolVar(&r.choice.GroupRead, "key-file-group-read", false, "the key file's group may read it, as in a container's secret volume")
			f.StringVar(&r.choice.Credential, "credential", "", "`NAME` of the systemd credential with the key of the sealed secrets")
			f.StringVar(&r.user, "service-user", serviceUser, "`USER` that the system service runs as")
			f.BoolVar(&r.reset, "reset", false, "start over after the keyring or the key was lost: give up the secrets")
			f.BoolVar(&r.yes, "yes", false, "with --reset: do not ask")
			f.BoolVar(&start, "start", false, "then run it as a service, as tokend install does")
		},
		Run: func(ctx context.Context, c *cli.Call) error {
			terminal, asks := env().Terminal()
			switch {
			case start:
				return p.setUpAnd(ctx, (*serviceRequest).install)
			case !asks, c.Flags.Changed("start"): // by setUpAnd
				r.next = !c.Flags.Changed("start")
				return r.run(ctx, cli.Prose(p.out))
			}
			return p.setUpAtTerminal(ctx, terminal)
		},
	}
}

func (r setupRequest) run(ctx context.Context, out io.Writer) error {
	confine.Harden()
	dirs, err := r.at.dirs()
	if err != nil {
		return err
	}
	before, err := store.ReadKeystoreConfig(dirs.State)
	if err != nil && !errors.Is(err, token.ErrNotFound) && !r.reset {
		return err
	}
	lost, err := r.confirmReset(dirs, &before, out)
	if err != nil {
		return err
	}
	if err := r.choose(ctx, dirs, before, out); err != nil {
		return err
	}
	if err := r.choice.Check(dirs.State); err != nil {
		return cli.Usage("%v", err)
	}
	owner, err := r.at.account(r.user)
	if err != nil {
		return err
	}
	if err := owner.makeDirs(dirs, before.ID != "", out); err != nil {
		return err
	}
	confine.MakeDir(dirs.Config) // a user's unit cannot: it may write in there alone
	kek, err := r.makeKey(ctx, dirs, before, owner, out)
	if err != nil {
		return err
	}
	if err := owner.become(); err != nil {
		return err
	}
	if r.reset {
		if err := putAside(ctx, dirs.State, r.choice.Keystore, out); err != nil {
			return err
		}
	}
	install, err := setUp(ctx, dirs.State, r.choice, kek, out)
	if err != nil {
		return err
	}
	done := "are kept"
	if before.ID == install.ID {
		done = "are kept already"
	}
	fmt.Fprintf(out, "Secrets %s in the keystore %q (installation %s, recorded in %s).\n", done, install.Keystore, install.ID, dirs.State)
	if r.next {
		fmt.Fprintln(out, "Next:", r.at.startLine())
	}
	for _, name := range lost {
		fmt.Fprintln(out, "Then: tokenctl rotate", name)
	}
	return nil
}

// confirmReset says which profiles lose their secrets, returns them, asks for
// permission, and forgets the choice before.
func (r setupRequest) confirmReset(dirs profile.Dirs, before *store.KeystoreConfig, out io.Writer) (lost []string, err error) {
	if !r.reset {
		return nil, nil
	}
	lost = store.NewCredentials(credentialsDir(dirs), nil).Others(nil)
	slices.Sort(lost)
	if before.ID != "" {
		fmt.Fprintf(out, "tokend gives up its keystore %s.\n", before.Describe())
	}
	fmt.Fprintf(out, "Lost, unless you have them elsewhere: the secrets of %s.\n", cmp.Or(strings.Join(lost, ", "), "no profile"))
	fmt.Fprintln(out, `If the keystore can be read, "tokenctl keystore migrate" moves them instead.`)
	*before = store.KeystoreConfig{}
	return lost, confirm(r.yes, "Start over?")
}

// putAside moves away what a lost keystore has left, unless a tokend uses it or the
// next keystore cannot be used.
func putAside(ctx context.Context, state, next string, out io.Writer) error {
	if next == store.KeystoreOS {
		if err := store.NewKeyring(store.KeyringService).State(ctx); errors.Is(err, token.ErrKeystore) {
			return fmt.Errorf("%w; nothing is changed\n  On a host without a keyring: tokend setup --reset --keystore sealed --key-file FILE", err)
		}
	}
	c, err := cache.Open(filepath.Join(state, "cache.db"), nil)
	if err != nil {
		return &ui.Exit{Status: exitRunning, Err: err}
	}
	_ = c.Close()
	aside, err := store.Reset(state)
	if err == nil {
		fmt.Fprintf(out, "What there was is in %s now. The tokens and the items of an OS keyring are of no use without it.\n", aside)
	}
	return err
}

// setUpAnd sets up, and then does more with the service. Setup of the system's service
// gives up root's rights, which that needs, so another process does it.
func (p *program) setUpAnd(ctx context.Context, then func(*serviceRequest, context.Context) error) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, self, append(p.args, "--start=false")...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, p.out, p.errOut
	err = cmd.Run()
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		return &ui.Exit{Status: failed.ExitCode()}
	}
	if err != nil {
		return err
	}
	return then(&serviceRequest{at: &p.at, user: !p.at.system, out: cli.Prose(p.out)}, ctx)
}

// setUp records the choice. Where the keyring asks a person, it waits for the answer.
func setUp(ctx context.Context, state string, choice store.Choice, kek token.Secret, out io.Writer) (store.KeystoreConfig, error) {
	install, err := store.Setup(ctx, state, choice, kek)
	keyring := store.NewPatientKeyring(store.KeyringService)
	if errors.Is(err, token.ErrLocked) {
		fmt.Fprintln(out, "The keyring is locked. If a window asks for its password, type it. Waiting for the answer; Ctrl-C gives up ...")
		if err = keyring.Unlock(ctx); err == nil {
			install, err = store.Setup(ctx, state, choice, kek)
		}
	}
	if choice.Keystore == store.KeystoreOS && (errors.Is(err, token.ErrKeystore) || errors.Is(err, token.ErrLocked)) {
		err = fmt.Errorf("%w\n  On a host without a keyring: tokend setup --keystore sealed --key-file FILE", err)
	}
	if errors.Is(err, token.ErrExists) {
		err = fmt.Errorf("%w\n  To move the secrets: tokenctl keystore migrate. If they are lost: tokend setup --reset", err)
	}
	if err == nil && choice.Keystore == store.KeystoreOS && keyring.Asks(ctx) {
		fmt.Fprintln(out, `This keyring asks you before a program may read secrets, so each time that tokend has
started: run "tokenctl unlock". In KeePassXC's window leave "Remember" on and press "Allow Selected".`)
	}
	return install, err
}

// choose completes the choice of the command line, and prints why.
func (r *setupRequest) choose(ctx context.Context, dirs profile.Dirs, before store.KeystoreConfig, out io.Writer) error {
	mounted, err := mountedKey(dirs)
	if err != nil {
		return err
	}
	c := &r.choice
	switch {
	case c.KeyFile != "" || c.Credential != "":
		c.Keystore = cmp.Or(c.Keystore, store.KeystoreSealed)
	case c.Keystore == store.KeystoreOS:
	case mounted.KeyFile != "":
		*c, r.mounted = mounted, true
		fmt.Fprintf(out, "The key of the sealed secrets is the one in %s, which $%s names.\n", c.KeyFile, keyFileEnv)
	case before.ID != "" && (c.Keystore == "" || c.Keystore == before.Keystore):
		*c = before.Choice
	case !r.at.system && c.Keystore == "":
		return r.askKeystore(ctx, dirs)
	case r.at.system:
		*c = systemChoice(dirs)
		fmt.Fprintf(out, "A system service has no OS keyring: secrets go to sealed files, their key to %s.\n", cmp.Or(c.KeyFile, "a systemd credential"))
	}
	return nil
}

// systemChoice returns where the system service should keep secrets on this machine.
func systemChoice(dirs profile.Dirs) store.Choice {
	if mayPassCredential() {
		return store.Choice{Keystore: store.KeystoreSealed, Credential: credentialName}
	}
	return store.Choice{Keystore: store.KeystoreSealed, KeyFile: filepath.Join(dirs.Config, keyFileName)}
}

// mountedKey returns the choice that a container's environment makes, if any.
func mountedKey(dirs profile.Dirs) (store.Choice, error) {
	if os.Getenv(refusedKeyEnv) != "" {
		return store.Choice{}, &token.Error{Code: token.ErrInvalid, Field: refusedKeyEnv, Message: fmt.Sprintf(
			"$%s is set: too many can see a key in the environment; mount it as a file and name that in $%s", refusedKeyEnv, keyFileEnv)}
	}
	file := os.Getenv(keyFileEnv)
	if file == "" {
		return store.Choice{}, nil
	}
	group := os.Getenv(groupReadEnv)
	if group != "" && group != "true" && group != "false" {
		return store.Choice{}, &token.Error{Code: token.ErrInvalid, Field: groupReadEnv, Message: "$" + groupReadEnv + ` is neither "true" nor "false"`}
	}
	choice := store.Choice{Keystore: store.KeystoreSealed, KeyFile: file, GroupRead: group == "true"}
	if err := choice.Check(dirs.State); err != nil {
		return store.Choice{}, fmt.Errorf("$%s: %w", keyFileEnv, err)
	}
	return choice, nil
}

// makeKey makes the chosen key if it is missing, only on the first setup: a new key
// could not open what the old one sealed. It finishes an interrupted setup, and returns
// the key if only the service could read it.
func (r setupRequest) makeKey(ctx context.Context, dirs profile.Dirs, before store.KeystoreConfig, owner account, out io.Writer) (kek token.Secret, err error) {
	first := before.ID == ""
	switch {
	case r.choice.Credential != "" && os.Getenv("CREDENTIALS_DIRECTORY") == "" && owner.mayMakeCredential():
		if !first && before.Credential != r.choice.Credential {
			return kek, nil // for Setup to refuse
		}
		if file := (store.CredentialFile{Path: credentialPath(dirs, r.choice.Credential), Name: r.choice.Credential}); r.reset {
			if _, err := file.Read(ctx); err != nil { // or there is none
				_ = os.Rename(file.Path, file.Path+".lost")
			}
		}
		return makeCredential(ctx, r.choice.Credential, dirs, first, out)
	case r.choice.KeyFile != "" && first && !r.mounted:
		err := store.NewKeyFileFor(r.choice.KeyFile, owner.uid, owner.gid)
		if err != nil && !errors.Is(err, token.ErrExists) {
			return kek, err
		}
		if err == nil {
			fmt.Fprintf(out, "A new key is in %s. Without it the secrets are lost: back it up, apart from them.\n", r.choice.KeyFile)
		}
	}
	return kek, nil
}

// startLine returns the commands that start what was set up.
func (p places) startLine() string {
	return p.line("install") + ", or without a service: " + p.line("run")
}

// line returns a command for the same places, without flags that are the default:
// a unit passes them all.
func (p places) line(command string) string {
	line := "tokend " + command
	if p.system {
		line += " --system"
	}
	usual := places{system: p.system}
	dirs, _ := usual.dirs()
	socket, _ := usual.socketPath(profile.Config{})
	for _, f := range []struct{ name, value, usual string }{
		{"config", p.config, dirs.Config}, {"state", p.state, dirs.State}, {"socket", p.socket, socket},
	} {
		if f.value != "" && f.value != f.usual {
			line += fmt.Sprintf(" --%s %s", f.name, f.value)
		}
	}
	return line
}

const newKeyHelp = `  tokend new-key --key-file ~/.config/tokend/new.key
  tokend new-key --system --credential tokend-key-2      as root

Makes a key for sealed secrets, in places where a running tokend cannot write,
or as a systemd credential, which root makes and tokend.service gets at its next
start. To use the key, run "tokenctl keystore migrate --to sealed" with the same
flag.`

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
