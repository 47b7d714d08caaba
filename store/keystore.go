// Package store keeps secrets in a Keystore (the OS keyring, or sealed files
// where there is none), and records which credential of a profile is current
// (Credentials).
//
// It writes no secret in plain text, and no keystore stands in for another:
// Setup makes the choice once and records it.
package store

import (
	"context"
	"errors"
	"fmt"

	"tokend/providers/token"
)

// A Keystore keeps secrets by account name. Its errors are
// token.ErrNotFound, token.ErrLocked (there, but locked), token.ErrKeystore
// (out of reach, or the wrong key) and token.ErrInvalid (an account or a secret
// that no keystore can keep).
type Keystore interface {
	// Get returns exactly what was Set.
	Get(ctx context.Context, account string) (token.Secret, error)
	// Set replaces a secret. If it is interrupted, it leaves the old one or the
	// new one.
	Set(ctx context.Context, account string, s token.Secret) error
	// Delete of a secret that does not exist is no error.
	Delete(ctx context.Context, account string) error
	// State returns nil if the keystore can be used now, else token.ErrLocked or
	// token.ErrKeystore. It never makes a prompt appear.
	State(ctx context.Context) error
}

// State returns a keystore's state in words: "ok", "locked" (with more words if it
// is not the password that it wants), or what is wrong.
func State(ctx context.Context, ks Keystore) string {
	err := ks.State(ctx)
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, errConfirm):
		return "locked: " + err.Error() + " (tokenctl unlock)"
	case errors.Is(err, token.ErrLocked):
		return "locked"
	}
	return err.Error()
}

// maxSecret is the longest secret that is kept, in bytes. The longest real ones,
// RSA-8192 keys, have 5 kB.
const maxSecret = 1 << 20

// checkEntry checks that a keystore can keep s under account.
func checkEntry(account string, s token.Secret) error {
	switch {
	case s.IsZero():
		return fail(token.ErrInvalid, "", nil, "%s: the secret is empty", account)
	case len(s.Reveal()) > maxSecret:
		return fail(token.ErrInvalid, "secret-too-long", nil, "%s: the secret is longer than %d bytes", account, maxSecret)
	}
	return nil
}

// checkSame checks that ks returns want for account.
func checkSame(ctx context.Context, ks Keystore, account string, want token.Secret) error {
	got, err := ks.Get(ctx, account)
	if err == nil && !got.Equal(want) {
		err = fail(token.ErrKeystore, "keystore-unfaithful", nil, "%s: the keystore does not return what was stored", account)
	}
	return err
}

// broken explains the error of a file, which of names, nil if there is none.
func broken(topic, of string, err error) error {
	if err == nil {
		return nil
	}
	return fail(token.ErrKeystore, topic, err, "%s: %s", of, token.FileFault(err))
}

// fail makes an error of this package: a code, a topic of docs/errors.md, the
// cause, and one line of facts. Without a topic it has that of its cause.
func fail(code token.Code, topic string, cause error, format string, args ...any) error {
	if from := (*token.Error)(nil); topic == "" && errors.As(cause, &from) {
		topic = from.Topic
	}
	fault := token.DiskFault(cause)
	if fault != "" {
		topic = "disk-full"
	}
	return &token.Error{Code: code, Topic: topic, Message: fault + fmt.Sprintf(format, args...), Cause: cause}
}
