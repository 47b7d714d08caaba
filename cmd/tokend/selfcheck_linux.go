package main

import (
	"bufio"
	"fmt"
	"io"
	"os"

	"tokend/providers/token"
)

// fewUsers is how many users a user namespace has at least in which a service
// can tell its callers apart: 16 bits of them, as containers give. systemd's
// PrivateUsers=yes gives two, root and the service's own user.
const fewUsers = 1 << 16

// checkUsers refuses to serve many users from a user namespace that knows few:
// the kernel shows all others as one, and each would be refused without a word
// of why (user_namespaces(7)).
func checkUsers() error {
	f, err := os.Open("/proc/self/uid_map")
	if err != nil {
		return nil // no /proc, or a kernel without user namespaces
	}
	defer func() { _ = f.Close() }()
	return checkUIDMap(f)
}

// checkUIDMap looks at the text of a uid_map: ranges of first uid inside, first
// uid outside and length.
func checkUIDMap(text io.Reader) error {
	var users uint64
	for lines := bufio.NewScanner(text); lines.Scan(); {
		var inside, outside, count uint64
		if _, err := fmt.Sscan(lines.Text(), &inside, &outside, &count); err != nil {
			return &token.Error{Code: token.ErrInvalid, Message: fmt.Sprintf("/proc/self/uid_map: %q: %v", lines.Text(), err)}
		}
		users += count
	}
	if users < fewUsers {
		return &token.Error{Code: token.ErrInvalid, Message: fmt.Sprintf(
			"the system service cannot tell its callers apart: its user namespace knows %d users and shows all others as one (take PrivateUsers= out of the unit and its drop-ins: systemctl cat tokend)", users)}
	}
	return nil
}
