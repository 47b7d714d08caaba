package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/ui"
	"tokend/ipc"
	"tokend/providers/token"
)

const doctorHelp = `  tokenctl doctor
  tokenctl doctor --json | jq '.checks[] | select(.result != "ok")'

Checks the way from here to tokend, and has tokend check its keystore, files,
configuration, proxy, issuers and clock. For each it prints the result, and a
fix if one is needed. It uses no credential. Where tokend is not running, use
"tokend doctor".

The exit status is 1 if a check failed; a warning is not a failure.`

func doctorCommand(e *ui.Env) *cli.Command {
	var asJSON bool
	return &cli.Command{
		Name:  "doctor",
		Short: "Check the setup and suggest fixes",
		Long:  doctorHelp,
		Flags: jsonFlag(&asJSON),
		Run:   func(ctx context.Context, c *cli.Call) error { return doctor(ctx, e, c, asJSON) },
	}
}

func doctor(ctx context.Context, e *ui.Env, c *cli.Call, asJSON bool) error {
	found, err := ui.Ask(ctx, e, (*ipc.Client).Doctor)
	if err != nil {
		advice := strings.Join(ui.Hints(err, e.Situation(ctx, c, err)), "\n")
		found.Checks = []token.Check{{Name: "socket", Result: token.CheckFail, Text: err.Error(), Advice: ui.Plainly(advice)}}
	} else {
		d, err := e.Client()
		if err != nil {
			return err
		}
		found.Checks = append(checkConnection(d.Socket, e.Socket == "", found), found.Checks...)
	}
	err = answer(e, asJSON, found, e.Out.Checks(found.Checks))
	if err == nil && slices.ContainsFunc(found.Checks, func(c token.Check) bool { return c.Result == token.CheckFail }) {
		err = &ui.Exit{Status: ui.ExitFailure}
	}
	return err
}

// checkConnection checks how this shell reaches the tokend that has answered.
func checkConnection(socket string, usual bool, found token.Report) []token.Check {
	text := "tokend answers at " + socket
	if usual && os.Getenv(ipc.SocketEnv) != "" {
		text += ", which $" + ipc.SocketEnv + " names"
	}
	versions := token.Check{Name: "version", Result: token.CheckOK, Text: "tokend and tokenctl are " + found.Version}
	if own := ownVersion(); own != found.Version {
		versions = token.Check{Name: "version", Result: token.CheckWarn, Text: "tokend is " + found.Version + ", tokenctl " + own,
			Advice: "restart tokend after an upgrade; if there are two installations: which -a tokenctl tokend"}
	}
	checks := []token.Check{{Name: "socket", Result: token.CheckOK, Text: text}, versions}
	if proxy := shellProxy(); proxy != found.Proxy {
		checks = append(checks, token.Check{Name: "environment", Result: token.CheckWarn, Text: fmt.Sprintf(
			"this shell's proxy is %s, tokend's is %s", cmp.Or(proxy, "none"), cmp.Or(found.Proxy, "none")),
			Advice: `if issuers can be reached one way only: proxy = "URL" or "none" in config.toml, then tokenctl reload`})
	}
	return checks
}

// shellProxy is the proxy of this environment, as scheme, host and port.
func shellProxy() string {
	text := cmp.Or(os.Getenv("HTTPS_PROXY"), os.Getenv("https_proxy"))
	if text != "" && !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil {
		return "not a URL"
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host}).String()
}

const eventsHelp = `  tokenctl events
  tokenctl events clms azure --follow | jq -r 'select(.error) | .error.message'

Prints events as they happen, a line of JSON for each: tokend obtained a token,
an attempt failed or was refused, a token expires, a profile was added, rotated
or removed, the keyring is locked, and so on. Without names, of all profiles.
docs/observability.md lists the events and their members.

Ends when tokend stops. With --follow it waits for tokend to come back, and then
prints an event "lost" first, because it may have missed some.`

// followPoll is how often --follow looks for a tokend that is back.
const followPoll = time.Second

func eventsCommand(e *ui.Env) *cli.Command {
	var follow bool
	return &cli.Command{
		Name:  "events",
		Args:  "[NAME...]",
		Short: "Print events as they happen",
		Long:  eventsHelp,
		Flags: func(f *cli.Flags) {
			f.BoolVar(&follow, "follow, f", false, "go on when tokend stops and comes back")
		},
		Check:    cli.AnyArgs,
		Complete: e.CompleteProfiles,
		Run: func(ctx context.Context, c *cli.Call) error {
			if len(c.Args) == 1 {
				e.Profile = c.Args[0]
			}
			for again := false; ; again = true {
				connected, err := printEvents(ctx, e, c.Args, again)
				stopped := err == nil || errors.Is(err, token.ErrNoDaemon)
				if !follow || !stopped || !connected && !again {
					return err
				}
				time.Sleep(followPoll)
			}
		},
	}
}

// printEvents prints events until tokend stops. It reports whether it reached
// tokend.
func printEvents(ctx context.Context, e *ui.Env, names []string, again bool) (connected bool, err error) {
	d, err := e.Client()
	if err != nil {
		return false, err
	}
	connecting, cancel := context.WithTimeout(ctx, ui.Patience)
	defer cancel()
	events, err := d.Watch(connecting, names)
	if err != nil {
		return false, err
	}
	defer events.Close()
	event := token.Event{Time: time.Now().UTC(), Kind: token.EventLost}
	if !again {
		event, err = events.Next(ctx)
	}
	for err == nil {
		line, _ := json.Marshal(event) // it came as JSON
		if err = e.Out.Answer(ui.PlainJSON(string(line)) + "\n"); err == nil {
			event, err = events.Next(ctx)
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return true, err
}

const migrateHelp = `  tokenctl keystore migrate --to os
  tokenctl keystore migrate --to sealed
  tokenctl keystore migrate --to sealed --key-file ~/.config/tokend/new.key

Moves all keys and secrets to another keystore while tokend serves. It copies
them, reads each back, switches to the new keystore, and deletes the old copies.
If anything fails, or you press Ctrl-C before it is done, nothing changes.

"os" is the OS keyring. "sealed" means files under a key, which is in a file or
in a systemd credential that the service was started with. tokenctl makes the
key file if it does not exist (default: tokend.key in the configuration
directory). From sealed to sealed it changes the key. "tokend new-key" makes
keys where a running tokend cannot.`

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
				return cli.Usage("Where to? Say --to os or --to sealed")
			}
			return migrate(ctx, e, to, asJSON)
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
	names := map[string]string{"os": "os, the OS keyring", "sealed": "sealed, files of their own under a key"}
	return cmp.Or(names[k.Keystore], k.Keystore)
}

// keyPlace is where the key of sealed secrets is.
func keyPlace(k token.KeystoreChoice) string {
	if k.KeyFile == "" && k.Credential != "" {
		return "systemd credential " + k.Credential
	}
	return k.KeyFile
}

func migrate(ctx context.Context, e *ui.Env, to token.KeystoreChoice, asJSON bool) error {
	before, err := ui.Ask(ctx, e, (*ipc.Client).Keystore)
	if err != nil {
		return err
	}
	d, err := e.Client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, moveLimit)
	defer cancel()
	end := e.Progress("Moving the secrets")
	done, err := d.Migrate(ctx, to)
	end()
	if err != nil {
		return err
	}
	return answer(e, asJSON, done, migratedText(before, done))
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
		add("A new key is in %s. Without it the secrets cannot be read again: back it up, apart from them.", key)
	case key != "":
		add("The key of the secrets is in %s.", key)
	}
	if name := before.Credential; name != "" && name != now.Credential {
		add("The service is still handed the %s. As root, delete the drop-in that says so (systemctl cat tokend shows it), and only then, if you need no old backups, the credential:", old)
		add("%s", ui.Typed("rm /etc/systemd/system/tokend.service.d/"+name+".conf && systemctl daemon-reload"))
	} else if old != "" && old != key {
		add("The key in %s is for old backups alone. Unless that is the same file under another name, you can delete it.", old)
	}
	if now.Leftovers > 0 {
		add("Old copies could not be deleted yet; tokend does it when it starts, or at: %s", ui.Typed("tokenctl unlock"))
	}
	return text
}

const unlockHelp = `  tokenctl unlock

Has the desktop ask for the keyring's password, or KeePassXC for permission, and
waits for the answer.
Then everything that waits for the keyring is tried at once. tokend also notices
within a minute when you unlock the keyring in another way.`

// unlockPoll is how often the keystore's state is asked for.
const unlockPoll = 300 * time.Millisecond

func unlockCommand(e *ui.Env) *cli.Command {
	wait := time.Minute
	return &cli.Command{
		Name:  "unlock",
		Short: "Have the OS keyring ask for its password",
		Long:  unlockHelp,
		Flags: func(f *cli.Flags) {
			f.Span(&wait, "timeout", "how long to wait for an answer to the prompt, as `TIME`")
		},
		Run: func(ctx context.Context, _ *cli.Call) error { return unlock(ctx, e, wait) },
	}
}

func unlock(ctx context.Context, e *ui.Env, wait time.Duration) error {
	d, err := e.Client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, ui.Patience+wait)
	defer cancel()
	err = d.Unlock(ctx)
	if isPrompting(err) && wait > 0 {
		e.Err.Print("The keyring asks you, in a window of its own. Waiting for the answer ...\n")
	}
	for limit := time.Now().Add(wait); isPrompting(err) && time.Now().Before(limit); time.Sleep(unlockPoll) {
		if st, failed := d.Keystore(ctx); failed != nil {
			return failed
		} else if st.State == "ok" { // the answer has come; tokend is to notice it
			err = d.Unlock(ctx)
		}
	}
	if err != nil {
		return err
	}
	return e.Say("The keyring is unlocked.")
}

// isPrompting reports whether there is a prompt that a person can answer.
func isPrompting(err error) bool {
	e, ok := errors.AsType[*token.Error](err)
	return ok && e.Code == token.ErrLocked && e.Topic == "keyring-prompt"
}

func reloadCommand(e *ui.Env) *cli.Command {
	return &cli.Command{
		Name:  "reload",
		Short: "Have tokend read its configuration again",
		Long: `  tokenctl reload

Has tokend read config.toml and the profiles' files again. If a file is bad,
tokend names it and keeps what it had loaded before. It also says which settings
count only after a restart.`,
		Run: func(ctx context.Context, _ *cli.Call) error {
			var st token.Status
			err := e.Ask(ctx, func(ctx context.Context, d *ipc.Client) (err error) {
				if err = d.Reload(ctx); err == nil {
					st, err = d.Status(ctx)
				}
				return err
			})
			if err != nil {
				return err
			}
			return e.Out.Answer("tokend has reloaded its configuration.\n" + e.Out.Section("But", ui.Warn, st.Warnings))
		},
	}
}

// versions answers version --json.
type versions struct {
	Tokenctl string `json:"tokenctl"`
	// Tokend is empty if the daemon does not answer.
	Tokend string `json:"tokend,omitempty"`
}

func versionCommand(e *ui.Env) *cli.Command {
	var asJSON bool
	return &cli.Command{
		Name:  "version",
		Short: "Print the versions of tokenctl and tokend",
		Long: `  tokenctl version

Prints tokenctl's version, and tokend's if it is running.`,
		Flags: jsonFlag(&asJSON),
		Run: func(ctx context.Context, _ *cli.Call) error {
			st, err := e.Status(ctx)
			daemon := st.Version
			switch {
			case asJSON:
				return e.Out.AnswerJSON(versions{ownVersion(), st.Version})
			case errors.Is(err, token.ErrNoDaemon):
				daemon = "is not running"
			case err != nil:
				daemon = err.Error()
			}
			return e.Out.Answer(versionLine() + "\ntokend   " + ui.Printable(daemon) + "\n")
		},
	}
}

func versionLine() string { return "tokenctl " + ownVersion() }

func ownVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}
