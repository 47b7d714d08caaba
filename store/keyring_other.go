//go:build !linux

package store

import (
	"context"
	"errors"
	"os/exec"
	"syscall"

	"github.com/zalando/go-keyring"

	"tokend/providers/token"
)

// itemLimit keeps the command line that go-keyring sends to security(1) on macOS, with
// the secret in base64, under its limit of 4096 bytes, and an item on Windows under
// CRED_MAX_CREDENTIAL_BLOB_SIZE, 2560.
const itemLimit = 2400

// The exit status of security(1) is the low byte of an OSStatus.
const (
	exitInteractionNotAllowed = 36  // errSecInteractionNotAllowed, -25308
	exitAuthFailed            = 51  // errSecAuthFailed, -25293
	exitUserCanceled          = 128 // errSecUserCanceled, -128
	exitNoDefaultKeychain     = 37  // errSecNoDefaultKeychain, -25307
)

const noSuchLogonSession = syscall.Errno(1312) // Windows' ERROR_NO_SUCH_LOGON_SESSION

func explainSystem(err error) error {
	status := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		status = exit.ExitCode()
	}
	switch {
	case errors.Is(err, noSuchLogonSession):
		return fail(token.ErrKeystore, "no-logon-session", err, "this logon session has no credential manager, as with services and SSH")
	case status == exitInteractionNotAllowed, status == exitAuthFailed, status == exitUserCanceled:
		return fail(token.ErrLocked, "keyring-locked", err, "the login keychain is locked")
	case status == exitNoDefaultKeychain:
		return fail(token.ErrKeystore, "no-keychain", err, "this user has no default keychain")
	}
	return nil
}

// A systemRing is the keyring of macOS or Windows, by its service name.
type systemRing struct{ service string }

func (r systemRing) get(_ context.Context, account string) (string, error) {
	return keyring.Get(r.service, account)
}

func (r systemRing) set(_ context.Context, account, text string) error {
	return keyring.Set(r.service, account, text)
}

func (r systemRing) remove(_ context.Context, account string) error {
	return keyring.Delete(r.service, account)
}

// look checks that the keyring answers. A locked keychain of macOS fails only when
// a secret is read; the credential manager of Windows is never locked.
func (r systemRing) look(ctx context.Context) error {
	_, err := r.get(ctx, "state") // which need not exist
	if errors.Is(err, keyring.ErrNotFound) {
		return nil
	}
	return err
}

// unlock reads, because any reading asks for the unlocking.
func (r systemRing) unlock(ctx context.Context) error { return r.look(ctx) }

func (r systemRing) asks(context.Context) bool { return false }
