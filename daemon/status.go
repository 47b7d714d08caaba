package daemon

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"time"

	"tokend/daemon/mint"
	"tokend/providers/token"
)

// Status returns the state of the daemon, and of the profiles that the caller
// may use or manage in order of their names.
func (d *Daemon) Status(ctx context.Context) (token.Status, error) {
	st, c := d.state.Load(), d.caller(ctx)
	stats := d.mint.Stats()
	out := token.Status{
		Version: d.deps.Version, PID: os.Getpid(), Started: d.started.UTC(),
		Config: d.dirs.Config, State: d.dirs.State, MayManage: st.isAdmin(c),
		Keystore: d.deps.Keystore(ctx), Cache: "ok", Sandbox: d.deps.Sandbox(), Profiles: []token.ProfileStatus{},
	}
	users := userNames{}
	for _, name := range slices.Sorted(maps.Keys(st.profiles)) {
		if e, err := st.view(c, name); err == nil {
			out.Profiles = append(out.Profiles, d.profileStatus(st, e, c, users, false))
		}
	}
	if out.MayManage {
		out.Warnings = d.deps.Faults()
		out.ConfigErrors = slices.Sorted(maps.Values(st.bad))
		for _, text := range st.admins.Unknown {
			out.ConfigErrors = append(out.ConfigErrors, d.dirs.ConfigFile()+": "+text)
		}
		for _, name := range d.deps.Credentials.Others(slices.Collect(maps.Keys(st.profiles))) {
			if _, err := os.Lstat(d.dirs.ProfileFile(name)); errors.Is(err, fs.ErrNotExist) {
				out.Orphans = append(out.Orphans, name)
			}
		}
	}
	switch {
	case stats.CacheErr != nil:
		out.Cache = stats.CacheErr.Error()
	case stats.Saving:
		out.Cache = "writing"
	}
	return out, nil
}

// Doctor checks the installation. Callers who may not manage profiles learn the
// state of the daemon, and have no issuer asked.
func (d *Daemon) Doctor(ctx context.Context) (token.Report, error) {
	st, err := d.Status(ctx)
	if err != nil {
		return token.Report{}, err
	}
	return d.deps.Doctor(ctx, st, st.MayManage), nil
}

// Profile returns the state of one profile, in more detail than Status.
func (d *Daemon) Profile(ctx context.Context, name string) (token.ProfileStatus, error) {
	st, c := d.state.Load(), d.caller(ctx)
	e, err := st.view(c, name)
	if err != nil {
		return token.ProfileStatus{}, err
	}
	return d.profileStatus(st, e, c, userNames{}, true), nil
}

// Providers lists the kinds of profiles there can be.
func (d *Daemon) Providers(context.Context) ([]token.Provider, error) {
	return d.state.Load().Kinds.Providers(), nil
}

// profileStatus returns the state of e as c may see it.
func (d *Daemon) profileStatus(st *state, e *entry, c *Caller, users userNames, detail bool) token.ProfileStatus {
	out := token.ProfileStatus{
		Name: e.Name, Provider: e.Provider, Does: e.Does(), File: d.dirs.ProfileFile(e.Name), Settings: e.Settings, Hosts: e.Hosts, Present: e.Present, SecondHeader: e.SecondHeader,
		CredentialExpires: e.Expires.UTC(), CredentialStored: e.Credential.Stored.UTC(), AdminUsers: e.AdminUsers, AdminGroups: e.AdminGroups,
	}
	if steps := st.steps(e, d.now()); steps > 0 {
		out.CredentialState = token.CredentialState(steps)
	}
	// Callers who may not manage profiles see only themselves.
	shown := func(u *token.User) *token.User {
		if u == nil || *u == (token.User{}) || !st.isAdmin(c) && u.UID != c.UID {
			return nil
		}
		return users.named(*u)
	}
	if u := e.used.Load(); u != nil {
		out.LastUsed, out.LastUser = u.At.UTC(), shown(&u.By)
	}
	if p := e.Pending; p != nil {
		out.Pending = &token.PendingCredential{ID: p.ID, Stored: p.Stored.UTC(), Settings: p.Settings}
	}
	if e.Minter != nil {
		out.Endpoint, out.Renew = e.Minter.Endpoint(), e.Renew
	}
	if e.tokens != nil {
		out.Tokens, out.Attempts = e.tokens.Status(detail)
	}
	for _, r := range e.resources {
		tokens, res := r.resourceStatus(e.Tables, detail)
		out.Tokens, out.Resources = append(out.Tokens, tokens...), append(out.Resources, res)
	}
	for i := range out.Tokens {
		t := &out.Tokens[i]
		t.LastUser = shown(t.LastUser)
		if !e.mayUse(c) {
			t.Content = nil
		}
	}
	for _, part := range e.all() {
		for _, s := range part.Sinks {
			out.Sinks = append(out.Sinks, s.Path)
		}
	}
	out.Warnings = warnings(d, st, e)
	return out
}

// resourceStatus returns the state of a resource, which has at least one line.
func (e *entry) resourceStatus(tables map[string]map[string]any, detail bool) (tokens []token.TokenStatus, out token.ResourceStatus) {
	_, out.Name, _ = strings.Cut(e.Name, "/")
	out.Settings, out.Hosts, out.Present, out.SecondHeader = maps.Clone(tables[out.Name]), e.Hosts, e.Present, e.SecondHeader
	maps.DeleteFunc(out.Settings, func(key string, _ any) bool { return e.Settings[key] == nil })
	if tokens, out.Attempts = e.tokens.Status(detail); tokens == nil {
		tokens = []token.TokenStatus{{State: "none"}}
	}
	for i := range tokens {
		tokens[i].Resource = out.Name
	}
	return tokens, out
}

// Digests returns SHA-256 digests of a profile's secrets, in hexadecimal, by field. Only
// callers who could read the secrets anyway get them: some secrets can be guessed.
func Digests(ctx context.Context, d *Daemon, name string) (map[string]string, error) {
	st, c := d.state.Load(), d.caller(ctx)
	e, err := st.view(c, name)
	switch {
	case err != nil:
		return nil, err
	case !c.isOwner():
		return nil, denied("", "uid %d may not see digests of secrets; only root and the user that tokend runs as may", c.UID)
	}
	digests := map[string]string{}
	for _, field := range e.Credential.Fields {
		secret, err := d.deps.Credentials.Secret(ctx, e.Credential, field)
		if err != nil {
			return nil, err
		}
		digests[field] = fmt.Sprintf("%x", sha256.Sum256([]byte(secret.Reveal())))
	}
	return digests, nil
}

// userNames are the names of users that were looked up.
type userNames map[int]string

// named adds the user's name to u. It may ask a directory service.
func (n userNames) named(u token.User) *token.User {
	if _, known := n[u.UID]; !known {
		found, err := user.LookupId(strconv.Itoa(u.UID))
		if err != nil {
			found = &user.User{}
		}
		n[u.UID] = found.Username
	}
	u.Name = n[u.UID]
	return &u
}

// warnings are what will become a failure unless someone acts.
func warnings(d *Daemon, st *state, e *entry) (texts []string) {
	warn := func(format string, args ...any) { texts = append(texts, fmt.Sprintf(format, args...)) }
	if text := st.bad[e.Name]; text != "" {
		warn("the previous settings stay active: %s", text)
	}
	if st.steps(e, d.now()) > 0 {
		warn("the credential %s: tokenctl rotate %s", token.EndText(e.Expires, d.now()), e.Name)
	}
	if e.Pending != nil {
		warn("a new key made on %s waits to be registered", e.Pending.Stored.UTC().Format(time.DateOnly))
	}
	texts = append(append(texts, e.Allowed.Unknown...), e.Admins.Unknown...)
	for _, part := range e.all() {
		for _, s := range part.Sinks {
			if err := d.sinks.Err(s.Path); err != nil {
				warn("sink %s: %v", s.Path, err)
			}
		}
		if part.tokens != nil && part.tokens.Refused() {
			warn("a server refused the token, and had refused the one before; see: tokenctl explain %s", token.RefusedTwice)
		}
	}
	if text := d.mint.Stats().SkewWarning; text != "" && e.Minter != nil {
		warn("%s", text)
	}
	return texts
}

// Figures are what metrics are made of, besides what other packages count.
type Figures struct {
	// Status is as the caller may see it.
	token.Status
	mint.Stats
	// Watchers is how many watch events.
	Watchers int
}

// Figures returns the figures as they are now.
func (d *Daemon) Figures(ctx context.Context) (Figures, error) {
	status, err := d.Status(ctx)
	d.watching.Lock()
	defer d.watching.Unlock()
	return Figures{status, d.mint.Stats(), len(d.watchers)}, err
}

// maxQueue is how many events wait for one watcher. It loses what comes beyond
// that, because tokend waits for no one.
const maxQueue = 256

// A watcher gets events. Daemon.watching guards what was lost.
type watcher struct {
	daemon *Daemon
	caller *Caller
	names  []string // of profiles; empty for all
	queue  chan token.Event
	lost   int // events for which there was no room after the queue
}

// publish reports to those who watch what happened to a profile, or to the
// daemon if ev names none. e is nil if there is no such profile any more.
func (d *Daemon) publish(e *entry, ev token.Event) {
	ev.Time = d.now().UTC()
	st := d.state.Load()
	d.watching.Lock()
	defer d.watching.Unlock()
	for w := range d.watchers {
		admin := st.isAdmin(w.caller)
		if ev.Profile != "" && (!admin && (e == nil || !st.mayView(w.caller, e)) || len(w.names) > 0 && !slices.Contains(w.names, ev.Profile)) {
			continue
		}
		shown := ev
		if !admin {
			shown.BadFiles = 0
		}
		if w.lost > 0 || len(w.queue) == maxQueue {
			w.lost++ // and what comes after it, until the watcher knows of the loss
			continue
		}
		w.queue <- shown
	}
}

// Watch returns what happens from now on: to the named profiles, or if none are
// named to all that the caller may use or manage, and to the daemon itself. A
// watcher that falls behind learns how many events it has lost.
func (d *Daemon) Watch(ctx context.Context, names []string) (token.Events, error) {
	w := &watcher{daemon: d, caller: d.caller(ctx), names: names, queue: make(chan token.Event, maxQueue)}
	for _, name := range names {
		if _, err := d.state.Load().view(w.caller, name); err != nil {
			return nil, err
		}
	}
	d.watching.Lock()
	defer d.watching.Unlock()
	d.watchers[w] = struct{}{}
	return w, nil
}

// Next implements token.Events.
func (w *watcher) Next(ctx context.Context) (token.Event, error) {
	lost := 0
	w.daemon.watching.Lock()
	if len(w.queue) == 0 { // what was lost came after the queue
		lost, w.lost = w.lost, 0
	}
	w.daemon.watching.Unlock()
	if lost > 0 {
		return token.Event{Time: w.daemon.now().UTC(), Kind: token.EventLost, Lost: lost}, nil
	}
	select {
	case e := <-w.queue:
		return e, nil
	case <-ctx.Done():
		return token.Event{}, ctx.Err()
	}
}

// Close implements token.Events.
func (w *watcher) Close() {
	w.daemon.watching.Lock()
	defer w.daemon.watching.Unlock()
	delete(w.daemon.watchers, w)
}
