package store

import (
	"errors"
	"os/exec"

	"tokend/providers/token"
)

// itemLimit keeps the command line that go-keyring sends to security(1), with
// the secret in base64, under its limit of 4096 bytes.
const itemLimit = 2400

// The exit status of security(1) is the low byte of an OSStatus.
const (
	exitInteractionNotAllowed = 36  // errSecInteractionNotAllowed, -25308
	exitAuthFailed            = 51  // errSecAuthFailed, -25293
	exitUserCanceled          = 128 // errSecUserCanceled, -128
	exitNoDefaultKeychain     = 37  // errSecNoDefaultKeychain, -25307
)

func explainSystem(err error) error {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return nil
	}
	switch exit.ExitCode() {
	case exitInteractionNotAllowed, exitAuthFailed, exitUserCanceled:
		return fail(token.ErrLocked, "keyring-locked", err, "the login keychain is locked")
	case exitNoDefaultKeychain:
		return fail(token.ErrKeystore, "no-keychain", err, "this user has no default keychain")
	}
	return nil
}
