package store

import (
	"context"
	"errors"
	"runtime"

	"github.com/zalando/go-keyring"

	"tokend/providers/token"
)

// explain gives an error of a keyring call the code and the words that tokend
// has for it. go-keyring exports three errors and passes on whatever else the
// system said; what that means is told apart here and in the explainSystem of
// each system, and nowhere else. account may be empty.
func explain(account string, err error) error {
	if err == nil {
		return nil
	}
	if account != "" {
		account += ": "
	}
	var own *token.Error
	switch {
	case errors.As(err, &own):
		return err
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, keyring.ErrNotFound):
		return about("secret-missing", fail(token.ErrNotFound, nil, "%snot in the OS keyring", account))
	case errors.Is(err, keyring.ErrSetDataTooBig):
		return about("secret-too-long", fail(token.ErrKeystore, err, "%slonger than the OS keyring takes", account))
	case errors.Is(err, keyring.ErrUnsupportedPlatform):
		return about("keyring-unsupported", fail(token.ErrKeystore, err, "tokend knows no OS keyring on %s", runtime.GOOS))
	}
	if e := explainSystem(err); e != nil {
		return e
	}
	return about("keyring-error", fail(token.ErrKeystore, err, "%sthe OS keyring says: %v", account, err))
}
