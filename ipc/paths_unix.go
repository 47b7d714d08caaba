//go:build unix && !darwin

package ipc

import (
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// UserSocket is where a user's own daemon listens: in $XDG_RUNTIME_DIR or the
// directory that stands for it, else in the user's state directory. As the
// XDG specification asks, relative directories count as not set.
func UserSocket() (string, error) {
	if dir := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "tokend", SocketName), nil
	}
	if dir := filepath.Join("/run/user", strconv.Itoa(os.Getuid())); isOurs(dir) {
		return filepath.Join(dir, "tokend", SocketName), nil
	}
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "tokend", SocketName), nil
	}
	home, err := userHome()
	if err != nil {
		return "", err
	}
	return filepath.Join(home, ".local", "state", "tokend", SocketName), nil
}

// SystemSocket is where the daemon of the whole system listens.
func SystemSocket() string { return "/run/tokend/tokend.sock" }

func isOurs(dir string) bool {
	info, err := os.Lstat(dir)
	if err != nil || !info.IsDir() {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == os.Getuid()
}
