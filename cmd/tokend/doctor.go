package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/ui"
	"tokend/cmd/tokend/confine"
	"tokend/cmd/tokend/service"
	"tokend/daemon"
	"tokend/daemon/profile"
	"tokend/ipc"
	"tokend/providers"
	"tokend/providers/token"
	"tokend/store"
)

const doctorHelp = `  tokend doctor
  tokend doctor --json | jq '.checks[] | select(.result != "ok")'

Checks the setup and the keystore, the configuration, who can read the files,
the socket, the service, the proxy, whether issuers can be reached, and the
clock, and suggests fixes. It uses no credential. A running tokend checks what
only it can see.

Exit status: 0 nothing failed (a warning is not a failure), 1 something failed.`

func (p *program) doctorCommand() *cli.Command {
	var asJSON bool
	return &cli.Command{
		Name: "doctor", Short: "Check the setup and suggest fixes", Long: doctorHelp,
		Flags: func(f *cli.Flags) { f.BoolVar(&asJSON, "json", false, "print JSON") },
		Run: func(ctx context.Context, _ *cli.Call) error {
			confine.Harden()
			report, err := p.at.doctor(ctx)
			if err != nil {
				return err
			}
			out := ui.NewScreen(p.out)
			if asJSON {
				err = out.AnswerJSON(report)
			} else {
				err = out.Answer(out.Checks(report.Checks))
			}
			return cmp.Or(err, refuseFailed(report.Checks, exitFailure))
		},
	}
}

// refuseFailed returns an error with this exit status if a check failed.
func refuseFailed(checks []token.Check, status int) error {
	if slices.ContainsFunc(checks, func(c token.Check) bool { return c.Result == token.CheckFail }) {
		return &ui.Exit{Status: status}
	}
	return nil
}

// doctor checks an installation from outside, and has the daemon check it from
// inside if it runs.
func (p places) doctor(ctx context.Context) (token.Report, error) {
	dirs, err := p.dirs()
	if err != nil {
		return token.Report{}, err
	}
	socket, err := p.clientSocket(dirs)
	if err != nil {
		return token.Report{}, err
	}
	ask := func() (token.Report, error) {
		return (&ipc.Client{Socket: socket, Deadline: time.Now().Add(ui.Patience / 4)}).Doctor(ctx)
	}
	report, askErr := ask()
	var checks []token.Check
	h := ipc.ReadHolder(dirs.State)
	if errors.Is(askErr, token.ErrNoDaemon) && h.Serves(ctx) {
		checks = append(checks, warn("socket", fmt.Sprintf("no tokend answers at %s: yours is %v", socket, h), "tokenctl finds it; other programs need TOKEND_SOCKET="+h.Socket))
		socket = h.Socket
		report, askErr = ask()
	}
	checks = append(checks, p.checkSocket(socket, report, h, askErr), p.checkService(ctx))
	if askErr != nil {
		report = p.doctorStopped(ctx, dirs)
	}
	report.Version = versionText()
	report.Checks = append(checks, report.Checks...)
	return report, nil
}

func ok(name, format string, args ...any) token.Check {
	return token.Check{Name: name, Result: token.CheckOK, Text: fmt.Sprintf(format, args...)}
}

func warn(name, text, advice string) token.Check {
	return token.Check{Name: name, Result: token.CheckWarn, Text: text, Advice: advice}
}

// okOr returns good if ok is true, and else a warning of bad.
func okOr(isOK bool, name, good, bad, advice string) token.Check {
	if isOK {
		return ok(name, "%s", good)
	}
	return warn(name, bad, advice)
}

func failed(name, text, advice string) token.Check {
	return token.Check{Name: name, Result: token.CheckFail, Text: text, Advice: advice}
}

// advice on an error is the command that explains it, if there is one.
func advice(err error, otherwise string) string {
	if e, ok := errors.AsType[*token.Error](err); ok && e.Topic != "" {
		return "tokenctl explain " + e.Topic
	}
	return otherwise
}

func (p places) checkSocket(socket string, running token.Report, h ipc.Holder, err error) token.Check {
	switch {
	case err == nil && running.Version != versionText():
		return warn("socket", fmt.Sprintf("tokend %s answers at %s, and this program is %s", running.Version, socket, versionText()), "restart tokend to serve with the new version")
	case err == nil:
		return ok("socket", "tokend %s answers at %s", running.Version, socket)
	case errors.Is(err, token.ErrNoDaemon):
		return warn("socket", "tokend does not run: "+err.Error(), p.startLine())
	case errors.Is(err, token.ErrDenied):
		return warn("socket", err.Error(), "run doctor as root, or as the user that tokend runs as")
	case errors.Is(err, context.DeadlineExceeded) && h.Socket == socket:
		return failed("socket", fmt.Sprintf("tokend does not answer: %v", h),
			fmt.Sprintf("%s, or without a service: kill -KILL %d, then %s", p.line("restart"), h.PID, p.line("run")))
	}
	return failed("socket", err.Error(), p.startLine())
}

// checkService checks that the service manager starts tokend.
func (p places) checkService(ctx context.Context) token.Check {
	const name = "service"
	r := serviceRequest{at: &p}
	m, err := service.New(service.Definition{System: p.system})
	if err != nil {
		return ok(name, "none: %v", err)
	}
	st, err := m.State(ctx)
	switch {
	case err != nil:
		return warn(name, err.Error(), r.line("status"))
	case st.File == "":
		return warn(name, "no service is installed: nothing starts tokend", r.line("install"))
	case st.Failure != "":
		return failed(name, st.Failure, r.line("start"))
	case !st.Enabled:
		return warn(name, st.File+" is not enabled: it does not start by itself", r.line("install"))
	case !st.Running && !st.SocketHeld:
		return warn(name, st.File+" is enabled, but does not run: "+st.Status, r.line("start"))
	}
	return ok(name, "%s is enabled; it starts %s", st.File, r.when())
}

// doctorStopped checks what the daemon checks, while it does not run.
func (p places) doctorStopped(ctx context.Context, dirs profile.Dirs) token.Report {
	only := func(c token.Check) token.Report { return token.Report{Checks: []token.Check{c}} }
	install, err := store.ReadKeystoreConfig(dirs.State)
	if err != nil {
		return only(failed("setup", err.Error(), advice(err, p.line("setup"))))
	}
	open, err := openAsService(ctx, dirs, install)
	if err != nil {
		return only(failed("keystore", err.Error(), keystoreAdvice))
	}
	// The service could have put a link where root would follow it.
	if err := p.owner(dirs.State).become(); err != nil {
		return only(failed("doctor", err.Error(), "run doctor as the user that tokend runs as"))
	}
	deps := newDeps()
	deps.Keystore = func(ctx context.Context) string {
		ks, err := open(dirs.State)
		if err != nil {
			return install.Keystore + ": " + err.Error()
		}
		return install.Keystore + ": " + store.State(ctx, ks)
	}
	deps.Credentials = store.NewCredentials(credentialsDir(dirs), nil)
	deps.examine(dirs, func() store.KeystoreConfig { return install })
	d, err := daemon.New(dirs, deps.Deps)
	if err != nil {
		return only(failed("config", err.Error(), advice(err, "correct the file")))
	}
	report, err := d.Doctor(ctx)
	if err != nil {
		return only(failed("doctor", err.Error(), ""))
	}
	return report
}

// openAsService returns what opens the keystore, with the key in the service's
// systemd credential if there is one, which only root can read.
func openAsService(ctx context.Context, dirs profile.Dirs, in store.KeystoreConfig) (func(state string) (store.Keystore, error), error) {
	file := store.CredentialFile{Path: credentialPath(dirs, in.Credential), Name: in.Credential}
	if in.Credential == "" || os.Getenv("CREDENTIALS_DIRECTORY") != "" || !service.Exists(file.Path) {
		return in.Open, nil
	}
	kek, err := file.Read(ctx)
	return func(state string) (store.Keystore, error) { return in.OpenWithKey(state, kek) }, err
}

// examine sets the daemon's doctor.
func (deps *deps) examine(dirs profile.Dirs, install func() store.KeystoreConfig) {
	deps.Doctor = func(ctx context.Context, st token.Status, all bool) token.Report {
		in := install()
		report := token.Report{Version: st.Version, Checks: []token.Check{
			checkKeystore(in, st.Keystore),
			okOr(st.Cache == "ok" || st.Cache == "writing", "cache", "tokens survive a restart", st.Cache, "tokend serves tokens from memory; see docs/errors.md and tokend's log"),
		}}
		if !all {
			return report
		}
		if st.Sandbox != "" { // the system has one
			report.Checks = append(report.Checks, okOr(strings.HasSuffix(st.Sandbox, ": ok"), "sandbox", "tokend is confined to its own files", st.Sandbox, "docs/security.md says what it needs"))
		}
		report.Checks = append(report.Checks, ok("setup", "the keystore is %s since %s", in.Describe(), in.Created.Format(time.DateOnly)))
		if in.Leftover != nil {
			report.Checks = append(report.Checks, warn("setup", fmt.Sprintf("%d old copies of secrets wait to be deleted from the keystore %q", len(in.Leftover.Accounts), in.Leftover.Keystore),
				"make that keystore usable (tokenctl unlock), or restart tokend"))
		}
		client := deps.http.Load()
		issuers := issuersOf(st.Profiles)
		report.Proxy = providers.ProxyFor(client, append(issuers, "https://issuer.invalid")[0])
		report.Checks = slices.Concat(report.Checks, checkProfiles(st, dirs), checkFiles(dirs, in),
			deps.checkCredentials(st), []token.Check{ok("proxy", "proxy for issuers: %s", cmp.Or(report.Proxy, "none"))}, checkIssuers(ctx, client, issuers))
		for _, text := range st.Warnings {
			report.Checks = append(report.Checks, warn("tokend", text, ""))
		}
		return report
	}
}

const keystoreAdvice = "see docs/keystores.md; restore a lost key from a backup, or give up the secrets: tokend setup --reset"

func checkKeystore(in store.KeystoreConfig, state string) token.Check {
	const name = "keystore"
	switch {
	case strings.HasSuffix(state, ": ok"):
		return ok(name, "%s can be used", in.Describe())
	case strings.HasSuffix(state, ": locked"):
		return failed(name, "the OS keyring is locked: new tokens cannot be obtained", "tokenctl unlock, or log in to the desktop")
	case strings.Contains(state, ": locked: "):
		return failed(name, state, "tokenctl unlock, and allow it in the keyring's window")
	}
	return failed(name, state, keystoreAdvice)
}

func checkProfiles(st token.Status, dirs profile.Dirs) (checks []token.Check) {
	if len(st.ConfigErrors) == 0 {
		return []token.Check{ok("config", "%s in %s", counted(len(st.Profiles)), dirs.Config)}
	}
	for _, text := range st.ConfigErrors {
		checks = append(checks, failed("config", text, "correct the file, then: tokenctl reload"))
	}
	return checks
}

// checkCredentials finds profiles that need a person: what status warns of, tokens that
// the issuer refuses, secrets that are missing or must not be used; and secrets
// without a profile.
func (deps *deps) checkCredentials(st token.Status) (checks []token.Check) {
	for _, name := range st.Orphans {
		checks = append(checks, warn("secrets", "there are secrets of "+name+", and no profile: its file was deleted or renamed",
			"tokenctl remove "+name+" deletes them; if you renamed the file: tokenctl rename "+name+" NEW"))
	}
	for _, p := range st.Profiles {
		kind, known := providers.Lookup(p.Provider)
		needs := known && p.Does != "verifies" && slices.ContainsFunc(kind.Fields(), func(f token.Field) bool { return f.Secret })
		for _, text := range p.Warnings {
			fix := "tokenctl status " + p.Name
			if fact, rotate, ends := strings.Cut(text, ": tokenctl rotate "); ends {
				text, fix = fact, "tokenctl rotate "+rotate
			}
			checks = append(checks, warn("profile "+p.Name, text, fix))
		}
		for _, t := range p.Tokens {
			if t.Error != nil && t.Error.Code == token.ErrRejected {
				checks = append(checks, failed("profile "+token.WithResource(p.Name, t.Resource), t.Error.Message, advice(t.Error, "tokenctl status "+p.Name)))
			}
		}
		switch _, err := deps.Credentials.Current(p.Name); {
		case needs && errors.Is(err, token.ErrNotFound):
			checks = append(checks, warn("profile "+p.Name, "the key or secret of "+p.Name+" is missing", "tokenctl rotate "+p.Name))
		case err != nil && !errors.Is(err, token.ErrNotFound):
			checks = append(checks, failed("profile "+p.Name, err.Error(), advice(err, "tokenctl rotate "+p.Name)))
		}
	}
	return checks
}

// checkFiles finds files of tokend that others can read or change.
func checkFiles(dirs profile.Dirs, in store.KeystoreConfig) []token.Check {
	owner := 0
	if info, err := os.Stat(dirs.State); err == nil {
		owner = store.Owner(info)
	}
	var bad []token.Check
	for _, c := range []struct {
		path    string // "" is not there
		refused fs.FileMode
		advice  string
	}{
		{dirs.State, 0o077, "chmod -R go= " + dirs.State},
		{dirs.Config, 0o002, "chmod -R o-w " + dirs.Config},
		{in.KeyFile, in.Refused(), "chmod 0400 " + in.KeyFile + ", and make tokend's user its owner"},
	} {
		if err := checkTree(c.path, owner, c.refused); err != nil {
			bad = append(bad, failed("files", err.Error(), c.advice))
		}
	}
	if bad == nil {
		bad = append(bad, ok("files", "only tokend's user can read %s, or change %s", dirs.State, dirs.Config))
	}
	return bad
}

// checkTree finds one file that has one of the refused permissions, or belongs
// neither to root nor to owner.
func checkTree(dir string, owner int, refused fs.FileMode) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		var info fs.FileInfo
		if err == nil {
			info, err = e.Info()
		}
		if errors.Is(err, fs.ErrNotExist) || err == nil && info.Mode()&fs.ModeSymlink != 0 {
			return nil
		}
		if err != nil {
			return err
		}
		return store.CheckPrivacy(path, info, owner, refused)
	})
}

// issuersOf returns the URLs that the profiles use, one for each host.
func issuersOf(profiles []token.ProfileStatus) []string {
	byHost := map[string]string{}
	for _, p := range profiles {
		asked := p.Endpoint
		if asked == "" && p.Does != "verifies" && len(p.Hosts) > 0 {
			asked = p.Hosts[0]
		}
		if u, err := url.Parse(asked); err == nil && u.Host != "" {
			byHost[u.Host] = asked
		}
	}
	return slices.Sorted(maps.Values(byHost))
}

const (
	// issuersTimeout bounds the check of all issuers.
	issuersTimeout = 10 * time.Second
	// maxSkew is how far the clock may be off before issuers refuse what was
	// signed by it.
	maxSkew = time.Minute
)

// checkIssuers checks whether issuers can be reached, and our clock by theirs.
func checkIssuers(ctx context.Context, client *http.Client, issuers []string) []token.Check {
	ctx, cancel := context.WithTimeout(ctx, issuersTimeout)
	defer cancel()
	checks := make([][]token.Check, len(issuers))
	var asked sync.WaitGroup
	for i, issuer := range issuers {
		asked.Go(func() { checks[i] = checkIssuer(ctx, client, issuer) })
	}
	asked.Wait()
	return slices.Concat(checks...)
}

func checkIssuer(ctx context.Context, client *http.Client, issuer string) []token.Check {
	s, err := providers.See(ctx, client, issuer)
	if err != nil {
		return []token.Check{failed("issuer", err.Error(), advice(err, "check the network"))}
	}
	u, _ := url.Parse(issuer)
	reached := ok("issuer", "%s answered within %d ms, %s", u.Host, s.Took.Milliseconds(), cmp.Or(s.TLS, "without TLS"))
	if s.Skew.Abs() <= maxSkew {
		return []token.Check{reached}
	}
	return []token.Check{reached, failed("clock", fmt.Sprintf("this machine's clock is %v off that of %s: issuers will refuse its signatures", s.Skew.Abs(), u.Host),
		"timedatectl set-ntp true, or set the clock")}
}

func (p *program) checkCommand() *cli.Command {
	return &cli.Command{
		Name: "check-config", Short: "Check the configuration",
		Long: `  tokend check-config && tokenctl reload

Reads config.toml and profiles.d as tokend run does, without the keystore and
the network, and reports errors with file and line.`,
		Run: p.checkConfig,
	}
}

// checkConfig does what the daemon does to read its configuration, and what the
// doctor then says of it.
func (p *program) checkConfig(ctx context.Context, _ *cli.Call) error {
	dirs, err := p.at.dirs()
	if err != nil {
		return err
	}
	w := newDeps()
	w.Credentials = store.NewCredentials(credentialsDir(dirs), nil)
	w.Keystore = func(context.Context) string { return "" }
	d, err := daemon.New(dirs, w.Deps)
	if err != nil {
		return err
	}
	st, err := d.Status(ctx)
	if err != nil {
		return err
	}
	checks := append(checkProfiles(st, dirs), w.checkCredentials(st)...)
	for _, c := range checks {
		fmt.Fprintln(cli.Prose(p.out), ui.Printable(c.Text))
	}
	return refuseFailed(checks, exitConfig)
}

// counted returns a number of profiles in words.
func counted(n int) string {
	if n == 1 {
		return "1 profile"
	}
	return fmt.Sprintf("%d profiles", n)
}
