package confine

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"

	"tokend/providers/token"
)

const (
	mayRead   = ll.AccessFSReadFile | ll.AccessFSReadDir
	maySocket = ll.AccessFSRemoveFile | ll.AccessFSMakeSock
	mayWrite  = mayRead | ll.AccessFSRemoveFile | ll.AccessFSRemoveDir | ll.AccessFSWriteFile | ll.AccessFSTruncate | ll.AccessFSMakeReg | ll.AccessFSMakeDir
	ofFiles   = ll.AccessFSReadFile | ll.AccessFSWriteFile | ll.AccessFSTruncate
)

// Enter confines this process for good, and returns the outcome: "landlock: ok",
// or why not. The process cannot start programs from then on. Landlock restricts
// only files here, not sockets.
func (f Files) Enter() string {
	probes := f.probes()
	rules := slices.Concat(allow(mayRead, f.read), allow(mayWrite, f.write), allow(maySocket, f.socket))
	if err := landlock.V5.BestEffort().RestrictPaths(rules...); err != nil {
		return "landlock: not active: " + err.Error()
	}
	// A kernel without Landlock, and a filter of system calls that hides it, make
	// the same impression as success: so try something forbidden.
	for _, path := range probes {
		switch err := openable(path); {
		case err == nil && path == "/":
			return "landlock: not active: the kernel does not offer it, or the service's SystemCallFilter= forbids it"
		case err == nil:
			return "landlock: not active: tokend can still read " + path
		}
	}
	if f.opensHome {
		return "landlock: all of your home is open to tokend, because a sink or the audit log is directly in it; give that a directory of its own"
	}
	return "landlock: ok"
}

// probes returns what no rule allows: the root, the home and the working directory,
// and a file of each.
func (f Files) probes() (paths []string) {
	home, _ := os.UserHomeDir()
	here, _ := os.Getwd()
	for _, dir := range []string{"/", home, here} {
		paths = append(paths, dir)
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			if path := filepath.Join(dir, e.Name()); e.Type().IsRegular() && openable(path) == nil {
				paths = append(paths, path)
				break
			}
		}
	}
	return slices.DeleteFunc(paths, f.allows)
}

// allows reports whether a rule covers path.
func (f Files) allows(path string) bool {
	path, _ = filepath.EvalSymlinks(path)
	return slices.ContainsFunc(slices.Concat(f.read, f.write), func(allowed string) bool {
		real, err := filepath.EvalSymlinks(allowed)
		if err != nil || allowed == "" {
			return false
		}
		below, err := filepath.Rel(real, path)
		return err == nil && filepath.IsLocal(below)
	})
}

// allow returns rules for the paths that exist, for a file with those rights that
// files can have.
func allow(rights landlock.AccessFSSet, paths []string) (rules []landlock.Rule) {
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			continue
		}
		granted := rights
		if !info.IsDir() {
			granted &= ofFiles
		}
		rules = append(rules, landlock.PathAccess(granted, path).IgnoreIfMissing())
	}
	return rules
}

// DenyTracing keeps processes of the same user from reading this one's memory
// (ptrace, /proc/PID/mem) and the kernel from dumping it.
func DenyTracing() { _ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) }

// minUsers is the least number of users in a user namespace in which a service
// can distinguish its callers: 16 bits of them, as in containers. systemd's
// PrivateUsers=yes has two, root and the service's own user.
const minUsers = 1 << 16

// CheckUsers refuses to serve many users from a user namespace with few: the
// kernel shows all others as one (user_namespaces(7)), and tokend would refuse
// them all without saying why.
func CheckUsers() error {
	text, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return nil // no /proc, or a kernel without user namespaces
	}
	return checkUIDMap(string(text))
}

// checkUIDMap checks a uid_map: ranges of first uid inside, first uid outside and
// length.
func checkUIDMap(text string) error {
	users := 0
	for triple := range slices.Chunk(strings.Fields(text), 3) {
		count, _ := strconv.Atoi(triple[len(triple)-1])
		users += count
	}
	if users < minUsers {
		return &token.Error{Code: token.ErrInvalid, Message: fmt.Sprintf(
			"the system service cannot tell its callers apart: its user namespace has %d users and shows all others as one (remove PrivateUsers= from the unit and its drop-ins: systemctl cat tokend)", users)}
	}
	return nil
}
