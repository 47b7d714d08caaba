package store

import (
	"context"
	"errors"
	"runtime"
	"time"

	"github.com/zalando/go-keyring"

	"tokend/providers/token"
)

// A Keyring is the keystore of the operating system: the Secret Service on
// Linux, the login keychain on macOS, the credential manager on Windows. Every call ends within 3 s.
//
// Where the system says that it is locked, Get, Set and Delete never make a
// prompt appear: a daemon that renews in the background would ask again and
// again. Unlock asks.
type Keyring struct {
	ring  ring
	limit int // bytes that one item can hold, 0: any number
	// Calls, looks and what a person is asked have gates of their own: the others go
	// on while one waits for a person.
	calls, looks, asks *gate
}

// A ring is the system's keyring: a text for each account.
type ring interface {
	get(ctx context.Context, account string) (string, error)
	set(ctx context.Context, account, text string) error
	// remove may ask a person, and then waits for the answer, however long.
	remove(ctx context.Context, account string) error
	// look returns what is wrong with the keyring, without a prompt.
	look(ctx context.Context) error
	// unlock asks a person, and waits for the answer, however long.
	unlock(ctx context.Context) error
	// asks reports whether every new program must ask a person.
	asks(ctx context.Context) bool
}

var (
	errLate = fail(token.ErrKeystore, "keyring-late", nil, "the OS keyring has not answered within %v", callLimit)
	errAsks = fail(token.ErrLocked, "keyring-prompt", nil, "the OS keyring waits for its prompt to be answered")
	// errConfirm is the state of a keyring that is unlocked, but not for tokend.
	errConfirm = fail(token.ErrLocked, "keyring-confirm", nil, "a person must allow tokend to read its secrets in the OS keyring")
	errRefused = fail(token.ErrLocked, "keyring-refused", nil, "the OS keyring's prompt ended without a yes")
)

// NewKeyring returns the OS keyring's items of one service name.
func NewKeyring(service string) *Keyring {
	return &Keyring{ring: systemRing{service}, limit: itemLimit,
		calls: newGate(callLimit, errLate), looks: newGate(callLimit, errLate), asks: newGate(callLimit, errAsks)}
}

// patience is how long a person at a terminal may take to answer a prompt.
const patience = 24 * time.Hour

// NewPatientKeyring returns a Keyring whose Unlock and Delete wait for a person as
// long as the person needs.
func NewPatientKeyring(service string) *Keyring {
	k := NewKeyring(service)
	k.asks = newGate(patience, errAsks)
	return k
}

// Asks reports whether a person must allow every new program, so tokend after each
// start, to read what k holds.
func (k *Keyring) Asks(ctx context.Context) bool { return k.ring.asks(ctx) }

// Get returns the secret of account.
func (k *Keyring) Get(ctx context.Context, account string) (token.Secret, error) {
	var s token.Secret
	err := k.call(ctx, account, func(i items) (err error) {
		s, err = i.value(account)
		return err
	})
	if err != nil {
		return token.Secret{}, err // the call may still be under way, and set s
	}
	return s, nil
}

// Set keeps s under account. If it runs out of time, the system may still carry
// out its last step later: it then holds the old secret or the new one.
func (k *Keyring) Set(ctx context.Context, account string, s token.Secret) error {
	if err := checkEntry(account, s); err != nil {
		return err
	}
	return k.call(ctx, account, func(i items) error { return i.replace(account, s) })
}

// Delete removes account and all parts of its secret. Where the system asks a
// person first, Delete returns token.ErrLocked after 3 s without an answer, as
// Unlock does.
func (k *Keyring) Delete(ctx context.Context, account string) error {
	return explain(account, k.asks.pass(ctx, func(ctx context.Context) error { return items{k, ctx}.remove(account) }))
}

// call runs op.
func (k *Keyring) call(ctx context.Context, account string, op func(items) error) error {
	return explain(account, k.calls.pass(ctx, func(ctx context.Context) error { return op(items{k, ctx}) }))
}

// State returns nil if the keyring can be used now, token.ErrLocked if it is
// locked, token.ErrKeystore if it is out of reach. It shows no prompt.
func (k *Keyring) State(ctx context.Context) error {
	return explain("", k.looks.pass(ctx, k.ring.look))
}

// Unlock asks the system to unlock the keyring, which shows its prompt. It
// returns token.ErrLocked after 3 s without an answer; the prompt stays, and
// an answer given later counts.
func (k *Keyring) Unlock(ctx context.Context) error {
	return explain("", k.asks.pass(ctx, k.ring.unlock))
}

// explain turns an error of a keyring call into one of tokend's. go-keyring exports
// three errors and passes on whatever else the system says; explain and each
// system's explainSystem alone know what that means. account may be empty.
func explain(account string, err error) error {
	if err == nil {
		return nil
	}
	if account != "" {
		account += ": "
	}
	var own *token.Error
	switch {
	case errors.As(err, &own), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, keyring.ErrNotFound):
		return fail(token.ErrNotFound, "secret-missing", nil, "%snot in the OS keyring", account)
	case errors.Is(err, keyring.ErrSetDataTooBig):
		return fail(token.ErrKeystore, "secret-too-long", err, "%slonger than the OS keyring accepts", account)
	case errors.Is(err, keyring.ErrUnsupportedPlatform):
		return fail(token.ErrKeystore, "keyring-unsupported", err, "tokend knows no OS keyring on %s", runtime.GOOS)
	}
	if e := explainSystem(err); e != nil {
		return e
	}
	return fail(token.ErrKeystore, "keyring-error", err, "%sthe OS keyring says: %v", account, err)
}
