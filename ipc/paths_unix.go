//go:build unix

package ipc

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"

	"tokend/providers/token"
)

// UserSocket is where a user's own daemon listens: in $XDG_RUNTIME_DIR or the
// directory that stands for it, else in the user's state directory. As the
// XDG specification asks, relative directories count as not set. macOS has
// "Application Support" for all of these.
func UserSocket() (string, error) {
	runtimeDir, session, state := os.Getenv("XDG_RUNTIME_DIR"), "/run/user/"+strconv.Itoa(os.Getuid()), os.Getenv("XDG_STATE_HOME")
	home, err := os.UserHomeDir()
	dir := filepath.Join(home, ".local", "state")
	switch {
	case runtime.GOOS == "darwin":
		dir = filepath.Join(home, "Library", "Application Support")
	case filepath.IsAbs(runtimeDir):
		dir = runtimeDir
	case isOurs(session):
		dir = session
	case filepath.IsAbs(state):
		dir = state
	}
	if !filepath.IsAbs(dir) {
		return "", &token.Error{Code: token.ErrInvalid, Field: "HOME",
			Message: "no place for tokend's socket: HOME is not set to an absolute path", Cause: err}
	}
	return filepath.Join(dir, "tokend", SocketName), nil
}

// SystemSocket is where the daemon of the whole system listens.
func SystemSocket() string {
	if runtime.GOOS == "darwin" {
		return "/var/run/tokend/tokend.sock"
	}
	return "/run/tokend/tokend.sock"
}

func isOurs(dir string) bool {
	info, err := os.Lstat(dir)
	return err == nil && info.IsDir() && OwnerOf(info) == os.Getuid()
}

// OwnerOf returns the uid that a file belongs to.
func OwnerOf(info os.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Uid) }
