package ipc

import "os"

// SocketEnv names the environment variable that tells clients where the
// socket is.
const SocketEnv = "TOKEND_SOCKET"

// SocketName is the name of a socket in tokend's directory.
const SocketName = "tokend.sock"

// FindSocket is the socket that a client should talk to: $TOKEND_SOCKET, else
// the user's own daemon's if it is there, else the system's. If neither is there
// it is the user's, which is then the one to start.
func FindSocket() (string, error) {
	if socket := os.Getenv(SocketEnv); socket != "" {
		return socket, nil
	}
	user, err := UserSocket()
	if err == nil && exists(user) {
		return user, nil
	}
	if system := SystemSocket(); exists(system) {
		return system, nil
	}
	return user, err
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
