package confine

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"tokend/providers/token"
)

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
