package profile

import (
	"fmt"
	"os/user"
	"slices"
	"strconv"
)

// An Allowance is a list of users and groups.
type Allowance struct {
	uids, gids []int
	// Unknown explains which names this machine does not know. They allow no one.
	Unknown []string
}

// NewAllowance looks up users and groups, which are names or numbers. It may
// ask a directory service.
func NewAllowance(users, groups []string) (a Allowance) {
	a.uids = a.lookup(users, userID)
	a.gids = a.lookup(groups, groupID)
	return a
}

func (a *Allowance) lookup(names []string, id func(string) (int, error)) (ids []int) {
	for _, name := range names {
		if n, err := id(name); err == nil {
			ids = append(ids, n)
		} else {
			a.Unknown = append(a.Unknown, err.Error())
		}
	}
	return ids
}

// Has reports whether the list has the user or one of the groups.
func (a Allowance) Has(uid int, groups []int) bool {
	return slices.Contains(a.uids, uid) ||
		slices.ContainsFunc(groups, func(gid int) bool { return slices.Contains(a.gids, gid) })
}

// userID returns the uid that text is, or that the user of that name has.
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

// groupID is userID for groups.
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
