package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokend/confine"
	"tokend/daemon"
	"tokend/ipc/ipcserver"
	"tokend/providers"
	"tokend/providers/token"
	"tokend/store"
	"tokend/store/cache"
)

var errNotSetUp = errors.New("not set up")

// A runningError tells that another tokend serves already.
type runningError struct{ error }

// A socketError tells that there is no place to listen at.
type socketError struct{ error }

func (p *program) runCommand() *cli.Command {
	return &cli.Command{
		Name: "run", Short: "Serve tokens until stopped",
		Long: `  tokend run &

Serves until SIGTERM or SIGINT. SIGHUP reads the configuration again, as tokenctl
reload does. The log goes to standard error; if that blocks, tokend serves on.`,
		Run: func(ctx context.Context, _ *cli.Call) error { return serveManaged(ctx, p.at, p.errOut) },
	}
}

// serve opens what the daemon needs, wires it together and serves until ctx
// ends. What was opened is closed in reverse.
func serve(ctx context.Context, at places, log io.Writer) error {
	confine.Harden()
	hangups := make(chan os.Signal, 1) // from now on: one that comes early must not end us
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) // a log whose reader has gone must not end us
	if at.system {
		if err := confine.CheckUsers(); err != nil {
			return err
		}
	}
	dirs, err := at.dirs()
	if err != nil {
		return err
	}
	install, err := readInstall(ctx, at, dirs)
	if err != nil {
		return err
	}
	config, err := daemon.ReadConfig(dirs)
	if err != nil {
		return err
	}
	w := newWorld()
	defer w.logTo(log, config.LogFormat).end() // last of all: a log that takes nothing holds up nothing else
	socket, err := at.socketPath(config)
	if err != nil {
		return err
	}
	keys, err := store.OpenVault(dirs.State, install)
	if err != nil {
		return err
	}
	listener, err := listen(socket)
	if errors.Is(err, token.ErrExists) {
		return runningError{err}
	}
	if err != nil {
		return socketError{err}
	}
	defer listener.Close()

	v := newVault(keys, dirs)
	tokens, err := cache.Open(filepath.Join(dirs.State, "cache.db"), v.CacheKey)
	if err != nil {
		return runningError{err}
	}
	defer tokens.Close()
	w.keep(v, tokens)
	w.examine(dirs, v.KeystoreConfig)
	d, err := daemon.New(dirs, w.Deps)
	if err != nil {
		return err
	}
	if err := v.Tidy(ctx, v.creds); err != nil {
		w.Log.Warn("what a migration left in the other keystore cannot be deleted yet", "error", err.Error())
	}
	w.metrics.figures = d.Figures
	metricsListener, err := listenMetrics(config)
	if err != nil {
		return socketError{err}
	}
	if held := listener.Addr().String(); held != filepath.Clean(socket) {
		w.Log.Warn("the service manager holds another socket than the configuration names: install the service again",
			"socket", held, "configured", socket)
		socket = held
	}
	w.Log.Info("tokend serves", "version", versionText(), "socket", socket, "config", dirs.Config, "keystore", install.Keystore)

	w.confine(confine.NewFiles(dirs, config, socket, auditFile(dirs, config), d.SinkDirs()), config)

	d.LoadCache(ctx)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ran := make(chan error, 1)
	go func() { ran <- d.Run(ctx) }()
	go reloadOn(ctx, hangups, d)
	if metricsListener != nil {
		go w.metrics.serveMetrics(ctx, metricsListener)
	}
	systemd.ready("serving")
	go func() { systemd.status(serving(ctx, d)) }()
	audit, auditLog := openAudit(dirs, config)
	defer auditLog.Close()
	allow := ipcserver.OwnUser
	if at.system {
		allow = ipcserver.AnyUser // the daemon knows who may do what
	}
	err = ipcserver.Serve(ctx, listener, d, ipcserver.Options{
		Allow: allow, Audit: audit, Log: w.Log, Counts: &w.metrics.requests, Metrics: w.metrics.handler,
	})
	systemd.stopping()
	stop()
	err = errors.Join(err, <-ran)
	w.Log.Info("tokend stops")
	return err
}

// readInstall gives the choice of keystore in force. In a container it can be
// made by a key that is mounted.
func readInstall(ctx context.Context, at places, dirs daemon.Dirs) (store.KeystoreConfig, error) {
	mounted, err := mountedKey(dirs)
	if err != nil {
		return store.KeystoreConfig{}, err
	}
	install, err := store.ReadKeystoreConfig(dirs.State)
	switch {
	case errors.Is(err, token.ErrNotFound) && mounted.KeyFile != "":
		return store.Setup(ctx, dirs.State, mounted)
	case errors.Is(err, token.ErrNotFound):
		return install, fmt.Errorf("%w: run \"%s\" first, to choose where secrets are kept", errNotSetUp, at.setupLine())
	case err == nil && mounted.KeyFile != "" && mounted.KeyFile != install.KeyFile:
		return install, &token.Error{Code: token.ErrInvalid, Field: keyFileEnv, Message: fmt.Sprintf(
			"$%s names %s, and tokend was set up with %s", keyFileEnv, mounted.KeyFile, install.Describe())}
	}
	return install, err
}

// systemd is the service manager, if that started this process.
var systemd manager

// serving is tokend's state in a line.
func serving(ctx context.Context, d *daemon.Daemon) string {
	st, err := d.Status(ctx)
	if err != nil {
		return "serving"
	}
	text := fmt.Sprintf("serving %s; keystore %s", counted(d.Profiles()), st.Keystore)
	if n := len(st.ConfigErrors); n > 0 {
		text += fmt.Sprintf("; %d bad files", n)
	}
	return text
}

// reloadOn reads the configuration anew at each signal. The daemon logs what
// came of it and shows it in status.
func reloadOn(ctx context.Context, hangups <-chan os.Signal, d *daemon.Daemon) {
	for {
		select {
		case <-hangups:
			systemd.reloading()
			_ = d.Reload(ctx)
			systemd.ready(serving(ctx, d))
		case <-ctx.Done():
			return
		}
	}
}

func credentialsDir(dirs daemon.Dirs) string { return filepath.Join(dirs.State, "credentials") }

// A world fits the other packages to what the daemon asks for.
type world struct {
	daemon.Deps
	level   slog.LevelVar
	http    atomic.Pointer[http.Client]
	metrics *metrics
	sandbox string // what came of confining this process
}

// newWorld is a world with providers, and no log, keystore or cache yet.
func newWorld() *world {
	w := &world{metrics: newMetrics()}
	w.Log = slog.New(slog.DiscardHandler)
	w.Version = versionText()
	w.Alive, w.Pulse = systemd.alive, systemd.pulse()
	w.Sandbox = func() string { return w.sandbox }
	w.Caller = func(ctx context.Context) (daemon.Caller, bool) {
		peer, ok := ipcserver.Caller(ctx)
		return daemon.Caller{UID: peer.UID, Groups: peer.Groups, PID: peer.PID, Program: ipcserver.Program(ctx)}, ok
	}
	w.Configure = func(c daemon.Config) (daemon.Kinds, error) {
		client, err := providers.NewHTTPClient(providers.HTTPConfig{CAFile: c.CAFile, Proxy: c.Proxy})
		if err != nil {
			return nil, err
		}
		w.level.Set(c.LogLevel.Level)
		w.http.Store(client)
		return newKinds(client, w.metrics), nil
	}
	return w
}

// logTo gives w its log, which the caller ends.
func (w *world) logTo(out io.Writer, format string) (queue *logQueue) {
	w.Log, queue = newLog(out, format, &w.level)
	return queue
}

// confine takes all files from this process but those of the sandbox.
func (w *world) confine(files confine.Files, config daemon.Config) {
	if !config.Sandbox {
		w.sandbox = "off, as config.toml says"
		return
	}
	if w.sandbox = files.Enter(); w.sandbox != "" && !strings.HasSuffix(w.sandbox, ": ok") {
		w.Log.Warn("tokend is not confined to its own files", "sandbox", w.sandbox)
	}
}

// keep gives w its keystore, credentials and cache.
func (w *world) keep(v vault, tokens *cache.Cache) {
	w.Vault, w.Credentials, w.Cache = v, v.creds, tokens
	w.Keystore = func(ctx context.Context) string { return v.KeystoreConfig().Keystore + ": " + store.State(ctx, v) }
	w.metrics.keystore = func(ctx context.Context) error { return store.Check(ctx, v) }
	w.Where = func(account string) string {
		if v.KeystoreConfig().Keystore == store.KeystoreOS {
			return fmt.Sprintf("OS keyring, service %q, account %q", store.KeyringService, account)
		}
		return fmt.Sprintf("sealed file, account %q", account)
	}
}

// kinds are the providers, in an environment.
type kinds struct {
	env     providers.Env
	clients map[string]*http.Client // by provider: its requests are measured
}

func newKinds(client *http.Client, m *metrics) kinds {
	k := kinds{providers.Env{HTTP: client}, map[string]*http.Client{}}
	for _, kind := range providers.Kinds {
		k.clients[kind.Name] = m.client(client, kind.Name)
	}
	return k
}

// Providers is asked for with each profile that is read.
func (kinds) Providers() []token.Provider { return listProviders() }

var listProviders = sync.OnceValue(func() []token.Provider {
	list := make([]token.Provider, len(providers.Kinds))
	for i, kind := range providers.Kinds {
		list[i] = token.Provider{Name: kind.Name, Doc: kind.Doc, Fields: kind.Fields()}
	}
	return list
})

func (k kinds) Prepare(a *token.CreateProfile) error {
	kind, ok := providers.Lookup(a.Provider)
	if !ok {
		return noProvider(a.Provider)
	}
	return kind.Prepare(a)
}

func (k kinds) Open(name string, decode func(any) error, secret func(context.Context, string) (token.Secret, error)) (any, error) {
	kind, ok := providers.Lookup(name)
	if !ok {
		return nil, noProvider(name)
	}
	env := k.env
	env.HTTP = k.clients[name]
	env.Secret = secret
	return kind.Open(decode, env)
}

func (k kinds) Exchange(ctx context.Context, registry, tenant string, t token.Secret) (token.Secret, error) {
	return providers.ExchangeACR(ctx, k.env, registry, tenant, t)
}

func noProvider(name string) error {
	return &token.Error{Code: token.ErrInvalid, Field: "provider", Message: fmt.Sprintf("no provider %q", name)}
}
