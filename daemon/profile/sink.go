package profile

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"tokend/providers/token/format"
)

// A Sink is a file in which tokend keeps a profile's token, for programs that
// read files.
type Sink struct {
	// Path is absolute. The directory must exist.
	Path string `toml:"path"`
	// Resource is the resource whose token it is, empty for the profile's own.
	Resource string `toml:"resource"`
	// Format is one of format.Names; "token" is the bare token without a
	// newline.
	Format string `toml:"format"`
	// Second: the profile's second header is written too.
	Second bool `toml:"second_header"`
	// MinTTL is the least remaining life that a reader can use.
	MinTTL Duration `toml:"min_ttl"`
	// Mode, Owner and Group are the file's. The mode is written in octal digits, in
	// quotes: "0640". Owner and group are names or numbers; empty leaves them as they
	// come.
	Mode  string `toml:"mode"`
	Owner string `toml:"owner"`
	Group string `toml:"group"`
	// RemoveAtStop removes the file when tokend stops.
	RemoveAtStop bool `toml:"remove_at_stop"`
}

const (
	// sinkLife is the default of MinTTL.
	sinkLife = 5 * time.Minute
	// sinkAhead is how long before a file must go tokend obtains the next token.
	sinkAhead = time.Minute
)

// check fills in the defaults and returns what is wrong with s.
func (s *Sink) check() error {
	s.Format = cmp.Or(s.Format, format.Names[0])
	s.MinTTL.Duration = cmp.Or(s.MinTTL.Duration, sinkLife)
	s.Mode = cmp.Or(s.Mode, "0600")
	mode := s.Perm()
	switch {
	case s.Path == "":
		return errors.New("path is missing")
	case !filepath.IsAbs(s.Path) || filepath.Clean(s.Path) != s.Path || strings.ContainsFunc(s.Path, func(r rune) bool { return r < ' ' }):
		return fmt.Errorf("path: %q is not an absolute path in its plain form", s.Path)
	case len(s.Mode) < 3 || mode > 0o777 || mode&0o400 == 0 || mode&0o133 != 0: // others may only read
		return fmt.Errorf(`mode: %q is not a mode for a readable file, such as "0600" or "0640"`, s.Mode)
	case format.Named(s.Format) == nil:
		return fmt.Errorf("format: %q is not one of %s", s.Format, strings.Join(format.Names[:], ", "))
	case s.Second && (s.Format == "token" || s.Format == "netrc"):
		return fmt.Errorf("second_header: the format %s cannot hold it; header, curl, env and json can", s.Format)
	case runtime.GOOS == "windows" && s.Owner+s.Group != "":
		return errors.New("owner and group are not for Windows: the file inherits the directory's permissions")
	}
	_, _, err := s.IDs()
	return err
}

// Perm returns the file's mode, 0 for a bad one.
func (s Sink) Perm() fs.FileMode {
	bits, _ := strconv.ParseUint(s.Mode, 8, 12)
	return fs.FileMode(bits)
}

// IDs returns the numbers of the file's owner and group, -1 for "as it comes".
func (s Sink) IDs() (uid, gid int, err error) {
	uid, gid = -1, -1
	if s.Owner != "" {
		if uid, err = userID(s.Owner); err != nil {
			return 0, 0, err
		}
	}
	if s.Group != "" {
		gid, err = groupID(s.Group)
	}
	return uid, gid, err
}

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
