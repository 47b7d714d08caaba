package store

import (
	"context"
	"errors"

	"github.com/zalando/go-keyring"

	"tokend/providers/token"
)

// A Keyring is the keystore of the operating system: the Secret Service on
// Linux and the BSDs, the login keychain on macOS, the credential manager on
// Windows. Every call ends within 3 s.
//
// Get, Set and Delete never make a prompt appear where the system tells that
// it is locked: a daemon that renews in the background would ask again and
// again. Unlock asks.
type Keyring struct {
	service string
	limit   int // bytes that one item can hold, 0: any number
	// look says what is wrong with the keyring, without a prompt.
	look func(context.Context) error
	// Calls and looks have gates of their own, so that State can answer while
	// an Unlock waits for a person.
	calls, looks *gate
}

var (
	errLate = about("keyring-late", fail(token.ErrKeystore, nil, "the OS keyring has not answered within %v", callLimit))
	errAsks = about("keyring-prompt", fail(token.ErrLocked, nil, "the OS keyring is locked and waits for its prompt to be answered"))
)

// NewKeyring gives the OS keyring's items of one service name.
func NewKeyring(service string) *Keyring {
	return &Keyring{service: service, limit: itemLimit, look: look, calls: newGate(), looks: newGate()}
}

// Get returns the secret of account.
func (k *Keyring) Get(ctx context.Context, account string) (token.Secret, error) {
	s, err := pass(ctx, k.calls, errLate, func(ctx context.Context) (token.Secret, error) {
		if err := k.look(ctx); err != nil {
			return token.Secret{}, err
		}
		return items{k, ctx}.value(account)
	})
	return s, explain(account, err)
}

// Set keeps s under account. If it fails for lack of time, the system may
// still carry out its last step later: what is there then is the old secret
// or the new one, as a whole.
func (k *Keyring) Set(ctx context.Context, account string, s token.Secret) error {
	if err := checkEntry(account, s); err != nil {
		return err
	}
	_, err := pass(ctx, k.calls, errLate, func(ctx context.Context) (struct{}, error) {
		if err := k.look(ctx); err != nil {
			return struct{}{}, err
		}
		return struct{}{}, items{k, ctx}.replace(account, s)
	})
	return explain(account, err)
}

// Delete removes account and all parts of its secret. What is not there is
// no error.
func (k *Keyring) Delete(ctx context.Context, account string) error {
	_, err := pass(ctx, k.calls, errLate, func(ctx context.Context) (struct{}, error) {
		if err := k.look(ctx); err != nil {
			return struct{}{}, err
		}
		return struct{}{}, items{k, ctx}.remove(account)
	})
	return explain(account, err)
}

// State is nil if the keyring can be used now, token.ErrLocked if it is
// locked, token.ErrKeystore if it cannot be reached. It shows no prompt.
func (k *Keyring) State(ctx context.Context) error {
	_, err := pass(ctx, k.looks, errLate, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, k.look(ctx)
	})
	return explain("", err)
}

// Unlock asks the system to unlock the keyring, which shows its prompt. It
// returns token.ErrLocked after 3 s without an answer; the prompt stays, and
// an answer given later counts.
func (k *Keyring) Unlock(ctx context.Context) error {
	_, err := pass(ctx, k.calls, errAsks, func(ctx context.Context) (struct{}, error) {
		if err := k.look(ctx); !errors.Is(err, token.ErrLocked) {
			return struct{}{}, err
		}
		// Any reading asks for the unlocking; this account need not exist.
		_, err := keyring.Get(k.service, "unlock")
		if errors.Is(err, keyring.ErrNotFound) {
			err = nil
		}
		return struct{}{}, err
	})
	return explain("", err)
}
