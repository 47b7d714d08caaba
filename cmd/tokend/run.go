package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net"
	"os"
	"os/signal"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/coreos/go-systemd/v22/activation"
	sd "github.com/coreos/go-systemd/v22/daemon"
	"github.com/coreos/go-systemd/v22/journal"
	"github.com/google/renameio/v2/maybe"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/ui"
	"tokend/cmd/tokend/audit"
	"tokend/cmd/tokend/confine"
	"tokend/cmd/tokend/network"
	"tokend/daemon"
	"tokend/daemon/profile"
	"tokend/ipc"
	"tokend/ipc/ipcserver"
	"tokend/providers/token"
	"tokend/store"
	"tokend/store/cache"
)

var errNotSetUp = errors.New("not set up")

func (p *program) runCommand() *cli.Command {
	return &cli.Command{
		Name: "run", Short: "Serve tokens until stopped",
		Long: `  tokend run                        in this terminal, until Ctrl-C

Serves until SIGTERM or SIGINT. SIGHUP reloads the configuration, as tokenctl
reload does. The log goes to standard error; tokend serves on if that blocks.`,
		Run: func(ctx context.Context, _ *cli.Call) error {
			err := serveManaged(ctx, p.at, p.errOut)
			if err != nil {
				line, _, _ := strings.Cut(err.Error(), "\n")
				tellManager("STATUS=" + line)
			}
			return err
		},
	}
}

// serve serves until ctx ends.
func serve(ctx context.Context, at places, log io.Writer) error {
	confine.Harden()
	hangups := make(chan os.Signal, 1) // from now on: an early one must not end this process
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) // nor must a log without a reader
	in, err := open(ctx, at, log)
	defer in.close()
	if err != nil {
		return err
	}
	d, err := in.wire(ctx)
	if err != nil {
		return err
	}
	return in.serve(ctx, d, hangups)
}

// An installation is what serving opens.
type installation struct {
	at        places
	dirs      profile.Dirs
	config    profile.Config
	keystore  store.KeystoreConfig
	socket    string
	vault     vault
	listener  net.Listener
	activated bool         // the socket is held by the service manager
	metrics   net.Listener // nil if config.toml names no address
	cache     *cache.Cache
	audit     *audit.Log // nil if config.toml wants none
	deps      *deps
	closers   []func() error
}

// close closes what was opened, in reverse.
func (in *installation) close() {
	for _, c := range slices.Backward(in.closers) {
		_ = c()
	}
}

// open opens what serving needs. The caller closes it, also after an error.
func open(ctx context.Context, at places, log io.Writer) (in *installation, err error) {
	in = &installation{at: at, deps: newDeps()}
	if at.system {
		if err := confine.CheckUsers(); err != nil {
			return in, err
		}
	}
	if in.dirs, err = at.dirs(); err != nil {
		return in, err
	}
	if in.keystore, err = readInstall(ctx, at, in.dirs); err != nil {
		return in, err
	}
	if in.config, err = profile.ReadConfig(in.dirs); err != nil {
		return in, err
	}
	r := serviceRequest{at: &at, user: !at.system}
	in.deps.started, in.deps.Restart = in.config, r.line("restart")
	if runtime.GOOS == "linux" && os.Getenv("NOTIFY_SOCKET") == "" { // not a service
		in.deps.Restart = r.line("stop") + ", and start it as before"
	}
	var endLog func() error
	toJournal, _ := journal.StderrIsJournalStream()
	in.deps.Log, endLog = newLog(log, toJournal && log == os.Stderr, in.config.LogFormat, &in.deps.level)
	in.closers = append(in.closers, endLog) // last: a log that blocks delays nothing else
	if in.socket, err = at.socketPath(in.config); err != nil {
		return in, err
	}
	keys, err := store.OpenVault(in.dirs.State, in.keystore)
	if err != nil {
		return in, err
	}
	in.vault = newVault(keys, in.dirs, in.deps.Log)
	in.listener, in.activated, err = listen(in.socket, in.hold)
	switch _, isHeld := errors.AsType[*ui.Exit](err); {
	case isHeld:
		return in, err
	case errors.Is(err, token.ErrExists):
		return in, in.held(err, func(h ipc.Holder) bool { return h.Socket == in.socket })
	case err != nil:
		return in, &ui.Exit{Status: exitSocket, Err: err}
	}
	in.closers = append(in.closers, in.listener.Close)
	if file := auditFile(in.dirs, in.config); file != "" {
		if info, err := os.Stat(file); err == nil && info.Mode()&fs.ModeNamedPipe != 0 { // opening it would wait for a reader
			return in, &ui.Exit{Status: exitConfig, Err: fmt.Errorf("audit: %s is a pipe; name a file", file)}
		}
		in.audit = audit.Open(file, in.deps.Log, func(why string) { in.deps.metrics.missing.WithLabelValues(why).Inc() })
		in.closers = append(in.closers, in.audit.Close)
	}
	if in.config.Metrics != "" && in.config.Metrics != "none" { // a loopback address
		if in.metrics, err = net.Listen("tcp", in.config.Metrics); err != nil {
			return in, &ui.Exit{Status: exitSocket, Err: fmt.Errorf("metrics: %w", err)}
		}
	}
	return in, nil
}

// hold opens the cache, which locks it, and says beside the lock who holds it, and
// serves at which socket.
func (in *installation) hold(socket string) (err error) {
	in.socket = socket // the service manager's can be another than the configuration's
	if in.cache, err = cache.Open(filepath.Join(in.dirs.State, "cache.db"), in.vault.CacheKey); err != nil {
		return in.held(err, func(h ipc.Holder) bool { return h.PID != 0 })
	}
	in.closers = append(in.closers, in.cache.Close)
	h := ipc.Holder{Socket: socket, PID: os.Getpid()}
	h.Host, _ = os.Hostname()
	if me, err := user.Current(); err == nil {
		h.User = me.Username
	}
	text, _ := json.Marshal(h)
	file := ipc.HolderFile(in.dirs.State)
	if maybe.WriteFile(file, text, 0o600) == nil { // on a full disk, messages say less
		in.closers = append(in.closers, func() error { return os.Remove(file) })
	}
	return nil
}

// held adds to an error about another tokend which one it is, if that is known.
func (in *installation) held(err error, known func(ipc.Holder) bool) error {
	if h := ipc.ReadHolder(in.dirs.State); known(h) {
		err = fmt.Errorf("%w: %v", err, h)
	}
	return &ui.Exit{Status: exitRunning, Err: err}
}

// wire makes the daemon over what was opened, and confines this process to it.
func (in *installation) wire(ctx context.Context) (*daemon.Daemon, error) {
	deps := in.deps
	deps.keep(in.vault, in.cache)
	deps.examine(in.dirs, in.vault.KeystoreConfig)
	deps.metrics.audit = in.audit.Fault
	in.vault.bind(ctx)
	deps.Network = network.Watch(ctx)
	d, err := daemon.New(in.dirs, deps.Deps)
	if err != nil {
		return nil, err
	}
	deps.metrics.figures = d.Figures
	if err := in.vault.Tidy(ctx, in.vault.creds); err != nil {
		deps.Log.Warn("what a migration left in the other keystore cannot be deleted yet", "error", err.Error())
	}
	deps.Log.Info("tokend serves", "version", versionText(), "socket", in.socket, "config", in.dirs.Config, "keystore", in.keystore.Keystore)
	files := confine.NewFiles(in.dirs, in.config, in.socket, auditFile(in.dirs, in.config), d.SinkDirs())
	if deps.sandbox = "off, as config.toml says"; in.config.Sandbox {
		deps.sandbox = files.Enter()
	}
	if in.config.Sandbox && deps.sandbox != "" && !strings.HasSuffix(deps.sandbox, ": ok") {
		deps.Log.Warn("tokend is not confined to its own files", "sandbox", deps.sandbox)
	}
	moved := watchState(in.dirs.State, in.vault.KeystoreConfig)
	deps.faults = []func() string{in.audit.Fault, moved, files.Fault, func() string { return *deps.fixed.Load() }}
	d.LoadCache(ctx)
	return d, nil
}

// serve answers requests until ctx ends.
func (in *installation) serve(ctx context.Context, d *daemon.Daemon, hangups <-chan os.Signal) error {
	running, stop := context.WithCancel(context.WithoutCancel(ctx)) // until the last answer has left
	defer stop()
	ran := make(chan error, 1)
	go func() { ran <- d.Run(running) }()
	go reloadOn(running, hangups, d)
	if in.metrics != nil {
		go in.deps.metrics.serveMetrics(running, in.metrics)
	}
	ready("serving")
	go func() { tellManager("STATUS=" + serving(running, d)) }()
	go in.deps.watchFaults(running)
	var report func(token.AuditEntry)
	if in.audit != nil {
		report = in.audit.Report
		go repeat(running, in.audit.Settle)
	}
	auditLog := func(ctx context.Context) (iter.Seq[token.AuditEntry], error) {
		if in.audit == nil {
			return nil, &token.Error{Code: token.ErrInvalid, Field: "audit", Message: fmt.Sprintf(`there is no audit log: %s has audit = "none"`, in.dirs.ConfigFile())}
		}
		return daemon.AuditLog(ctx, d, in.audit.Entries)
	}
	digests := func(ctx context.Context, name string) (map[string]string, error) { return daemon.Digests(ctx, d, name) }
	err := in.answer(ctx, func(ctx context.Context) error {
		return ipcserver.Serve(ctx, in.listener, d, ipcserver.Options{
			AnyUser: in.at.system, Audit: report, Log: in.deps.Log, Metrics: in.deps.metrics.handler, AuditLog: auditLog, Digests: digests,
			Count: func(do, result string) { in.deps.metrics.requests.WithLabelValues(do, result).Inc() },
		})
	})
	tellManager(sd.SdNotifyStopping)
	stop()
	err = errors.Join(err, <-ran)
	in.deps.Log.Info("tokend stops")
	return err
}

// answer calls serve until ctx ends. When another program removes or replaces the
// socket, it makes a new one where tokend may, and else returns an error. Where the
// service manager holds the socket, it alone can make it: to start tokend again is no
// help.
func (in *installation) answer(ctx context.Context, serve func(context.Context) error) error {
	for {
		if err := in.share(); err != nil {
			return err
		}
		here, gone := context.WithCancelCause(ctx)
		go watchSocket(here, in.socket, gone)
		err := serve(here)
		gone(nil)
		if context.Cause(here) != errSocketGone || ctx.Err() != nil {
			return err
		}
		in.deps.Log.Warn("another program removed or replaced the socket", "socket", in.socket)
		if in.listener, err = ipcserver.Listen(in.socket); err != nil {
			status, next := exitFailure, "start tokend again"
			if in.activated {
				status, next = exitSocket, in.at.line("restart")
			}
			return &ui.Exit{Status: status, Err: fmt.Errorf("another program removed or replaced the socket, and tokend cannot make it again: %w; next: %s", err, next)}
		}
		in.closers = append(in.closers, in.listener.Close)
		in.deps.Log.Info("tokend made its socket again", "socket", in.socket)
	}
}

// readInstall returns the choice of keystore. In a container a mounted key can make
// it.
func readInstall(ctx context.Context, at places, dirs profile.Dirs) (store.KeystoreConfig, error) {
	mounted, err := mountedKey(dirs)
	if err != nil {
		return store.KeystoreConfig{}, err
	}
	install, err := store.ReadKeystoreConfig(dirs.State)
	switch {
	case errors.Is(err, token.ErrNotFound) && mounted.KeyFile != "":
		return store.Setup(ctx, dirs.State, mounted, token.Secret{})
	case errors.Is(err, token.ErrNotFound):
		return install, fmt.Errorf("%w: run \"%s\" first, to choose where secrets are kept", errNotSetUp, at.line("setup"))
	case err == nil && mounted.KeyFile != "" && mounted.KeyFile != install.KeyFile:
		return install, &token.Error{Code: token.ErrInvalid, Field: keyFileEnv, Message: fmt.Sprintf(
			"$%s names %s, but tokend was set up with %s", keyFileEnv, mounted.KeyFile, install.Describe())}
	}
	return install, err
}

// serving returns tokend's state in a line.
func serving(ctx context.Context, d *daemon.Daemon) string {
	st, err := d.Status(ctx)
	if err != nil {
		return "serving"
	}
	text := fmt.Sprintf("serving %s; keystore %s", counted(len(st.Profiles)), st.Keystore)
	if n := len(st.ConfigErrors); n > 0 {
		text += fmt.Sprintf("; %d bad files", n)
	}
	return text
}

// reloadOn reads the configuration again at each signal. The daemon logs the
// outcome and shows it in status.
func reloadOn(ctx context.Context, hangups <-chan os.Signal, d *daemon.Daemon) {
	for {
		select {
		case <-hangups:
			tellManager(sd.SdNotifyReloading + "\n" + sd.SdNotifyMonotonicUsec())
			_ = d.Reload(ctx)
			ready(serving(ctx, d))
		case <-ctx.Done():
			return
		}
	}
}

// auditFile returns the audit log's file, "" if the configuration wants none.
func auditFile(dirs profile.Dirs, c profile.Config) string {
	if c.Audit == "none" {
		return ""
	}
	return cmp.Or(c.Audit, filepath.Join(dirs.State, "audit.log"))
}

func credentialsDir(dirs profile.Dirs) string { return filepath.Join(dirs.State, "credentials") }

// share lets the group of socket_gid connect to the socket that tokend made.
func (in *installation) share() error {
	if in.config.SocketGID == 0 || in.activated {
		return nil
	}
	if err := cmp.Or(os.Chown(in.socket, -1, int(in.config.SocketGID)), os.Chmod(in.socket, 0o660)); err != nil {
		return &ui.Exit{Status: exitSocket, Err: fmt.Errorf("socket_gid: %w; tokend must be a member of that group", err)}
	}
	return nil
}

// listen returns the socket that systemd opened for this process
// (sd_listen_fds(3)), or opens one. systemd's is never unlinked, and calls wait
// in it while tokend restarts. listen calls before with the socket's path, as
// ipcserver.Listen does.
func listen(path string, before func(path string) error) (l net.Listener, held bool, err error) {
	passed, err := activation.Listeners()
	if err == nil && len(passed) == 0 {
		l, err = ipcserver.Listen(path, func() error { return before(path) })
		return l, false, err
	}
	if len(passed) == 1 {
		if unix, ok := passed[0].(*net.UnixListener); ok && unix.Addr().Network() == "unix" {
			return unix, true, before(unix.Addr().String())
		}
	}
	return nil, true, &token.Error{Code: token.ErrInvalid, Message: "the service manager passed something other than one listening Unix socket: ListenStream= takes a path"}
}

var (
	served   = make(chan struct{}) // closed when this process serves, for Windows
	isServed = sync.OnceFunc(func() { close(served) })
)

// ready tells the service manager that this process serves.
func ready(status string) {
	isServed()
	tellManager(sd.SdNotifyReady + "\nSTATUS=" + status)
}

// tellManager tells systemd, if that started this process (sd_notify(3)). It ignores
// errors: a manager that does not listen changes nothing.
func tellManager(state string) { _, _ = sd.SdNotify(false, state) }
