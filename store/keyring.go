package store

import (
	"context"
	"errors"
	"runtime"

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
	service string
	limit   int // bytes that one item can hold, 0: any number
	// look returns what is wrong with the keyring, without a prompt.
	look func(context.Context) error
	// Calls and looks have gates of their own, so that State can answer while
	// an Unlock waits for a person.
	calls, looks *gate
}

var (
	errLate = fail(token.ErrKeystore, "keyring-late", nil, "the OS keyring has not answered within %v", callLimit)
	errAsks = fail(token.ErrLocked, "keyring-prompt", nil, "the OS keyring is locked and waits for its prompt to be answered")
)

// NewKeyring returns the OS keyring's items of one service name.
func NewKeyring(service string) *Keyring {
	return &Keyring{service: service, limit: itemLimit, look: look, calls: newGate(callLimit), looks: newGate(callLimit)}
}

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

// Delete removes account and all parts of its secret.
func (k *Keyring) Delete(ctx context.Context, account string) error {
	return k.call(ctx, account, func(i items) error { return i.remove(account) })
}

// call runs op if the keyring can be used.
func (k *Keyring) call(ctx context.Context, account string, op func(items) error) error {
	return explain(account, k.calls.pass(ctx, errLate, func(ctx context.Context) error {
		if err := k.look(ctx); err != nil {
			return err
		}
		return op(items{k, ctx})
	}))
}

// State returns nil if the keyring can be used now, token.ErrLocked if it is
// locked, token.ErrKeystore if it is out of reach. It shows no prompt.
func (k *Keyring) State(ctx context.Context) error {
	return explain("", k.looks.pass(ctx, errLate, k.look))
}

// Unlock asks the system to unlock the keyring, which shows its prompt. It
// returns token.ErrLocked after 3 s without an answer; the prompt stays, and
// an answer given later counts.
func (k *Keyring) Unlock(ctx context.Context) error {
	return explain("", k.calls.pass(ctx, errAsks, func(ctx context.Context) error {
		if err := k.look(ctx); !errors.Is(err, token.ErrLocked) {
			return err
		}
		// Any reading asks for the unlocking; this account need not exist.
		_, err := keyring.Get(k.service, "unlock")
		if errors.Is(err, keyring.ErrNotFound) {
			return nil
		}
		return err
	}))
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
		return fail(token.ErrKeystore, "secret-too-long", err, "%slonger than the OS keyring takes", account)
	case errors.Is(err, keyring.ErrUnsupportedPlatform):
		return fail(token.ErrKeystore, "keyring-unsupported", err, "tokend knows no OS keyring on %s", runtime.GOOS)
	}
	if e := explainSystem(err); e != nil {
		return e
	}
	return fail(token.ErrKeystore, "keyring-error", err, "%sthe OS keyring says: %v", account, err)
}
