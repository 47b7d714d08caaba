package daemon

import (
	"context"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"

	"tokend/providers/token"
)

// Who may do what. There are two rights: to use a profile (its tokens,
// signatures and verdicts, and to see how it is), which its allow_users and
// allow_groups give, and to manage profiles, which config.toml's admin_users
// and admin_groups give; neither includes the other. Root and the user that
// tokend runs as have both. What a caller may not use does not exist for it.

// A Caller is who asks over the socket, as the kernel told when it connected.
type Caller struct {
	UID    int
	Groups []int
	// PID and Program, what its process calls itself, are labels to tell
	// people, never to decide on. Program may be nil.
	PID     int
	Program func() string
}

// An allowance is a list of users and groups, by name or number.
type allowance struct {
	uids, gids []int
	// unknown are the names that this machine does not know. They allow
	// nobody.
	unknown []string
}

func newAllowance(users, groups []string) (a allowance) {
	for _, name := range users {
		if uid, err := userID(name); err == nil {
			a.uids = append(a.uids, uid)
		} else {
			a.unknown = append(a.unknown, err.Error())
		}
	}
	for _, name := range groups {
		if gid, err := groupID(name); err == nil {
			a.gids = append(a.gids, gid)
		} else {
			a.unknown = append(a.unknown, err.Error())
		}
	}
	return a
}

func (a *allowance) has(c Caller) bool {
	return a != nil && (slices.Contains(a.uids, c.UID) ||
		slices.ContainsFunc(c.Groups, func(gid int) bool { return slices.Contains(a.gids, gid) }))
}

// userID is a uid that is given as such or as a name.
func userID(text string) (int, error) {
	if n, err := strconv.ParseUint(text, 10, 31); err == nil {
		return int(n), nil
	}
	u, err := user.Lookup(text)
	if err != nil {
		return 0, fmt.Errorf("there is no user %q", text)
	}
	return strconv.Atoi(u.Uid)
}

// groupID is a gid that is given as such or as a name.
func groupID(text string) (int, error) {
	if n, err := strconv.ParseUint(text, 10, 31); err == nil {
		return int(n), nil
	}
	g, err := user.LookupGroup(text)
	if err != nil {
		return 0, fmt.Errorf("there is no group %q", text)
	}
	return strconv.Atoi(g.Gid)
}

// A who is a caller as policy sees it; nil is tokend itself.
type who *Caller

func (d *Daemon) who(ctx context.Context) who {
	if c, ok := d.deps.Caller(ctx); ok {
		return &c
	}
	return nil
}

// sovereign tells of those who have every right: they could read tokend's
// memory and files anyway.
func sovereign(w who) bool { return w == nil || w.UID == 0 || w.UID == os.Geteuid() }

// mayUse tells whether w may use p.
func mayUse(w who, p *profile) bool { return sovereign(w) || p.allowed.has(*w) }

// mayManage tells whether w may manage profiles. d.mu is held.
func (d *Daemon) mayManage(w who) bool { return sovereign(w) || d.admins.has(*w) }

// use finds a profile for somebody to use. One that w may not use is not
// found, in the same words as one that is not there. d.mu is held.
func (d *Daemon) use(w who, name string) (*profile, error) {
	p := d.profiles[name]
	switch {
	case p != nil && mayUse(w, p):
		return p, nil
	case p != nil || !d.mayManage(w):
		return nil, noProfile(name)
	}
	return nil, d.noProfile(name)
}

// see finds a profile for somebody to look at: to use it, or to manage it.
// d.mu is held.
func (d *Daemon) see(w who, name string) (*profile, error) {
	if p := d.profiles[name]; p != nil && d.mayManage(w) {
		return p, nil
	}
	return d.use(w, name)
}

// permitManaging refuses those who may not manage profiles.
func (d *Daemon) permitManaging(ctx context.Context) error {
	w := d.who(ctx)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.mayManage(w) {
		return nil
	}
	return &token.Error{Code: token.ErrDenied, Field: "admin_users", Message: fmt.Sprintf(
		"uid %d may not manage profiles; root may, and whom admin_users and admin_groups in %s name", w.UID, d.dirs.ConfigFile())}
}
