package token

import (
	"errors"
	"io/fs"
	"time"
)

// A Code is the identity of an error, the same on both sides of the socket:
// it is an error itself, so errors.Is(err, token.ErrNotFound) asks for it in
// the daemon and in tokenctl alike.
type Code string

// Error makes a Code usable as a sentinel.
func (c Code) Error() string { return codeText[c] }

// The codes. docs/protocol.md gives each its HTTP status, cmd/tokenctl its
// exit status.
const (
	// ErrNotFound: no such profile, or no such secret in the keystore.
	ErrNotFound Code = "not_found"
	// ErrExists: the name is taken.
	ErrExists Code = "exists"
	// ErrDenied: this caller may not.
	ErrDenied Code = "denied"
	// ErrRejected: the issuer said no, and asking again will not help.
	ErrRejected Code = "rejected"
	// ErrUnavailable: the issuer could not be asked or could not answer; the
	// next try may succeed.
	ErrUnavailable Code = "unavailable"
	// ErrLocked: the OS keyring is there but locked.
	ErrLocked Code = "locked"
	// ErrKeystore: the keystore cannot be reached or does not fit what it
	// should open (no session bus, no keyring service, another key).
	ErrKeystore Code = "keystore"
	// ErrInvalid: a bad request or configuration.
	ErrInvalid Code = "invalid"
	// ErrNoDaemon: nobody answers at the socket. Said by clients alone.
	ErrNoDaemon Code = "no_daemon"
	// ErrInternal: a fault of tokend's own.
	ErrInternal Code = "internal"
)

// ErrNoCredential, as the Cause of an ErrInvalid, tells that a setting is
// missing which comes with the profile's credential. It never crosses the wire.
const ErrNoCredential Code = "no_credential"

// AnotherPath, as the Detail of an ErrNotFound, tells that a profile claims
// another path on the host of the URL that nobody claims.
const AnotherPath = "another_path"

// RateLimited, as the Topic of an ErrUnavailable, tells that the issuer is asked
// more often than it takes (HTTP status 429).
const RateLimited = "rate-limit"

var codeText = map[Code]string{
	ErrNotFound:    "not found",
	ErrExists:      "exists already",
	ErrDenied:      "access denied",
	ErrRejected:    "refused by the issuer",
	ErrUnavailable: "issuer unavailable",
	ErrLocked:      "keyring locked",
	ErrKeystore:    "keystore unavailable",
	ErrInvalid:     "invalid",
	ErrNoDaemon:    "no daemon",
	ErrInternal:    "internal error",

	ErrNoCredential: "no credential is stored",
}

// An Error adds to a Code what the caller does not know. Its JSON form is the
// "error" member of every refusal on the wire (docs/protocol.md).
type Error struct {
	Code Code `json:"code"`
	// Message states the facts in one line, without a secret, ready for a
	// person. Hints on what to do belong to whoever shows it.
	Message string `json:"message"`
	// OAuth is the issuer's "error" parameter (RFC 6749 §5.2), if it gave one.
	OAuth string `json:"oauth_error,omitempty"`
	// Detail is the issuer's own finer code, such as AADSTS7000215, or
	// AnotherPath.
	Detail string `json:"detail,omitempty"`
	// Topic names the text of docs/errors.md that explains the error, which
	// "tokenctl explain" prints; empty if there is none.
	Topic string `json:"topic,omitempty"`
	// Field names the setting or parameter that is wrong or missing.
	Field string `json:"field,omitempty"`
	// RetryAt says when tokend tries next, or, from a provider, when the
	// issuer asked to be tried again (Retry-After). Zero: not said.
	RetryAt time.Time `json:"retry_at,omitzero"`
	// Cause is what a log may add, kept in this process.
	Cause error `json:"-"`
}

func (e *Error) Error() string {
	if e.Message == "" {
		return e.Code.Error()
	}
	return e.Message
}

// Unwrap makes errors.Is find the Code and the cause.
func (e *Error) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Code}
	}
	return []error{e.Code, e.Cause}
}

// FileFault words an error about a file without the system call that met it:
// "/etc/ca.pem: permission denied".
func FileFault(err error) string {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Path + ": " + path.Err.Error()
	}
	return err.Error()
}
