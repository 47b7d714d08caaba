package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"

	"tokend/daemon"
	"tokend/daemon/profile"
	"tokend/ipc/ipcserver"
	"tokend/providers"
	"tokend/providers/token"
	"tokend/store"
	"tokend/store/cache"
)

// deps fits the other packages to what the daemon needs.
type deps struct {
	daemon.Deps
	level   slog.LevelVar
	http    atomic.Pointer[http.Client]
	metrics *metrics
	sandbox string          // the outcome of confining this process
	faults  []func() string // what each of them finds wrong, "" for nothing
	started profile.Config
	fixed   atomic.Pointer[string] // the warning about settings that take a restart
}

// newDeps has the providers, and no log, keystore or cache yet.
func newDeps() *deps {
	w := &deps{metrics: newMetrics()}
	w.Log = slog.New(slog.DiscardHandler)
	w.Version = versionText()
	w.Now, w.Steady = time.Now, steady
	patience, _ := sd.SdWatchdogEnabled(false) // zero also at an error
	w.Alive, w.Pulse = func() { tellManager(sd.SdNotifyWatchdog) }, patience/2
	w.Sandbox = func() string { return w.sandbox }
	w.Faults = func() (texts []string) {
		for _, fault := range w.faults {
			if text := fault(); text != "" {
				texts = append(texts, text)
			}
		}
		return texts
	}
	w.Caller = func(ctx context.Context) (daemon.Caller, bool) {
		peer, program, ok := ipcserver.Caller(ctx)
		return daemon.Caller{User: token.User{UID: peer.UID, PID: peer.PID, Program: program}, Groups: peer.Groups}, ok
	}
	w.Configure = func(c profile.Config) (profile.Kinds, error) {
		client, err := providers.NewHTTPClient(c.CAFile, c.Proxy)
		if err != nil {
			return nil, err
		}
		w.fixed.Store(new(c.Fixed(w.started, w.Restart)))
		w.level.Set(c.LogLevel)
		w.http.Store(client)
		return kinds{client, w.metrics}, nil
	}
	return w
}

// keep sets the keystore, credentials and cache.
func (w *deps) keep(v vault, tokens *cache.Cache) {
	w.Vault, w.Credentials, w.Cache = v, v.creds, tokens
	w.Keystore = func(ctx context.Context) string { return v.KeystoreConfig().Keystore + ": " + store.State(ctx, v) }
	w.Where = func(account string) string {
		if v.KeystoreConfig().Keystore == store.KeystoreOS {
			return fmt.Sprintf("OS keyring, service %q, account %q", store.KeyringService, account)
		}
		return fmt.Sprintf("sealed file, account %q", account)
	}
}

// kinds are the providers. The daemon asks for no other than Providers has.
type kinds struct {
	client  *http.Client
	metrics *metrics
}

// Providers is called for each profile that is read.
func (kinds) Providers() []token.Provider { return listProviders() }

var listProviders = sync.OnceValue(func() []token.Provider {
	list := make([]token.Provider, len(providers.Kinds))
	for i, kind := range providers.Kinds {
		list[i] = token.Provider{Name: kind.Name, Doc: kind.Doc, Fields: kind.Fields()}
	}
	return list
})

func (kinds) Prepare(a *token.CreateProfile) error {
	kind, _ := providers.Lookup(a.Provider)
	return kind.Prepare(a)
}

func (k kinds) Open(name string, decode func(any) error, secret func(context.Context, string) (token.Secret, error)) (any, error) {
	kind, _ := providers.Lookup(name)
	return kind.Open(decode, providers.Env{HTTP: k.metrics.client(k.client, name), Secret: secret})
}

func (k kinds) Exchange(ctx context.Context, registry, tenant string, t token.Secret) (token.Secret, error) {
	return providers.ExchangeACR(ctx, providers.Env{HTTP: k.client}, registry, tenant, t)
}

// A vault adds to the store's what the daemon asks for.
type vault struct {
	*store.Vault
	creds *store.Credentials
	dirs  profile.Dirs
	log   *slog.Logger
	// A migration holds moving: one that fails removes the key file that it made,
	// which another must not have found by then.
	moving *sync.Mutex
}

func newVault(keys *store.Vault, dirs profile.Dirs, log *slog.Logger) vault {
	return vault{keys, store.NewCredentials(credentialsDir(dirs), keys), dirs, log, new(sync.Mutex)}
}

func (v vault) About(ctx context.Context) token.KeystoreStatus {
	in := v.KeystoreConfig()
	st := token.KeystoreStatus{
		KeystoreChoice: token.KeystoreChoice(in.Choice),
		State:          store.State(ctx, v), KeyID: in.KeyID, Since: in.Created, Moving: v.Progress(),
	}
	if in.Leftover != nil {
		st.Leftovers = len(in.Leftover.Accounts)
	}
	return st
}

// bind binds the credentials of an older tokend to their records, at the first
// start at which the keystore can be used.
func (v vault) bind(ctx context.Context) {
	profiles, err := v.creds.Bind(ctx)
	if len(profiles) > 0 {
		v.log.Info("credentials of an older tokend are bound to their records now", "profiles", profiles)
	}
	if err != nil {
		v.log.Warn("credentials of an older tokend are not bound to their records yet", "error", err.Error())
	}
}

// CacheKey also binds: once it can be read, the keystore can be used.
func (v vault) CacheKey(ctx context.Context, renew bool) (token.Secret, error) {
	key, err := v.Vault.CacheKey(ctx, renew)
	if err == nil {
		v.bind(ctx)
	}
	return key, err
}

// Unlock also deletes what a migration could not delete while it was locked.
func (v vault) Unlock(ctx context.Context) error {
	if err := v.Vault.Unlock(ctx); err != nil {
		return err
	}
	_ = v.Tidy(ctx, v.creds) // status shows what is left
	return nil
}

// Migrate makes the key file of sealed secrets if it is missing. If to names no
// place for the key, the file is in the configuration directory.
func (v vault) Migrate(ctx context.Context, to token.KeystoreChoice) (done token.Migrated, err error) {
	choice := store.Choice(to)
	if choice.Keystore == store.KeystoreSealed && choice.KeyFile == "" && choice.Credential == "" {
		choice.KeyFile = filepath.Join(v.dirs.Config, keyFileName)
	}
	if err := choice.Check(v.dirs.State); err != nil {
		return done, err
	}
	if !v.moving.TryLock() {
		return done, &token.Error{Code: token.ErrUnavailable, Message: "another move of the secrets is under way: tokenctl keystore shows the progress"}
	}
	defer v.moving.Unlock()
	if choice.KeyFile != "" {
		err := store.NewKeyFile(choice.KeyFile)
		done.NewKey = err == nil
		if err != nil && !errors.Is(err, token.ErrExists) {
			return done, err
		}
	}
	if done.Moved, err = v.Vault.Migrate(ctx, v.creds, choice); err != nil {
		if done.NewKey { // it sealed nothing that is current
			err = errors.Join(err, os.Remove(choice.KeyFile))
		}
		return done, err
	}
	done.Keystore = v.About(ctx)
	return done, nil
}
