//go:build !linux

package store

import (
	"context"
	"errors"

	"github.com/zalando/go-keyring"
)

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
