package ipc

import "path/filepath"

// UserSocket is where a user's own daemon listens.
func UserSocket() (string, error) {
	home, err := userHome()
	if err != nil {
		return "", err
	}
	return filepath.Join(home, "Library", "Application Support", "tokend", SocketName), nil
}

// SystemSocket is where the daemon of the whole system listens.
func SystemSocket() string { return "/var/run/tokend/tokend.sock" }
