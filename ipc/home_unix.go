//go:build unix

package ipc

import (
	"os"
	"path/filepath"

	"tokend/providers/token"
)

func userHome() (string, error) {
	home, err := os.UserHomeDir()
	if err != nil || !filepath.IsAbs(home) {
		return "", &token.Error{Code: token.ErrInvalid, Field: "HOME",
			Message: "no place for tokend's socket: HOME is not set to an absolute path", Cause: err}
	}
	return home, nil
}
