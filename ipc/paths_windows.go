package ipc

import (
	"fmt"

	"golang.org/x/sys/windows"
)

// UserSocket is the named pipe of a user's own daemon.
func UserSocket() (string, error) {
	sid, err := OwnSID()
	if err != nil {
		return "", err
	}
	return `\\.\pipe\tokend-` + sid.String(), nil
}

// SystemSocket is the named pipe of the daemon of the whole system.
func SystemSocket() string { return `\\.\pipe\tokend` }

// OwnSID is the user's security identifier.
func OwnSID() (*windows.SID, error) {
	user, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return nil, fmt.Errorf("asking Windows for the user's SID: %w", err)
	}
	return user.User.Sid, nil
}
