// Package store keeps what outlives a run of tokend: secrets in a Keystore
// (the OS keyring, or sealed files where there is none), which credential of a
// profile is current (Credentials), and tokens already obtained (Cache).
//
// Nothing of it is ever written in plain text, and no keystore stands in for
// another: the choice is made once, by Setup, and recorded.
package store

import (
	"context"
	"errors"
	"fmt"

	"tokend/providers/token"
)

// A Keystore keeps secrets by account name. Its errors are
// token.ErrNotFound, token.ErrLocked (there, but locked), token.ErrKeystore
// (not to be reached, or not fit for what it should open) and
// token.ErrInvalid (an account or a secret that nothing could keep).
//
// Get gives exactly what was Set. Set replaces; a Set that is interrupted
// leaves the old secret or the new one, never less. Delete of what is not
// there is no error.
type Keystore interface {
	Get(ctx context.Context, account string) (token.Secret, error)
	Set(ctx context.Context, account string, s token.Secret) error
	Delete(ctx context.Context, account string) error
}

// State says in words how a keystore is: "ok", "locked", or what is wrong.
// It never makes a prompt appear.
func State(ctx context.Context, ks Keystore) string {
	err := Check(ctx, ks)
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, token.ErrLocked):
		return "locked"
	}
	return err.Error()
}

// Check is why a keystore cannot be used now: nil, token.ErrLocked or
// token.ErrKeystore. It never makes a prompt appear.
func Check(ctx context.Context, ks Keystore) error {
	if stater, ok := ks.(interface{ State(context.Context) error }); ok {
		return stater.State(ctx)
	}
	return nil
}

// maxSecret is the longest secret that is kept, in bytes. The longest real
// ones, RSA-8192 keys, have 5 kB; what is far longer is not a secret.
const maxSecret = 1 << 20

// checkEntry tells whether a keystore can keep s under account.
func checkEntry(account string, s token.Secret) error {
	switch {
	case account == "":
		return fail(token.ErrInvalid, nil, "an account needs a name")
	case s.IsZero():
		return fail(token.ErrInvalid, nil, "%s: an empty secret is not kept", account)
	case len(s.Reveal()) > maxSecret:
		return about("secret-too-long", fail(token.ErrInvalid, nil, "%s: the secret is longer than %d bytes", account, maxSecret))
	}
	return nil
}

// fail makes an error of this package: a code, one line of facts, the cause,
// whose topic is its own too.
func fail(code token.Code, cause error, format string, args ...any) error {
	e := &token.Error{Code: code, Message: fmt.Sprintf(format, args...), Cause: cause}
	if from := (*token.Error)(nil); errors.As(cause, &from) {
		e.Topic = from.Topic
	}
	return e
}

// about gives an error that fail made the topic of docs/errors.md.
func about(topic string, err error) error {
	err.(*token.Error).Topic = topic
	return err
}
