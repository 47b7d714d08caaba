package store

import (
	"errors"

	"golang.org/x/sys/windows"

	"tokend/providers/token"
)

// itemLimit is CRED_MAX_CREDENTIAL_BLOB_SIZE.
const itemLimit = 2560

func explainSystem(err error) error {
	if errors.Is(err, windows.ERROR_NO_SUCH_LOGON_SESSION) {
		return fail(token.ErrKeystore, "no-logon-session", err, "this logon session has no credential manager, as with services and SSH")
	}
	return nil
}
