package token

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// A Code identifies an error, on both sides of the socket. It is an error
// itself, so that errors.Is(err, token.ErrNotFound) works in the daemon and in
// tokenctl alike.
type Code string

// Error says what kind of error it is. The map is made here, for a package's own
// would be made at every start of a program.
func (c Code) Error() string {
	return map[Code]string{
		ErrNotFound:     "not found",
		ErrExists:       "exists already",
		ErrDenied:       "access denied",
		ErrRejected:     "refused by the issuer",
		ErrUnavailable:  "issuer unavailable",
		ErrLocked:       "keyring locked",
		ErrKeystore:     "keystore unavailable",
		ErrInvalid:      "invalid",
		ErrNoDaemon:     "no daemon",
		ErrInternal:     "internal error",
		ErrNoCredential: "no credential is stored",
	}[c]
}

// The codes. Their HTTP statuses are in docs/protocol.md, their exit statuses in
// cmd/tokenctl.
const (
	// ErrNotFound: no such profile, or no such secret in the keystore.
	ErrNotFound Code = "not_found"
	// ErrExists: the name is taken.
	ErrExists Code = "exists"
	// ErrDenied: the caller may not do that.
	ErrDenied Code = "denied"
	// ErrRejected: the issuer said no, and asking again will not help.
	ErrRejected Code = "rejected"
	// ErrUnavailable: the issuer could not be reached or could not answer; the
	// next try may succeed.
	ErrUnavailable Code = "unavailable"
	// ErrLocked: the OS keyring is locked.
	ErrLocked Code = "locked"
	// ErrKeystore: the keystore cannot be reached (no session bus, no keyring
	// service), or its key does not open the secrets.
	ErrKeystore Code = "keystore"
	// ErrInvalid: a request or the configuration is wrong.
	ErrInvalid Code = "invalid"
	// ErrNoDaemon: tokend does not answer at the socket. Only clients return it.
	ErrNoDaemon Code = "no_daemon"
	// ErrInternal: a bug in tokend.
	ErrInternal Code = "internal"
)

// ErrNoCredential is the Cause of an ErrInvalid for a missing setting that comes
// with the profile's credential. It never crosses the socket.
const ErrNoCredential Code = "no_credential"

// AnotherPath is the Detail of an ErrNotFound for a URL if a profile covers
// another path on its host.
const AnotherPath = "another_path"

// AskedAgain is the Detail of an ErrUnavailable for an Asker that has the token
// already: if it was refused, the helper has it dropped and asks again.
const AskedAgain = "asked_again"

// RateLimited is the Topic of an ErrUnavailable after too many requests to the
// issuer (HTTP status 429).
const RateLimited = "rate-limit"

// SecretAgain is the Topic of an ErrInvalid for an edit that has the profile's secret sent
// elsewhere, and does not come with it.
const SecretAgain = "secret-again"

// RefusedTwice is the Topic of an ErrUnavailable that helpers get for a while after
// a server refused a token and its successor.
const RefusedTwice = "token-refused"

// An Error is a Code with the details. Its JSON form is the "error" member of
// every refusal (docs/protocol.md).
type Error struct {
	Code Code `json:"code"`
	// Message states the facts in one line for people, without a secret and
	// without advice, which docs/errors.md has.
	Message string `json:"message"`
	// OAuth is the issuer's "error" parameter (RFC 6749 §5.2).
	OAuth string `json:"oauth_error,omitempty"`
	// Detail is the issuer's own code, such as AADSTS7000215, or AnotherPath,
	// AskedAgain or OwnPermission.
	Detail string `json:"detail,omitempty"`
	// Topic names the section of docs/errors.md that explains the error, which
	// "tokenctl explain" prints.
	Topic string `json:"topic,omitempty"`
	// Field names the setting or parameter that is wrong or missing.
	Field string `json:"field,omitempty"`
	// RetryAt is from when on a request makes tokend ask the issuer again, in a status
	// when tokend does so itself, and from a provider when the issuer wants to be
	// asked again (Retry-After). It may be zero.
	RetryAt time.Time `json:"retry_at,omitzero"`
	// Cause is for logs. It stays in this process.
	Cause error `json:"-"`
}

func (e *Error) Error() string {
	if e.Message == "" {
		return e.Code.Error()
	}
	return e.Message
}

// Unwrap makes errors.Is find the Code and the cause.
func (e *Error) Unwrap() []error { return []error{e.Code, e.Cause} }

// DiskFault says in words that a disk takes nothing more, if that is the cause of
// err; otherwise it is empty.
func DiskFault(err error) string {
	for fault, words := range map[error]string{
		syscall.ENOSPC: "the disk is full: ", syscall.EDQUOT: "the disk quota is used up: ", syscall.EROFS: "the disk is read-only: ",
	} {
		if errors.Is(err, fault) {
			return words
		}
	}
	return ""
}

// MaxConfig bounds a file that people write for tokend, in bytes.
const MaxConfig = 1 << 20

// ReadConfig reads a file that people write: config.toml, a profile, certificates.
func ReadConfig(path string) ([]byte, error) { return ReadFile(path, MaxConfig) }

// ReadFile reads a regular file of at most limit bytes.
func ReadFile(path string, limit int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a FIFO makes no one wait
	if err != nil {
		return nil, err
	}
	text, _, err := ReadRegular(f, limit)
	return text, err
}

// ReadRegular reads a file and closes it. It refuses what is not a regular file,
// and one of more than limit bytes.
func ReadRegular(f *os.File, limit int64) (text []byte, info fs.FileInfo, err error) {
	defer func() { _ = f.Close() }()
	if info, err = f.Stat(); err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%s is not a regular file", f.Name())
	}
	_ = f.SetReadDeadline(time.Now().Add(time.Second)) // some regular files of /proc block
	text, err = io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = fmt.Errorf("%s is longer than %d bytes", f.Name(), limit)
	}
	if err != nil {
		return nil, nil, err
	}
	return text, info, nil
}

// FileFault returns the text of an error about a file without the name of the
// system call: "/etc/ca.pem: permission denied".
func FileFault(err error) string {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return path.Path + ": " + path.Err.Error()
	}
	return err.Error()
}
