package daemon

import (
	"context"
	"fmt"
	"iter"
	"os"
	"strconv"
	"time"

	"tokend/daemon/mint"
	"tokend/providers/token"
)

// Who may do what. There are three rights: to use a profile (tokens, signatures and
// verdicts), which its allow_users and allow_groups give; to administer it (rotate it, and
// edit what profile.Changes leaves to admins), which its admin_users and admin_groups give;
// and to manage, and so administer, all profiles, which those of config.toml give. Root and
// the user that tokend runs as have all three, and no right includes to use a profile. A
// profile that a caller may neither use nor administer does not exist for that caller.

// A Caller is who asks over the socket, as the kernel said when it connected.
type Caller struct {
	token.User // all but the UID are labels to show to people, never to decide on
	Groups     []int
}

// caller returns who asks; nil is tokend itself.
func (d *Daemon) caller(ctx context.Context) *Caller {
	if c, ok := d.deps.Caller(ctx); ok {
		return &c
	}
	return nil
}

// use is a use of a profile by c.
func (c *Caller) use(at time.Time) mint.Use {
	u := mint.Use{At: at}
	if c != nil {
		u.By = c.User
	}
	return u
}

// asks returns ctx with its Asker told apart from those of other users.
func (c *Caller) asks(ctx context.Context) context.Context {
	a := token.AskerOf(ctx)
	if c == nil || a.Key == "" {
		return ctx
	}
	a.Key = strconv.Itoa(c.UID) + " " + a.Key
	return token.WithAsker(ctx, a)
}

// isOwner reports whether c has every right: it could read tokend's memory and
// files anyway.
func (c *Caller) isOwner() bool { return c == nil || c.UID == 0 || c.UID == os.Geteuid() }

// mayUse reports whether c may use the profile.
func (e *entry) mayUse(c *Caller) bool { return c.isOwner() || e.Allowed.Has(c.UID, c.Groups) }

// isAdmin reports whether c may manage profiles.
func (s *state) isAdmin(c *Caller) bool { return c.isOwner() || s.admins.Has(c.UID, c.Groups) }

// administers reports whether c may rotate and edit the profile, if there is one.
func (s *state) administers(c *Caller, e *entry) bool {
	return s.isAdmin(c) || e != nil && e.Admins.Has(c.UID, c.Groups)
}

// mayView reports whether c may look at the profile.
func (s *state) mayView(c *Caller, e *entry) bool { return e.mayUse(c) || s.administers(c, e) }

// Admit returns why an operation of the caller's is refused whatever the request's
// body says: on a profile or on none (name is empty), or to administer the profile, or
// without a name to manage all.
func (d *Daemon) Admit(ctx context.Context, name string, manage bool) error {
	st, c := d.state.Load(), d.caller(ctx)
	switch {
	case manage:
		return d.requireAdmin(ctx, name)
	case name != "":
		_, err := st.view(c, name)
		return err
	case st.isAdmin(c):
		return nil
	}
	for _, e := range st.profiles {
		if st.mayView(c, e) {
			return nil
		}
	}
	return denied("", "uid %d may use no profile", c.UID)
}

// requireAdmin refuses callers who may not administer the profile, or without a name
// may not manage profiles.
func (d *Daemon) requireAdmin(ctx context.Context, name string) error {
	c, st := d.caller(ctx), d.state.Load()
	if st.administers(c, st.profiles[name]) {
		return nil
	}
	what := "manage profiles; root may, and so may the admin_users and admin_groups of "
	if name != "" {
		what = "rotate or edit the profile " + name + "; root may, and so may the admin_users and admin_groups of its file and of "
	}
	return denied("admin_users", "uid %d may not %s%s", c.UID, what, d.dirs.ConfigFile())
}

// ownersOnly refuses a setting that only tokend's owner may set.
func ownersOnly(c *Caller, setting string) error {
	return denied(setting, "uid %d may not set %s; only root and the user that tokend runs as may", c.UID, setting)
}

// AuditLog returns those entries of the audit log that the caller may see, with the names
// of their users: all for those who may manage profiles, else the caller's own. read
// returns the entries whose lines hold a text.
func AuditLog(ctx context.Context, d *Daemon, read func(part string) iter.Seq[token.AuditEntry]) (iter.Seq[token.AuditEntry], error) {
	if err := d.Admit(ctx, "", false); err != nil {
		return nil, err
	}
	c, all, part := d.caller(ctx), d.requireAdmin(ctx, "") == nil, ""
	if !all {
		part = fmt.Sprintf(`"uid":%d,`, c.UID) // only a few lines are parsed then
	}
	return func(yield func(token.AuditEntry) bool) {
		users := userNames{}
		for e := range read(part) {
			e.User = *users.named(e.User)
			if ctx.Err() != nil || (all || e.UID == c.UID) && !yield(e) {
				return
			}
		}
	}, nil
}

func denied(field, format string, args ...any) error {
	return &token.Error{Code: token.ErrDenied, Field: field, Message: fmt.Sprintf(format, args...)}
}
