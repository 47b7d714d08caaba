package token

import (
	"fmt"
	"strings"
)

// maxName is the length of the longest profile name.
const maxName = 64

// CheckName returns an ErrInvalid if name cannot be a profile's name. The names
// it allows are safe in a file name, a URL, a keyring account and a shell.
func CheckName(name string) error {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	if name != "" && len(name) <= maxName && strings.Trim(name, letters+"._-") == "" && strings.Contains(letters, name[:1]) {
		return nil
	}
	return &Error{Code: ErrInvalid, Field: "name", Message: fmt.Sprintf(
		"%.*q is not a valid profile name: use up to %d letters, digits, '.', '_' and '-', and begin with a letter or digit", 2*maxName, name, maxName)}
}
