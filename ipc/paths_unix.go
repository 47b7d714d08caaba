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
	onMac := runtime.GOOS == "darwin"
	if dir := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) && !onMac {
		return filepath.Join(dir, "tokend", SocketName), nil
	}
	if dir := filepath.Join("/run/user", strconv.Itoa(os.Getuid())); isOurs(dir) && !onMac {
		return filepath.Join(dir, "tokend", SocketName), nil
	}
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) && !onMac {
		return filepath.Join(dir, "tokend", SocketName), nil
	}
	home, err := os.UserHomeDir()
	switch {
	case err != nil || !filepath.IsAbs(home):
		return "", &token.Error{Code: token.ErrInvalid, Field: "HOME",
			Message: "no place for tokend's socket: HOME is not set to an absolute path", Cause: err}
	case onMac:
		return filepath.Join(home, "Library", "Application Support", "tokend", SocketName), nil
	}
	return filepath.Join(home, ".local", "state", "tokend", SocketName), nil
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
	if err != nil || !info.IsDir() {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == os.Getuid()
}
