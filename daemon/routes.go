package daemon

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"tokend/daemon/mint"
	"tokend/daemon/profile"
	"tokend/providers/token"
)

// A state is the configuration as it was read, and the profiles. It does not
// change: a reload, or a change of one profile, makes another.
type state struct {
	profile.Opener
	admins   profile.Allowance
	profiles map[string]*entry
	bad      map[string]string // what is wrong with config.toml ("") and profiles
	// routes returns the profiles and resources that obtain tokens by the origins of
	// their hosts, in order of their names.
	routes func() map[string][]*entry
}

// An entry is a profile and what belongs to it.
type entry struct {
	*profile.Profile
	tokens *mint.Tokens // nil if it has none
	*uses
	// resources are entries for Profile.Resources.
	resources []*entry
}

// uses are what the entries that follow each other under one name, and their resources,
// share: when a request was last signed or a token verified, and when each user was last
// warned of the credential's end, by uid.
type uses struct {
	used   atomic.Pointer[mint.Use]
	warned sync.Map
}

// all returns e and its resources.
func (e *entry) all() []*entry { return append([]*entry{e}, e.resources...) }

// next returns a copy of s to change and store.
func (s *state) next() *state {
	n := *s
	n.profiles = maps.Clone(s.profiles)
	n.routes = sync.OnceValue(n.makeRoutes)
	return &n
}

func (s *state) makeRoutes() map[string][]*entry {
	routes := map[string][]*entry{}
	for _, name := range slices.Sorted(maps.Keys(s.profiles)) {
		for _, e := range s.profiles[name].all() {
			for _, host := range e.Hosts {
				origin := token.Origin(host)
				before := routes[origin]
				if e.tokens != nil && (len(before) == 0 || before[len(before)-1] != e) {
					routes[origin] = append(before, e)
				}
			}
		}
	}
	return routes
}

// resolve finds the profile that a caller means, by name, by URL, or by both, and
// which of its hosts covers the URL: of the profiles that c may use, the one whose
// hosts cover it most closely.
func (s *state) resolve(c *Caller, name, url string) (found *entry, host string, err error) {
	if name != "" || url == "" {
		if found, err = s.lookup(c, name); err != nil || url == "" {
			return found, "", err
		}
	}
	if _, err := token.ParseURL(url); err != nil {
		return nil, "", invalid("url", "%s", err.Error())
	}
	var names, near []string // those that cover it best; those with another path there
	for _, e := range s.routes()[token.Origin(url)] {
		if profile, _, _ := strings.Cut(e.Name, "/"); name != "" && e.Name != name && profile != name || !e.mayUse(c) {
			continue
		}
		switch h := token.MatchHost(e.Hosts, url); {
		case h == "":
			near = append(near, fmt.Sprintf("%s has %s", e.Name, strings.Join(e.Hosts, ", ")))
		case len(h) > len(host):
			found, names, host = e, []string{e.Name}, h
		case len(h) == len(host):
			names = append(names, e.Name)
		}
	}
	switch len(names) {
	case 1:
		return found, host, nil
	case 0:
		e := &token.Error{Code: token.ErrNotFound, Field: "url", Message: "no profile covers " + url}
		if name != "" {
			e.Message = fmt.Sprintf("%s is not among the hosts of profile %q", url, name)
		}
		switch {
		case near != nil:
			e.Message += "; on that host, " + strings.Join(near, "; ")
			e.Detail = token.AnotherPath
		case token.HasOwnPermission(url):
			e.Detail = token.OwnPermission
		}
		return nil, "", e
	}
	return nil, "", invalid("url", "profiles %s all cover %s; take it out of the hosts of all but one, or name the profile",
		strings.Join(names, ", "), host)
}

// lookup finds a profile or resource (NAME/RESOURCE) for a caller to use. A profile
// that c may not use is not found, in the same words as one that does not exist.
func (s *state) lookup(c *Caller, name string) (*entry, error) {
	name, resource, _ := strings.Cut(name, "/")
	e := s.profiles[name]
	switch text := s.bad[name]; {
	case e != nil && e.mayUse(c) && resource != "":
		i := slices.IndexFunc(e.resources, func(r *entry) bool { return r.Name == name+"/"+resource })
		if i < 0 {
			return nil, &token.Error{Code: token.ErrNotFound, Field: "resource", Message: e.NoResource(resource)}
		}
		return e.resources[i], nil
	case e != nil && e.mayUse(c):
		return e, nil
	case e == nil && s.isAdmin(c) && text != "" && name != "":
		return nil, invalid("", "profile %q is not active: %s", name, text)
	}
	return nil, noProfile(name)
}

// view finds a profile for a caller to look at.
func (s *state) view(c *Caller, name string) (*entry, error) {
	if e := s.profiles[name]; e != nil && s.mayView(c, e) {
		return e, nil
	}
	return s.lookup(c, name)
}

func noProfile(name string) error {
	return &token.Error{Code: token.ErrNotFound, Message: fmt.Sprintf("no profile %q", name)}
}

func invalid(field, format string, args ...any) *token.Error {
	return &token.Error{Code: token.ErrInvalid, Field: field, Message: fmt.Sprintf(format, args...)}
}
