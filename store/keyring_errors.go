package store

import (
	"context"
	"errors"
	"runtime"

	"github.com/zalando/go-keyring"

	"tokend/providers/token"
)

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
