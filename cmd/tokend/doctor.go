package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokend/confine"
	"tokend/cmd/tokend/service"
	"tokend/daemon"
	"tokend/ipc"
	"tokend/providers"
	"tokend/providers/token"
	"tokend/store"
)

const doctorHelp = `  tokend doctor
  tokend doctor --json | jq '.checks[] | select(.result != "ok")'

Looks at what tokend depends on, and says of each thing whether it is as it
should be, and what to do if not: the setup and the keystore, the configuration,
who may read the files, the socket, the service, the proxy, whether issuers can
be reached, and the clock by theirs. No credential is used. If tokend runs, it
is asked what it sees; else this command looks for itself.

Exit status: 0 nothing failed (warnings are no failure), 1 something failed.`

func (p *program) doctorCommand() *cli.Command {
	var asJSON bool
	return &cli.Command{
		Name: "doctor", Short: "Check the setup and suggest fixes", Long: doctorHelp,
		Flags: func(f *cli.Flags) { f.BoolVar(&asJSON, "json", false, "print JSON") },
		Run: func(ctx context.Context, _ *cli.Call) error {
			confine.Harden()
			found, err := p.at.doctor(ctx)
			if err != nil {
				return err
			}
			return tellDiagnosis(found, asJSON, p.out)
		},
	}
}

func tellDiagnosis(found token.Report, asJSON bool, out io.Writer) error {
	failed := 0
	if asJSON {
		text, err := json.MarshalIndent(found, "", "  ")
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s\n", text)
	}
	for _, c := range found.Checks {
		if c.Result == token.CheckFail {
			failed++
		}
		if asJSON {
			continue
		}
		fmt.Fprintf(out, "%-4s  %s: %s\n", printable(c.Result), printable(c.Name), printable(c.Text))
		if c.Advice != "" {
			fmt.Fprintf(out, "      -> %s\n", printable(c.Advice))
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d checks failed", failed, len(found.Checks))
	}
	return nil
}

// printable is text without what a terminal obeys: root reads what the service's
// user has named or said.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case unicode.IsPrint(r):
			return r
		}
		return '?'
	}, text)
}

// doctor looks at an installation from outside, and has the daemon look from
// inside if it runs.
func (p places) doctor(ctx context.Context) (token.Report, error) {
	dirs, err := p.dirs()
	if err != nil {
		return token.Report{}, err
	}
	config, configErr := daemon.ReadConfig(dirs)
	socket, err := p.socketPath(config)
	if err != nil {
		return token.Report{}, err
	}
	client := ipc.Client{Socket: socket}
	inside, askErr := client.Doctor(ctx)
	checks := []token.Check{p.checkSocket(socket, inside, askErr), p.checkService(ctx)}
	if askErr != nil {
		inside = p.lookInside(ctx, dirs, configErr)
	}
	inside.Version = versionText()
	inside.Checks = append(checks, inside.Checks...)
	return inside, nil
}

func ok(name, format string, args ...any) token.Check {
	return token.Check{Name: name, Result: token.CheckOK, Text: fmt.Sprintf(format, args...)}
}

func warn(name, text, advice string) token.Check {
	return token.Check{Name: name, Result: token.CheckWarn, Text: text, Advice: advice}
}

func failed(name, text, advice string) token.Check {
	return token.Check{Name: name, Result: token.CheckFail, Text: text, Advice: advice}
}

// explained is advice on an error: where its text is.
func explained(err error, otherwise string) string {
	var e *token.Error
	if errors.As(err, &e) && e.Topic != "" {
		return "tokenctl explain " + e.Topic
	}
	return otherwise
}

func (p places) checkSocket(socket string, inside token.Report, err error) token.Check {
	switch {
	case err == nil && inside.Version != versionText():
		return warn("socket", fmt.Sprintf("tokend %s answers at %s, and this program is %s", inside.Version, socket, versionText()), "restart tokend, to have the new version serve")
	case err == nil:
		return ok("socket", "tokend %s answers at %s", inside.Version, socket)
	case errors.Is(err, token.ErrNoDaemon):
		return warn("socket", "tokend does not run: "+err.Error(), p.startLine())
	case errors.Is(err, token.ErrDenied):
		return warn("socket", err.Error(), "run doctor as root, or as the user that tokend runs as")
	}
	return failed("socket", err.Error(), p.startLine())
}

// checkService asks the service manager whether it starts tokend.
func (p places) checkService(ctx context.Context) token.Check {
	const name = "service"
	r := serviceRequest{at: &p}
	m, err := service.New(service.Definition{System: p.system})
	if err != nil {
		return ok(name, "none: %v", err)
	}
	now, err := m.State(ctx)
	switch {
	case err != nil:
		return warn(name, err.Error(), r.line("status"))
	case now.File == "":
		return warn(name, "no service is installed: nothing starts tokend", r.line("install"))
	case !now.Enabled:
		return warn(name, now.File+" is not enabled: it does not start by itself", r.line("install"))
	case !now.Running && !now.SocketHeld:
		return warn(name, now.File+" is enabled, and does not run: "+now.Status, r.line("start"))
	}
	return ok(name, "%s is enabled; it starts %s", now.File, r.when())
}

// lookInside is what the daemon would see, while it does not run.
func (p places) lookInside(ctx context.Context, dirs daemon.Dirs, configErr error) token.Report {
	install, err := store.ReadKeystoreConfig(dirs.State)
	if errors.Is(err, token.ErrNotFound) {
		return token.Report{Checks: []token.Check{failed("setup", err.Error(), p.setupLine())}}
	}
	if err != nil {
		return token.Report{Checks: []token.Check{failed("setup", err.Error(), explained(err, ""))}}
	}
	if configErr != nil {
		return token.Report{Checks: []token.Check{failed("config", configErr.Error(), "mend the file")}}
	}
	kek, kekErr := credentialOutside(ctx, dirs, install)
	// The service could have put a link where root would follow it.
	if err := p.owner(dirs.State).become(); err != nil {
		return token.Report{Checks: []token.Check{failed("doctor", err.Error(), "run doctor as the user that tokend runs as")}}
	}
	w := newDeps()
	w.Keystore = func(ctx context.Context) string {
		if kekErr != nil {
			return install.Keystore + ": " + kekErr.Error()
		}
		return install.Keystore + ": " + stateOutside(ctx, dirs, install, kek)
	}
	w.Credentials = store.NewCredentials(credentialsDir(dirs), nil)
	w.examine(dirs, func() store.KeystoreConfig { return install })
	d, err := daemon.New(dirs, w.Deps)
	if err != nil {
		return token.Report{Checks: []token.Check{failed("config", err.Error(), explained(err, "mend the file"))}}
	}
	found, err := d.Doctor(ctx)
	if err != nil {
		return token.Report{Checks: []token.Check{failed("doctor", err.Error(), "")}}
	}
	return found
}

// credentialOutside is the key in the service's systemd credential, for somebody
// who is not the service: root alone can read it. It is zero where there is none.
func credentialOutside(ctx context.Context, dirs daemon.Dirs, in store.KeystoreConfig) (token.Secret, error) {
	file := store.CredentialFile{Path: credentialPath(dirs, in.Credential), Name: in.Credential}
	if in.Credential == "" || os.Getenv("CREDENTIALS_DIRECTORY") != "" || !exists(file.Path) {
		return token.Secret{}, nil
	}
	return file.Read(ctx)
}

// stateOutside is how the keystore is, which kek opens if it is not zero.
func stateOutside(ctx context.Context, dirs daemon.Dirs, in store.KeystoreConfig, kek token.Secret) string {
	open := in.Open
	if !kek.IsZero() {
		open = func(state string) (store.Keystore, error) { return in.OpenWithKey(state, kek) }
	}
	ks, err := open(dirs.State)
	if err != nil {
		return err.Error()
	}
	return store.State(ctx, ks)
}

// examine gives w its doctor.
func (w *deps) examine(dirs daemon.Dirs, install func() store.KeystoreConfig) {
	w.Doctor = func(ctx context.Context, st token.Status, all bool) token.Report {
		in := install()
		found := token.Report{Version: st.Version}
		found.Checks = append(found.Checks, checkKeystore(in, st.Keystore), checkCache(st.Cache))
		if !all {
			return found
		}
		client := w.http.Load()
		found.Checks = append(found.Checks, checkSetup(in)...)
		found.Checks = append(found.Checks, checkBus(in)...)
		found.Checks = append(found.Checks, checkSandbox(st.Sandbox)...)
		found.Checks = append(found.Checks, checkConfigFiles(st, dirs)...)
		found.Checks = append(found.Checks, checkFiles(dirs, in)...)
		found.Checks = append(found.Checks, w.checkCredentials(st.Profiles)...)
		issuers := issuersOf(st.Profiles)
		found.Proxy = providers.ProxyFor(client, cmp.Or(first(issuers), "https://issuer.invalid"))
		found.Checks = append(found.Checks, checkProxy(found.Proxy))
		found.Checks = append(found.Checks, seeIssuers(ctx, client, issuers)...)
		return found
	}
}

func first(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}

func checkSetup(in store.KeystoreConfig) []token.Check {
	checks := []token.Check{ok("setup", "the keystore is %s since %s", in.Describe(), in.Created.Format(time.DateOnly))}
	if in.Leftover != nil {
		checks = append(checks, warn("setup", fmt.Sprintf("%d old copies of secrets wait to be deleted from the keystore %q", len(in.Leftover.Accounts), in.Leftover.Keystore),
			"make that keystore usable (tokenctl unlock), or restart tokend"))
	}
	return checks
}

func checkKeystore(in store.KeystoreConfig, state string) token.Check {
	const name = "keystore"
	switch {
	case strings.HasSuffix(state, ": ok"):
		return ok(name, "%s can be used", in.Describe())
	case strings.HasSuffix(state, ": locked"):
		return failed(name, "the OS keyring is locked: new tokens cannot be obtained", "tokenctl unlock, or log in to the desktop")
	case in.Keystore == store.KeystoreOS:
		return failed(name, state, "start tokend within the desktop session; a host without one: docs/keystores.md")
	case in.Credential != "":
		return failed(name, state, "systemd hands the credential to tokend.service alone: look at systemctl status tokend, and as root at /etc/systemd/system/tokend.service.d")
	}
	return failed(name, state, "see docs/keystores.md; a key that is lost is in a backup, or all secrets have to be handed in anew")
}

// checkBus looks for the way to the OS keyring, where there is one to look for.
func checkBus(in store.KeystoreConfig) []token.Check {
	if in.Keystore != store.KeystoreOS {
		return nil
	}
	bus, err := store.Bus()
	if err != nil {
		return []token.Check{failed("bus", err.Error(), explained(err, ""))}
	}
	if bus == "" {
		return nil
	}
	return []token.Check{ok("bus", "the D-Bus session bus is %s", bus)}
}

func checkCache(state string) token.Check {
	const name = "cache"
	switch state {
	case "ok", "writing":
		return ok(name, "tokens outlive a restart")
	}
	return warn(name, state, "tokens are served from memory meanwhile; see docs/errors.md and tokend's log")
}

func checkSandbox(state string) []token.Check {
	switch {
	case state == "":
		return nil
	case strings.HasSuffix(state, ": ok"):
		return []token.Check{ok("sandbox", "tokend is confined to its own files")}
	}
	return []token.Check{warn("sandbox", state, "docs/security.md says what it takes")}
}

func checkConfigFiles(st token.Status, dirs daemon.Dirs) (checks []token.Check) {
	for _, text := range st.ConfigErrors {
		checks = append(checks, failed("config", text, "mend the file, then: tokenctl reload"))
	}
	if checks == nil {
		checks = append(checks, ok("config", "%s in %s", counted(len(st.Profiles)), dirs.Config))
	}
	return checks
}

// checkCredentials finds profiles whose secret was never handed in.
func (w *deps) checkCredentials(profiles []token.ProfileStatus) (checks []token.Check) {
	for _, p := range profiles {
		if _, err := w.Credentials.Current(p.Name); errors.Is(err, token.ErrNotFound) && needsCredential(w, p) {
			checks = append(checks, warn("profile "+p.Name, "its key or secret is missing", "tokenctl rotate "+p.Name))
		}
	}
	return checks
}

// needsCredential tells whether a profile's provider has secrets at all.
func needsCredential(w *deps, p token.ProfileStatus) bool {
	kind, known := providers.Lookup(p.Provider)
	return known && p.Does != "verifies" && slices.ContainsFunc(kind.Fields(), func(f token.Field) bool { return f.Secret })
}

// checkFiles looks who else could read or change what tokend keeps.
func checkFiles(dirs daemon.Dirs, in store.KeystoreConfig) []token.Check {
	var bad []token.Check
	bad = append(bad, checkTree(dirs.State, dirs.State, 0o077, "chmod -R go= "+dirs.State)...)
	bad = append(bad, checkTree(dirs.Config, dirs.State, 0o002, "chmod -R o-w "+dirs.Config)...)
	if err := in.CheckKeyFile(); err != nil {
		bad = append(bad, failed("files", err.Error(), "chmod 0400 "+in.KeyFile+", and let tokend's user own it"))
	}
	if bad != nil {
		return bad
	}
	return []token.Check{ok("files", "nobody else can read %s or change %s", dirs.State, dirs.Config)}
}

// checkTree finds what has one of the refused permissions, or belongs to
// somebody else than root and the owner of owned. One finding is enough.
func checkTree(dir, owned string, refused fs.FileMode, advice string) (bad []token.Check) {
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || err == nil && e.Type()&fs.ModeSymlink != 0 {
			return nil
		}
		var info fs.FileInfo
		if err == nil {
			info, err = e.Info()
		}
		if err == nil {
			err = privacy(path, info, owned, refused)
		}
		return err
	})
	if err != nil {
		return []token.Check{failed("files", err.Error(), advice)}
	}
	return nil
}

func checkProxy(proxy string) token.Check {
	const name = "proxy"
	if proxy == "" {
		return ok(name, "issuers are asked directly")
	}
	return ok(name, "issuers are asked through %s", proxy)
}

// issuersOf are the URLs of what the profiles ask, one for each host.
func issuersOf(profiles []token.ProfileStatus) []string {
	byHost := map[string]string{}
	for _, p := range profiles {
		asked := p.Endpoint
		if asked == "" && p.Does != "verifies" {
			asked = first(p.Hosts)
		}
		if u, err := url.Parse(asked); err == nil && u.Host != "" {
			byHost[u.Host] = asked
		}
	}
	var urls []string
	for _, u := range byHost {
		urls = append(urls, u)
	}
	slices.Sort(urls)
	return urls
}

const (
	// seeLimit bounds the look at all issuers together, seeAtOnce how many are
	// looked at at the same time.
	seeLimit  = 10 * time.Second
	seeAtOnce = 8
	// clockLimit is how far the clock may be off before issuers begin to refuse
	// what was signed by it.
	clockLimit = time.Minute
)

// seeIssuers looks whether issuers can be reached, and at our clock by theirs.
func seeIssuers(ctx context.Context, client *http.Client, issuers []string) []token.Check {
	ctx, cancel := context.WithTimeout(ctx, seeLimit)
	defer cancel()
	type sight struct {
		providers.Sighting
		err error
	}
	seen := make([]sight, len(issuers))
	turns := make(chan struct{}, seeAtOnce)
	done := make(chan struct{})
	for i, issuer := range issuers {
		go func() {
			defer func() { done <- struct{}{} }()
			turns <- struct{}{}
			seen[i].Sighting, seen[i].err = providers.See(ctx, client, issuer)
			<-turns
		}()
	}
	for range issuers {
		<-done
	}
	var checks []token.Check
	var clock token.Check
	for i, s := range seen {
		u, _ := url.Parse(issuers[i])
		if s.err != nil {
			checks = append(checks, failed("issuer", s.err.Error(), explained(s.err, "check the network")))
			continue
		}
		checks = append(checks, ok("issuer", "%s answered within %d ms%s", u.Host, s.Took.Milliseconds(), with(s.TLS)))
		switch {
		case !s.Dated || clock.Result == token.CheckFail:
		case s.Skew.Abs() > clockLimit:
			clock = failed("clock", fmt.Sprintf("this machine's clock is %v off that of %s: issuers refuse what is signed by it", s.Skew.Abs(), u.Host), "timedatectl set-ntp true, or set the clock")
		default:
			clock = ok("clock", "within %v of %s", clockLimit, u.Host)
		}
	}
	if clock.Result == "" { // no issuer told its time
		return checks
	}
	return append(checks, clock)
}

func with(tls string) string {
	if tls == "" {
		return ""
	}
	return ", " + tls
}
