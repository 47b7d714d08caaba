package ui

import (
	"cmp"
	"context"
	"errors"
	"strings"

	"tokend/cmd/tokenctl/cli"
	"tokend/providers/token"
)

// Exit statuses. 75 is EX_TEMPFAIL of sysexits.h: the same call may succeed
// later.
const (
	ExitOK          = 0
	ExitFailure     = 1
	ExitUsage       = 2
	ExitNotFound    = 3
	ExitDenied      = 4
	ExitRejected    = 5
	ExitLocked      = 6
	ExitNoDaemon    = 7
	ExitUnavailable = 75
	// What shells use for a program that cannot be run, or is not found.
	ExitCannotRun     = 126
	ExitNotFoundToRun = 127
	// What shells use for an end by Ctrl-C (128 + SIGINT).
	ExitInterrupted = 130
)

// ExitStatuses is the list of them for help.
const ExitStatuses = `  0   success
  1   any other failure; verify: the token is not valid
  2   wrong usage, a bad setting or file, or a name that is taken
  3   there is no such profile
  4   you may not use it
  5   the issuer refuses, and asking again will not help
  6   the keyring is locked or cannot be reached
  7   tokend is not running
  75  the issuer cannot be reached now; tokend keeps trying
  126 exec: the program cannot be run; 127: it was not found
  130 stopped by Ctrl-C
curl and exec pass on the status of the program that they run.
`

// ExitStatus is the status for an error.
func ExitStatus(err error) int {
	return cmp.Or(map[token.Code]int{
		token.ErrInvalid: ExitUsage, token.ErrExists: ExitUsage,
		token.ErrNotFound: ExitNotFound,
		token.ErrDenied:   ExitDenied,
		token.ErrRejected: ExitRejected,
		token.ErrLocked:   ExitLocked, token.ErrKeystore: ExitLocked,
		token.ErrNoDaemon:    ExitNoDaemon,
		token.ErrUnavailable: ExitUnavailable,
	}[CodeOf(err)], ExitFailure)
}

// CodeOf is the code of an error.
func CodeOf(err error) token.Code {
	var e *token.Error
	var code token.Code
	switch {
	case errors.As(err, &e):
		return e.Code
	case errors.As(err, &code):
		return code
	case errors.Is(err, context.DeadlineExceeded):
		return token.ErrUnavailable
	}
	return token.ErrInternal
}

// An Exit ends tokenctl with a status. It prints Err and no hints, or nothing
// if Err is nil because the user has seen the reason already.
type Exit struct {
	Status int
	Err    error
}

// Error implements error.
func (e *Exit) Error() string {
	if e.Err == nil {
		return "the reason was shown"
	}
	return e.Err.Error()
}

// Unwrap returns Err.
func (e *Exit) Unwrap() error { return e.Err }

// ErrInterrupted ends a command after Ctrl-C.
var ErrInterrupted = &Exit{Status: ExitInterrupted}

// ErrNoAnswer means that the user ended the input at a question.
var ErrNoAnswer = errors.New("nothing was entered")

// Report prints an error with hints, and returns the exit status.
func (e *Env) Report(err error, hints []string) int {
	var exit *Exit
	if errors.As(err, &exit) {
		if exit.Err != nil {
			e.printError(exit.Err)
		}
		return exit.Status
	}
	e.printError(err)
	for _, hint := range hints {
		e.Err.Print(Wrap(hint, "  "))
	}
	return ExitStatus(err)
}

func (e *Env) printError(err error) {
	text := cli.Message(e.Err.W, "tokenctl: "+Printable(Message(err))+"\n")
	e.Err.Print(e.Err.Paint(Bad, "tokenctl:") + strings.TrimPrefix(text, "tokenctl:"))
}

// Message is an error in words.
func Message(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return "tokend did not answer in time"
	}
	return err.Error()
}
